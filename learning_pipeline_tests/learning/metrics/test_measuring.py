"""What an event measures."""

from __future__ import annotations

from typing import Any

import pytest

from learning_pipeline.learning.events.task_types import task_type_of
from learning_pipeline.learning.metrics import build_transform
from learning_pipeline.store.schema import measurements
from learning_pipeline_tests.extraction.extraction_records import batch_of, records_of
from learning_pipeline_tests.learning.event_lines import AT, REAL_LINES, line

COLUMNS = [column.name for column in measurements.columns][2:]


def measured(**event: Any) -> dict[str, Any] | None:
    """What is stored of an event, by column; None when nothing is."""
    rows = build_transform()(batch_of(records_of([line(**event)]))).rows
    return dict(zip(COLUMNS, rows[0], strict=True)) if rows else None


def test_the_real_file_gives_its_known_numbers() -> None:
    """46 answered steps; 11 by a stated model, the others by none."""
    output = build_transform()(batch_of(records_of(REAL_LINES)))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in output.rows]
    counters = output.counters
    assert (counters.event_count, counters.row_count) == (106, 46)
    assert counters.ignored_count == 60
    assert counters.redactions_by_kind == {}
    assert {row["kind"] for row in rows} == {"agent_step_complete"}
    assert all(row["success"] for row in rows)
    assert sum(row["latency_ms"] for row in rows) == 11_014_413.0
    assert sum(row["tokens_in"] or 0 for row in rows) == 15_585
    assert sum(row["tokens_out"] or 0 for row in rows) == 18_347
    backends = [row["backend"] for row in rows]
    assert backends.count("apparmor-fix-agent") == 11
    assert backends.count(None) == 35


def test_an_event_gives_every_measure_that_it_states() -> None:
    """Every column of a row."""
    assert measured(
        event="task_completed",
        timestamp="2026-05-28T20:14:11.863954+02:00",
        status="completed",
        total_iterations=4,
        tokens_in=12,
        usage={"prompt_tokens": 99, "completion_tokens": 34},
        duration_seconds=1.5,
        resolution_time=3,
        task={"prompt": "Fix the parser", "iteration": 3, "backend": " qwen "},
    ) == {
        "offset": 0,
        "ordinal": 0,
        "kind": "task_completed",
        "backend": "qwen",
        "task_type": "debugging",
        "event_timestamp": AT,
        "success": True,
        "iterations": 4,
        "latency_ms": 1500.0,
        "resolution_seconds": 3.0,
        "tokens_in": 12,
        "tokens_out": 34,
    }


def test_an_event_of_which_nothing_is_measured_gives_no_row() -> None:
    """It is counted as ignored."""
    raw = line(event="heartbeat", timestamp=AT, backend="qwen", status="running")
    output = build_transform()(batch_of(records_of([raw])))
    assert output.rows == []
    assert output.counters.ignored_count == output.counters.event_count == 1


STEP = "agent_step_complete"


@pytest.mark.parametrize(
    ("event", "success"),
    [
        ({"event": "x", "success": True, "status": "failed"}, True),
        ({"event": "x", "success": "yes", "status": "failed"}, False),
        ({"event": "x", "success": 1}, None),
        ({"event": "x", "task": {"success": False}}, False),
        ({"event": "x", "status": "Timed out"}, False),
        ({"event": "x", "status": 200, "outcome": "ok"}, True),
        ({"event": "x", "status": "running", "outcome": "SUCCESS"}, True),
        ({"event": "x", "task": {"status": "Max-Iterations"}}, False),
        ({"event": "task_completed"}, None),
        ({"event": "task_completed", "status": "cancelled"}, None),
        ({"event": "task_completed", "task": "text"}, None),
        ({"event": "task_failed"}, False),
        ({"event": "task_failed", "status": "ok"}, True),
        ({"event": "error_resolution"}, True),
        ({"event": "error_resolution", "success": False}, False),
        ({"event_type": "error_resolution", "outcome": "unresolved"}, False),
        ({"event_type": STEP, "response": "text"}, True),
        ({"event_type": STEP, "response": " \n", "output": ""}, False),
        ({"event_type": STEP, "response": None, "output": "text"}, True),
        ({"event_type": STEP, "response": None}, False),
        ({"event_type": STEP}, None),
        ({"event_type": STEP, "response": "text", "error": "refused"}, False),
        ({"event_type": STEP, "response": "text", "error": {"code": 1}}, False),
        ({"event_type": STEP, "response": "text", "error": None}, True),
        ({"event": "local_inference", "response": "x" * 100}, True),
        ({"event": "interaction_recorded", "value_score": 0.7}, True),
        ({"event": "interaction_recorded", "value_score": 0.69}, False),
        ({"event": "interaction_recorded", "value_score": True}, None),
        ({"event": "interaction_recorded"}, None),
    ],
)
def test_success_is_as_stated_else_as_the_kind_implies(
    event: dict[str, Any],
    success: bool | None,  # noqa: FBT001
) -> None:
    """What nothing says stays unknown."""
    found = measured(**event, tokens_in=1)
    assert found is not None
    assert found["success"] is success


