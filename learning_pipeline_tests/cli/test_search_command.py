"""`search`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline

ALL = ("search", "the", "error", "function", "--limit", "1000", "--json")
MIDDLE = "2026-05-28T18:03:00Z"


def found(pipeline: Pipeline, *options: str) -> list[dict[str, Any]]:
    """The hits for some frequent words."""
    completed = run(pipeline, *ALL, *options)
    assert completed.code == 0, completed.errors
    hits: list[dict[str, Any]] = completed.document
    return hits


@pytest.mark.parametrize(
    ("options", "is_chosen"),
    [
        (["--kind", "task_completed"], lambda hit: hit["kind"] == "task_completed"),
        (
            ["--kind", "task_completed", "--kind", "error_resolution"],
            lambda hit: hit["kind"] in {"task_completed", "error_resolution"},
        ),
        (["--backend", "claude"], lambda hit: hit["backend"] == "claude"),
        (["--partition", "b.jsonl"], lambda hit: hit["partition"] == "b.jsonl"),
        (["--since", MIDDLE], lambda hit: (hit["timestamp"] or "") >= MIDDLE),
        (["--until", MIDDLE], lambda hit: "" < (hit["timestamp"] or "") < MIDDLE),
        (
            ["--partition", "a.jsonl", "--since", MIDDLE],
            lambda hit: (
                hit["partition"] == "a.jsonl" and (hit["timestamp"] or "") >= MIDDLE
            ),
        ),
    ],
)
def test_hits_are_those_that_an_option_leaves(
    learned_once: Pipeline,
    options: list[str],
    is_chosen: Callable[[dict[str, Any]], bool],
) -> None:
    """Some of all hits, and no other; in the same order."""
    everything = found(learned_once)
    chosen = found(learned_once, *options)
    assert [each["content_hash"] for each in chosen] == [
        each["content_hash"] for each in everything if is_chosen(each)
    ]
    assert 0 < len(chosen) < len(everything)


def test_the_phrase_of_an_example_finds_it_first(learned_once: Pipeline) -> None:
    """For people: its place, its prompt and its response."""
    known = found(learned_once)[-1]
    completed = run(learned_once, "search", known["prompt"], "--limit", "1")
    head, place, prompt, response = completed.output.splitlines()[:4]
    assert known["content_hash"][:12] in head
    assert known["partition"] in place
    assert f"byte {known['offset']}" in place
    assert " ".join(known["prompt"].split())[:200] in prompt
    assert response.strip().startswith("→ ")


def test_nothing_found_is_said(learned_once: Pipeline) -> None:
    """It is no error."""
    completed = run(learned_once, "search", "xylophone")
    assert (completed.code, completed.output) == (0, "Nothing found.\n")
    assert found(learned_once, "--partition", "nowhere.jsonl") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "Missing argument 'QUERY...'"),
        (["search", "x", "--limit", "0"], "0 is not in the range 1<=x<=1000"),
        (["search", "x", "--since", "yesterday"], "yesterday"),
        (["search", "x", "--since", MIDDLE, "--until", MIDDLE], "must be before"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    pipeline: Pipeline, arguments: list[str], message: str
) -> None:
    """As bad usage."""
    completed = run(pipeline, *arguments)
    assert completed.code == 2
    assert message in completed.errors


@pytest.mark.parametrize("query", [" ", "...", "?!"])
def test_a_query_without_words_is_refused(learned_once: Pipeline, query: str) -> None:
    """It says what a query needs."""
    completed = run(learned_once, "search", query)
    assert completed.code == 1
    assert "word" in completed.errors
