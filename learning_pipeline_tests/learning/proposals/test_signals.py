"""Which events are signs that something could be tuned."""

from __future__ import annotations

from typing import Any

import pytest

from learning_pipeline.learning.proposals import build_transform
from learning_pipeline.learning.proposals.dependencies import (
    dependency_in,
    dependency_named,
)
from learning_pipeline.learning.proposals.error_texts import (
    is_connection_error,
    is_timeout,
    limit_seconds_in,
)
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.extraction.extraction_records import batch_of, records_of
from learning_pipeline_tests.learning.event_lines import AT, REAL_LINES, line


def signals(**event: Any) -> list[tuple[Any, ...]]:
    """The signals of an event: name, subject, observed, threshold."""
    output = build_transform()(batch_of(records_of([line(**event, timestamp=AT)])))
    assert all(row[0] == 0 and row[-1] == AT for row in output.rows)
    assert [row[1] for row in output.rows] == list(range(len(output.rows)))
    return [row[2:-1] for row in output.rows]


def test_the_real_file_gives_its_known_signals() -> None:
    """Four zones whose health endpoint did not answer, each once."""
    output = build_transform()(batch_of(records_of(REAL_LINES)))
    assert [row[2:] for row in output.rows] == [
        ("connection_error", zone, None, None, f"2026-05-30T18:{at}Z")
        for zone, at in (
            ("hybrid-coordinator", "01:59.242110"),
            ("switchboard", "01:59.946962"),
            ("aidb", "02:00.167394"),
            ("dashboard", "02:00.375238"),
        )
    ]
    assert (output.counters.event_count, output.counters.row_count) == (106, 4)


def test_telemetry_that_only_talks_of_timeouts_gives_no_signals() -> None:
    """Advice such as "set the timeout to thirty seconds" is none."""
    lines = [each.rstrip() for each in generate_lines(2_000)]
    assert build_transform()(batch_of(records_of(lines))).rows == []


FIX = {"prompt": "Fix the parser"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {
                "event": "task_completed",
                "total_iterations": 8,
                "adaptive_limit_used": 8,
                "task": FIX,
            },
            [("iteration_limit_hit", "debugging", 8.0, 8.0)],
        ),
        (
            {"event": "task_completed", "total_iterations": 7, "max_iterations": 8},
            [],
        ),
        (
            {"event": "task_completed", "total_iterations": 7, "max_iterations": 0},
            [],
        ),
        (
            {"event": "task_failed", "stop_reason": "max-iterations", "task": FIX},
            [("iteration_limit_hit", "debugging", None, None)],
        ),
        (
            {
                "event": "max_iterations_reached",
                "task": {"task_type": "plan", "iteration": 3, "max_iterations": "3"},
            },
            [("iteration_limit_hit", "plan", 3.0, None)],
        ),
        (
            {"event": "task_completed", "task": {"iteration": 12}},
            [("many_iterations", "general", 12.0, 10.0)],
        ),
        ({"event": "task_completed", "task": {"iteration": 9}}, []),
        ({"event": "iteration_started", "iteration": 12}, []),
        (
            {"event": "task_completed", "total_iterations": 12, "max_iterations": 12},
            [
                ("iteration_limit_hit", "general", 12.0, 12.0),
                ("many_iterations", "general", 12.0, 10.0),
            ],
        ),
        (
            {"event": "x", "error": "connect ECONNREFUSED 127.0.0.1:6333"},
            [("connection_error", "localhost:6333", None, None)],
        ),
        (
            {"event": "x", "error": {"message": "connection reset by redis"}},
            [("connection_error", "redis", None, None)],
        ),
        ({"event": "x", "error": "connection refused"}, []),
        (
            {"event": "x", "error": "connection refused", "service": "Qdrant"},
            [("connection_error", "qdrant", None, None)],
        ),
        (
            {
                "event": "x",
                "error": "connection refused: http://a:1",
                "dependency": "b",
            },
            [("connection_error", "b", None, None)],
        ),
        (
            {
                "event": "task_completed",
                "status": "completed",
                "task": {"context": {"last_error": "could not resolve host: aidb"}},
            },
            [("connection_error", "aidb", None, None)],
        ),
        (
            {"event": "service_unreachable", "url": "https://u:p@api.example.org/v1"},
            [("connection_error", "api.example.org", None, None)],
        ),
        (
            {"event": "x", "error": "connection timed out", "host": "db", "port": 5432},
            [("connection_error", "db", None, None)],
        ),
        (
            {
                "event": "task_failed",
                "error": "timed out after 30s",
                "task": FIX,
                "duration_seconds": 31,
            },
            [("task_timeout", "debugging", 31.0, 30.0)],
        ),
        (
            {"event": "task_timeout", "timeout_seconds": 60, "latency_ms": 61_000},
            [("task_timeout", "general", 61.0, 60.0)],
        ),
        (
            {
                "event": "request_failed",
                "service": "embeddings",
                "message": "Read timed out. (read timeout=30)",
            },
            [("service_timeout", "embeddings", None, 30.0)],
        ),
        ({"event": "note", "service": "a", "message": "timed out"}, []),
        (
            {
                "event": "task_failed",
                "error": "timed out waiting for http://qdrant:6333",
            },
            [("service_timeout", "qdrant", None, None)],
        ),
        (
            {
                "event": "x",
                "status": "timeout",
                "timeout_ms": 1500,
                "task_type": "plan",
            },
            [("task_timeout", "plan", None, 1.5)],
        ),
        (
            {"event": "x", "status": "timeout", "timeout_seconds": -1, "timeout": "9"},
            [("task_timeout", "general", None, None)],
        ),
        ({"event": "x", "error": ["timed out"], "exception": 7}, []),
    ],
)
def test_an_event_gives_the_signals_of_the_table(
    event: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    """Its kind, its fields and the texts of its errors."""
    assert signals(**event) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Connection refused: http://qdrant:6333/collections", "qdrant"),
        ("postgresql://u:secret@db.internal:5432/x failed", "db.internal"),
        ("dial tcp 127.0.0.1:8003: connect: connection refused", "localhost:8003"),
        ("connect ECONNREFUSED ::1:6379 [::1]:6379", "localhost:6379"),
        ("HTTPConnectionPool(host='localhost', port=8081): Max", "localhost:8081"),
        ('connection to server at "db" (10.0.0.7), port 5432 failed', "db"),
        ("could not connect to 10.0.0.7 port 5432", "10.0.0.7:5432"),
        ("getaddrinfo ENOTFOUND aidb", "aidb"),
        ("Failed to connect to Qdrant.", "qdrant"),
        ("curl: (6) Could not resolve host: embeddings", "embeddings"),
        ("connection reset by peer", None),
        ("route_handler.py:150: connection refused", None),
        ("at 12:30:45 the connection was refused", None),
        ("cannot connect to the server", None),
        ("unreachable", None),
        ("", None),
    ],
)
def test_a_dependency_is_found_in_the_text_of_an_error(
    text: str, name: str | None
) -> None:
    """In one spelling; places in code and times are none."""
    assert dependency_in(text) == name