@pytest.mark.parametrize(
    ("fields", "column", "value"),
    [
        ({"total_iterations": 0}, "iterations", 0),
        ({"iterations": 3.0}, "iterations", 3),
        ({"iterations": 3.5, "iteration": 2}, "iterations", 2),
        ({"iterations": -1}, "iterations", None),
        ({"iterations": True}, "iterations", None),
        ({"iterations": "3"}, "iterations", None),
        ({"iterations": 2**31 - 1}, "iterations", 2**31 - 1),
        ({"iterations": 2**31}, "iterations", None),
        ({"iterations": 10**400}, "iterations", None),
        ({"task": {"iteration": 2}}, "iterations", 2),
        ({"latency_ms": 12}, "latency_ms", 12.0),
        ({"latency_ms": 0}, "latency_ms", None),
        ({"latency_ms": -5, "processing_time_ms": 0.5}, "latency_ms", 0.5),
        ({"latency_ms": 1e300, "duration_seconds": 2}, "latency_ms", 2000.0),
        ({"latency_ms": "12"}, "latency_ms", None),
        ({"latency_ms": [12]}, "latency_ms", None),
        ({"latency_ms": 10**400}, "latency_ms", None),
        ({"latency_ms": 1e11}, "latency_ms", 1e11),
        ({"latency_ms": 1.01e11}, "latency_ms", None),
        ({"task": {"duration_seconds": 1}}, "latency_ms", 1000.0),
        ({"resolution_time": 0}, "resolution_seconds", 0.0),
        ({"resolution_time": -1}, "resolution_seconds", None),
        ({"resolution_time": False}, "resolution_seconds", None),
        ({"tokens_in": 2**63}, "tokens_in", None),
        ({"input_tokens": 7}, "tokens_in", 7),
        ({"usage": {"input_tokens": 7}}, "tokens_in", 7),
        ({"usage": [7]}, "tokens_in", None),
        ({"completion_tokens": 7}, "tokens_out", 7),
        ({"backend": "", "model": " ", "llm_used": "local"}, "backend", "local"),
        ({"backend": 7, "model": "m"}, "backend", "m"),
        ({"backend": "a\0b\n"}, "backend", "ab"),
        ({"backend": "x" * 300}, "backend", "x" * 200),
        ({"task_type": "review", "task": {"type": "plan"}}, "task_type", "plan"),
        ({"prompt": "Fix it"}, "task_type", None),
        ({"timestamp": "yesterday"}, "event_timestamp", None),
        ({"timestamp": [1]}, "event_timestamp", None),
    ],
)
def test_a_measure_is_a_value_of_its_type_or_nothing(
    fields: dict[str, Any], column: str, value: object
) -> None:
    """The first field that holds one; each measure by itself."""
    found = measured(event="x", success=True, **fields)
    assert found is not None
    assert found[column] == value
    assert type(found[column]) is type(value)


def test_secrets_in_labels_are_redacted_and_counted() -> None:
    """Each time that they come, also from the memory of texts."""
    secret = "ghp_" + "a1B2" * 9
    raw = line(event=f"x {secret}", backend=f"qwen {secret}", tokens_in=1)
    output = build_transform()(batch_of(records_of([raw, raw])))
    for row in output.rows:
        assert row[2:4] == ("x [REDACTED:github_token]", "qwen [REDACTED:github_token]")
    assert output.counters.redactions_by_kind == {"github_token": 4}
    assert list(output.counters.events_by_kind) == ["x [REDACTED:github_token]"]


@pytest.mark.parametrize(
    ("prompt", "task_type"),
    [
        ("Fix the failing test", "debugging"),
        ("Run the TESTS", "testing"),
        ("Deploy to staging", "deployment"),
        ("Change the NixOS flake", "configuration"),
        ("Write the README", "documentation"),
        ("Explain this", "review"),
        ("Add a button", "implementation"),
        ("The latest prefix", "general"),
        ("", "general"),
        (None, "general"),
        ("x" * 500 + " fix", "general"),
        ("\ud800 fix", "debugging"),
    ],
)
def test_a_task_is_of_the_type_that_its_words_say(
    prompt: str | None, task_type: str
) -> None:
    """The first of the table that has one of them."""
    assert task_type_of(prompt) == task_type
