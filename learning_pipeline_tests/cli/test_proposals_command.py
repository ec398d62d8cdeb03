"""`proposals list`, `show`, `accept`, `reject` and `post`."""

from __future__ import annotations

from pathlib import Path

import pytest

from learning_pipeline.store import Store
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.learning.learned import learn, write_lines
from learning_pipeline_tests.learning.proposals.samples import limit_hit, refused
from learning_pipeline_tests.pipeline import Pipeline


@pytest.fixture
def proposing(tmp_path: Path) -> Pipeline:
    """A proposal of 21 samples and a preliminary one."""
    made = Pipeline(tmp_path)
    made.state.mkdir()
    lines = [*(limit_hit(number) for number in range(21)), refused()]
    write_lines(made.telemetry, "a.jsonl", lines)
    with Store(made.store_url) as store:
        learn(store, made.telemetry, "a.jsonl")
    return made


def ids(pipeline: Pipeline) -> list[str]:
    """The ids, as the command lists them."""
    document = run(pipeline, "proposals", "list", "--json").document
    return [each["proposal_id"] for each in document]


def test_a_table_lists_what_is_proposed(proposing: Pipeline) -> None:
    """The most samples first."""
    completed = run(proposing, "proposals", "list")
    head, first, second = completed.output.splitlines()
    assert head.split()[:3] == ["id", "status", "samples"]
    assert first.split()[1:3] == ["proposed", "21"]
    assert first.endswith("Raise the iteration limit of debugging tasks by 25 %")
    assert second.split()[1:3] == ["preliminary", "1"]
    assert (completed.code, completed.errors) == (0, "")


def test_one_is_shown_with_its_evidence(proposing: Pipeline) -> None:
    """By the beginning of its id; for people and as JSON."""
    first, _ = ids(proposing)
    shown = run(proposing, "proposals", "show", first[:8]).output
    for text in (first, "from      8", "to        10", "samples   21", "a.jsonl"):
        assert text in shown
    assert shown.count("example ") == 5
    document = run(proposing, "proposals", "show", first, "--json").document
    assert document["change"]["to_value"] == "10"
    assert document["evidence"]["examples"][0]["partition"] == "a.jsonl"


def test_text_of_telemetry_moves_no_cursor(proposing: Pipeline) -> None:
    """It is spelled out, in the list, of one, and when one is decided about."""
    with Store(proposing.store_url) as store:
        odd_type = limit_hit().replace(b"{", b'{"task_type":"sp\\u009b\\u202eawn",', 1)
        write_lines(proposing.telemetry, "b.jsonl", [odd_type])
        learn(store, proposing.telemetry, "b.jsonl")
    (odd,) = (
        each
        for each in run(proposing, "proposals", "list", "--json").document
        if "awn" in each["title"]
    )
    assert "\x9b\u202e" in odd["title"]
    for arguments in (("list",), ("show", odd["proposal_id"])):
        shown = run(proposing, "proposals", *arguments).output
        assert "\\u202e" in shown
        assert not {"\x9b", "\u202e"} & set(shown)
    said = run(proposing, "proposals", "accept", odd["proposal_id"]).output
    assert "\\u202e" in said
    assert not {"\x9b", "\u202e"} & set(said)


def test_a_decision_is_remembered_and_can_be_changed(proposing: Pipeline) -> None:
    """It says what it was before."""
    first, second = ids(proposing)
    said = run(proposing, "proposals", "accept", first[:8], "--note", "do it")
    assert said.output.startswith(f"{first} accepted: Raise the iteration limit")
    assert "note      do it" in run(proposing, "proposals", "show", first).output
    said = run(proposing, "proposals", "reject", first)
    assert said.output.startswith(f"{first} rejected (was accepted): ")
    rejected = run(proposing, "proposals", "list", "--status", "rejected", "--json")
    assert [each["proposal_id"] for each in rejected.document] == [first]
    others = run(proposing, "proposals", "list", "--status", "preliminary").output
    assert second in others
    assert first not in others


@pytest.mark.parametrize("command", ["show", "accept", "reject"])
def test_an_unknown_id_is_bad_usage(proposing: Pipeline, command: str) -> None:
    """One clear line."""
    completed = run(proposing, "proposals", command, "zzzz")
    assert (completed.code, completed.output) == (2, "")
    assert "'zzzz'" in completed.errors
    assert "proposals list" in completed.errors


def test_nothing_is_posted_by_default(proposing: Pipeline) -> None:
    """It says what to set."""
    completed = run(proposing, "proposals", "post")
    assert completed.code == 2
    assert "LEARNING_PIPELINE_PROPOSALS_URL" in completed.errors


@pytest.mark.parametrize("url", ["ftp://host/", "nonsense", "http://u:p@host/"])
def test_only_a_plain_http_url_is_a_setting(proposing: Pipeline, url: str) -> None:
    """The variable is named."""
    variables = {"LEARNING_PIPELINE_PROPOSALS_URL": url}
    completed = run(proposing, "proposals", "post", environment=variables)
    assert completed.code == 2
    assert "LEARNING_PIPELINE_PROPOSALS_URL" in completed.errors


def test_posting_says_what_became_of_each(proposing: Pipeline) -> None:
    """A dry run posts nothing; an endpoint that is not there is a failure."""
    first, _ = ids(proposing)
    variables = {
        "LEARNING_PIPELINE_PROPOSALS_URL": "http://127.0.0.1:9/tasks",
        "LEARNING_PIPELINE_PROPOSALS_API_KEY": "k3y-of-the-test",
    }
    dry = run(proposing, "proposals", "post", "--dry-run", environment=variables)
    assert (dry.code, dry.output) == (0, f"{first}: would be posted\n")
    failed = run(proposing, "proposals", "post", environment=variables)
    assert (failed.code, failed.output) == (1, "")
    assert f"{first}: proposals_endpoint is not available" in failed.errors
    assert "k3y" not in failed.errors


def test_nothing_proposed_is_said(pipeline: Pipeline) -> None:
    """Nothing is created by looking."""
    assert run(pipeline, "proposals", "list").output == "No proposals.\n"
    assert run(pipeline, "proposals", "list", "--json").document == []
    assert not pipeline.state.exists()