@pytest.mark.parametrize(
    ("stated", "port", "name"),
    [
        ("Qdrant", None, "qdrant"),
        ("vector store", None, "vector store"),
        ("qdrant:6333", None, "qdrant"),
        ("http://127.0.0.1:8003/health", None, "localhost:8003"),
        ("127.0.0.1", 8003, "localhost:8003"),
        ("0.0.0.0:80", None, "localhost:80"),
        ("[fe80::1]:80", None, "[fe80::1]:80"),
        ("qdrant.", None, "qdrant"),
        ("none", None, None),
        ("x" * 500, None, "x" * 100),
        (" ", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_dependency_has_one_name(
    stated: str | None, port: int | None, name: str | None
) -> None:
    """As a name, a host or a URL."""
    assert dependency_named(stated, port) == name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("timed out after 30 seconds", 30.0),
        ("timeout of 1500ms exceeded", 1.5),
        ("exceeded 2.5 minutes", 150.0),
        ("(read timeout=30)", 30.0),
        ("within 10 m", 600.0),
        ("after 999999999999999999 s", None),
        ("after a while", None),
        ("after 0s", None),
    ],
)
def test_the_time_allowed_is_read_from_the_text(
    text: str, seconds: float | None
) -> None:
    """With its unit; seconds without one."""
    assert limit_seconds_in(text) == seconds


def test_errors_and_advice_are_told_apart() -> None:
    """An error says that it happened."""
    assert is_timeout("asyncio.TimeoutError")
    assert is_timeout("TIMEOUT")
    assert not is_timeout("Set the timeout to thirty seconds and retry")
    assert is_connection_error("[Errno 111] Connection refused")
    assert not is_connection_error("Keep the connection open")


def test_secrets_in_a_subject_are_redacted() -> None:
    """A subject is stored and shown."""
    secret = "AKIA" + "Q1Z2" * 4
    (stated,) = signals(event="x", error="connection refused", service=f"db {secret}")
    assert stated[1].startswith("db [redacted:")
    assert secret.lower() not in stated[1]
    error = f"connection refused: http://{secret}.example.org/"
    assert all(
        secret.lower() not in found[1] for found in signals(event="x", error=error)
    )
