"""Which events become patterns, and what stands in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from learning_pipeline_tests.extraction.extraction_records import run, step

Row = Callable[[bytes], tuple[Any, ...]]


def line(**event: Any) -> bytes:
    """Make a line of these fields."""
    return json.dumps(event).encode()


def test_the_real_file_gives_its_known_numbers() -> None:
    """106 events, 46 patterns, 44 of quality, nothing redacted or rejected."""
    data = files("learning_pipeline.testing") / "data" / "hybrid-events.jsonl"
    output = run(*data.read_bytes().splitlines())
    counters = output.counters
    assert (counters.event_count, counters.row_count) == (106, 46)
    assert (counters.quality_count, counters.ignored_count) == (44, 60)
    assert counters.events_by_kind["agent_step_complete"] == 46
    assert counters.redactions_by_kind == {}
    assert not output.dead_letters


@pytest.mark.parametrize(
    ("event", "taken"),
    [
        ({"event": "task_completed"}, 1),
        ({"event": "task_completed", "task": None}, 1),
        ({"event": "task_completed", "task": {"iteration": 5}}, 1),
        ({"event": "task_completed", "task": {"iteration": None}}, 1),
        ({"event": "task_completed", "task": {"iteration": 5.5}}, 0),
        ({"event": "task_completed", "task": {"iteration": 6}}, 0),
        ({"event": "error_resolution"}, 1),
        ({"event": "local_inference", "query": "q", "response": "r"}, 0),
        (
            {
                "event": "local_inference",
                "query": " ",
                "prompt": "p",
                "output": "o",
                "latency_ms": 0.1,
            },
            1,
        ),
        (
            {
                "event": "local_inference",
                "query": "q",
                "response": "r",
                "latency_ms": 0,
            },
            0,
        ),
        (
            {
                "event": "local_inference",
                "query": "q",
                "response": "\n",
                "latency_ms": 1,
            },
            0,
        ),
        ({"event": "interaction_recorded", "value_score": 0.7}, 1),
        ({"event": "interaction_recorded", "value_score": 0.69}, 0),
        ({"event": "interaction_recorded"}, 0),
        ({"event": "", "event_type": "error_resolution"}, 1),
        ({"event": None, "event_type": "error_resolution"}, 1),
        ({"event": "other", "event_type": "error_resolution"}, 0),
    ],
)
def test_an_event_is_taken_as_its_family_says(event: Any, taken: int) -> None:
    """The table of the design, read literally."""
    output = run(line(**event))
    assert len(output.rows) == taken
    assert not output.dead_letters


def test_a_task_carries_what_is_known_of_it(one_row: Row) -> None:
    """Every column of a row, in order."""
    raw = line(
        event="task_completed",
        timestamp="2026-05-28T20:14:11+02:00",
        context={"b": [1, None], "a": "é"},
        task={
            "prompt": "  Write a function that sorts ",
            "output": "def sort(items): ...",
            "iteration": 2,
            "model": "llama",
        },
    )
    prompt, response = "Write a function that sorts", "def sort(items): ..."
    assert one_row(raw) == (
        0,
        0,
        "task_completed",
        prompt,
        response,
        2,
        "llama",
        '{"b":[1,null],"a":"é"}',
        '{"iterations":2,"efficiency":0.5}',
        "2026-05-28T18:14:11.000000Z",
        True,
        hashlib.sha256(f"{prompt}\n{response}".lower().encode()).digest(),
    )


@pytest.mark.parametrize(
    ("timestamp", "canonical"),
    [
        ("2026-05-28T18:14:11.863954Z", "2026-05-28T18:14:11.863954Z"),
        ("2026-05-28 18:14:11", "2026-05-28T18:14:11.000000Z"),
        ("2026-05-28T18:14:11.863954-01:30", "2026-05-28T19:44:11.863954Z"),
        ("2026-13-28T18:14:11.863954Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
        (0, "1970-01-01T00:00:00.000000Z"),
        (1748455451.5, "2025-05-28T18:04:11.500000Z"),
        (1748455451500, "2025-05-28T18:04:11.500000Z"),
        (-1, "1969-12-31T23:59:59.000000Z"),
        (10**30, None),
        (1e300, None),
        (True, None),
        (None, None),
        ({"at": 1}, None),
    ],
)
def test_a_timestamp_is_canonical_or_none(
    one_row: Row, timestamp: object, canonical: str | None
) -> None:
    """Nonsense never rejects the event, and nothing becomes "now"."""
    assert one_row(step(timestamp=timestamp))[9] == canonical


def test_a_number_beyond_all_floats_is_no_timestamp(one_row: Row) -> None:
    """It does not reject the event either."""
    raw = step(timestamp=0).replace(b'"timestamp": 0', b'"timestamp": 1e999')
    assert one_row(raw)[9] is None


@pytest.mark.parametrize(
    ("fields", "iterations"),
    [
        ({}, 0),
        ({"iterations": 3}, 3),
        ({"iteration": 4}, 4),
        ({"iterations": "3"}, 0),
        ({"iterations": {"n": 3}, "iteration": 2}, 2),
        ({"iterations": True}, 0),
        ({"iterations": 10**400}, 2**31 - 1),
        ({"iterations": -(10**400)}, -(2**31) + 1),
    ],
)
def test_iterations_are_an_int_that_fits_a_column(
    one_row: Row, fields: dict[str, Any], iterations: int
) -> None:
    """Anything else counts as not stated."""
    assert one_row(step(**fields))[5] == iterations


@pytest.mark.parametrize(
    ("fields", "quality"),
    [
        ({"query": "q" * 21, "response": "r" * 11}, True),
        ({"query": "q" * 20}, False),
        ({"response": "r" * 10}, False),
        ({"query": "q" * 21, "response": "q" * 21}, False),
        ({"iterations": 6}, False),
    ],
)
def test_quality_follows_its_rules(
    one_row: Row,
    fields: dict[str, Any],
    quality: bool,  # noqa: FBT001
) -> None:
    """Each rule by itself is enough to fail."""
    assert one_row(step(**fields))[10] is quality


def test_texts_are_cut_after_redaction(one_row: Row) -> None:
    """A secret across the cut does not survive by half."""
    secret = "ghp_" + "a1B2" * 9
    row = one_row(step(query="q " * 1990 + secret, response="é" * 20_000))
    assert len(row[3]) == 4_000
    assert "ghp_" not in row[3]
    assert row[4] == "é" * 12_000


@pytest.mark.parametrize(
    ("context", "stored"),
    [
        (None, None),
        ([], "[]"),
        ("text", '"text"'),
        (0, "0"),
        (2**80, str(2**80)),
        ({"password": "hunter2"}, '{"password":"[REDACTED:password]"}'),
        ({"password": 123456}, '{"password":"[REDACTED:password]"}'),
        ({"note": "x\nbob@example.com"}, '{"note":"x\\n[REDACTED:email]"}'),
    ],
)
def test_context_is_compact_json_without_secrets(
    one_row: Row, context: object, stored: str | None
) -> None:
    """Whatever JSON value it is."""
    assert one_row(step(context=context))[7] == stored


def test_a_long_context_is_kept_as_the_beginning_of_its_text(one_row: Row) -> None:
    """As a JSON string, so that the column always holds JSON."""
    context = {"text": "x" * 5_000}
    text = json.dumps(context, separators=(",", ":"))
    assert json.loads(one_row(step(context=context))[7]) == text[:4_000]


def test_a_number_beyond_all_floats_stays_in_the_context(one_row: Row) -> None:
    """JSON knows no bounds of numbers."""
    raw = step(context={"n": 0, "p": "password=x1"}).replace(b'"n": 0', b'"n": 1e999')
    assert one_row(raw)[7] == '{"n":1e999,"p":"password=[REDACTED:password]"}'


def test_the_backend_is_stated_by_either_name(one_row: Row) -> None:
    """`backend` goes before `model`; empty counts as absent."""
    assert one_row(step(backend="vllm", model="m"))[6] == "vllm"
    assert one_row(step(backend="", model="m"))[6] == "m"
    assert one_row(step())[6] is None
