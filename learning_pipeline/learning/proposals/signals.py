"""What in an event is a sign that something could be tuned: rows of `signals`.

| signal | of | subject | observed | threshold |
|---|---|---|---|---|
| `iteration_limit_hit` | the end of a task whose iterations reached its limit, or which says so | task type | iterations | the limit, if stated |
| `many_iterations` | the end of a task of `MANY_ITERATIONS` or more | task type | iterations | `MANY_ITERATIONS` |
| `connection_error` | an event whose kind, `type` or error text says so and which names a dependency | dependency | | |
| `task_timeout` | an event whose kind, status or error text says so | task type | seconds taken | seconds allowed |
| `service_timeout` | the same where a dependency is named, and it is not the end of a task | dependency | seconds taken | seconds allowed |

Ends of tasks: kinds `task_completed`, `task_failed`, `task_timeout`,
`agent_step_complete`, and those of `LIMIT_WORDS`. Error texts: `error` (a text, or its
`message` and `type`), `error_message`, `error_type`, `exception`, `last_error`,
`last_exception`, `error_description`, the same in `task`, `context` and `task.context`;
`message` and `detail` where the kind speaks of an error. The dependency: `dependency`,
else as the text names it, else `service`, `zone`, `url`, `endpoint`, `host` and `port`.
A field that holds another type is as if absent. An event that cannot connect within
its time is a connection error only: more time would not help.
"""  # noqa: E501 - a table's lines

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from learning_pipeline.extraction.timestamps import canonical_timestamp
from learning_pipeline.learning.events.fields import (
    first_count,
    first_seconds,
    first_text,
    milliseconds,
    word_of,
)
from learning_pipeline.learning.events.task_types import task_type_of
from learning_pipeline.learning.events.texts import TextCleaner
from learning_pipeline.learning.events.transform import EventTransform
from learning_pipeline.learning.metrics.measuring import TASK_KINDS
from learning_pipeline.learning.proposals.dependencies import (
    dependency_in,
    dependency_named,
)
from learning_pipeline.learning.proposals.error_texts import (
    is_connection_error,
    is_timeout,
    limit_seconds_in,
)
from learning_pipeline.learning.proposals.signal_events import (
    NO_TASK,
    SignalEvent,
    SignalTask,
    error_text,
)

MANY_ITERATIONS: Final = 10
"""Twice what a task may take to be learned from (5, the table of patterns), and what
the system that this one replaces called many."""

ITERATION_LIMIT_HIT: Final = "iteration_limit_hit"
MANY_ITERATIONS_TAKEN: Final = "many_iterations"
CONNECTION_ERROR: Final = "connection_error"
TASK_TIMEOUT: Final = "task_timeout"
SERVICE_TIMEOUT: Final = "service_timeout"

LIMIT_WORDS: Final = frozenset(
    {
        *("max_iterations", "max_iterations_reached", "max_steps_reached"),
        *("iteration_limit", "iteration_limit_reached", "iteration_limit_exceeded"),
    }
)
ENDING_KINDS: Final = TASK_KINDS | LIMIT_WORDS | {"agent_step_complete"}

_CONNECTION_WORDS: Final = (
    *("http_failure", "connection_error", "connection_refused", "connection_failed"),
    *("connection_lost", "dependency_failure", "dependency_unavailable"),
    *("service_unavailable", "service_unreachable", "service_down"),
)
_TIMEOUT_WORDS: Final = ("timeout", "timed_out")

Signal = tuple[str, str | None, float | None, float | None]
"""Its name, subject (as found), observed value and threshold."""


class Signalling(EventTransform[SignalEvent]):
    """The transform of the stage `optimization_proposals`."""

    def __init__(self) -> None:
        """Prepare the decoding."""
        super().__init__(SignalEvent, self._rows)
        self._texts = TextCleaner()

    def _rows(
        self, kind: str | None, event: SignalEvent, redactions: dict[str, int]
    ) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for name, found, observed, threshold in signals_of(kind or "", event):
            subject = self._texts.clean(found, redactions)
            if subject is not None:
                at = canonical_timestamp(event.timestamp)
                rows.append((name, subject, observed, threshold, at))
        return rows


def signals_of(kind: str, event: SignalEvent) -> Iterator[Signal]:
    """Yield the signals of one event."""
    task = event.task or NO_TASK
    if kind in ENDING_KINDS:
        yield from _of_iterations(kind, event, task)
    text = error_text(kind, event)
    if _is_said(_CONNECTION_WORDS, kind, event.type) or (
        text and is_connection_error(text)
    ):
        dependency = _dependency(event, text)
        if dependency is not None:
            yield CONNECTION_ERROR, dependency, None, None
    elif _is_said(
        _TIMEOUT_WORDS,
        *(kind, event.type, event.status, event.outcome, event.stop_reason),
        task.status,
    ) or (text and is_timeout(text)):
        yield _timeout(kind, event, task, text)


def _of_iterations(kind: str, event: SignalEvent, task: SignalTask) -> Iterator[Signal]:
    iterations = first_count(
        event.total_iterations,
        event.iterations_used,
        event.iterations,
        event.iteration,
        task.iterations,
        task.iteration,
    )
    limit = (
        first_count(
            event.adaptive_limit_used,
            event.max_iterations,
            event.max_iterations_allowed,
            event.iteration_limit,
            task.max_iterations,
            task.iteration_limit,
        )
        or None
    )
    words = (kind, event.status, event.outcome, event.stop_reason, task.status)
    is_hit = any(word_of(each) in LIMIT_WORDS for each in words) or (
        limit is not None and iterations is not None and iterations >= limit
    )
    is_many = iterations is not None and iterations >= MANY_ITERATIONS
    if is_hit or is_many:
        subject = _task_type(event, task)
        if is_hit:
            yield ITERATION_LIMIT_HIT, subject, _float(iterations), _float(limit)
        if is_many:
            yield (
                MANY_ITERATIONS_TAKEN,
                subject,
                _float(iterations),
                float(MANY_ITERATIONS),
            )


def _timeout(kind: str, event: SignalEvent, task: SignalTask, text: str) -> Signal:
    observed = first_seconds(
        event.elapsed_seconds,
        event.duration_seconds,
        task.duration_seconds,
        milliseconds(event.latency_ms),
        milliseconds(event.processing_time_ms),
        milliseconds(event.duration_ms),
    )
    allowed = (
        first_seconds(
            event.timeout_seconds,
            event.timeout_s,
            milliseconds(event.timeout_ms),
            event.timeout,
            event.budget_seconds,
            task.timeout_seconds,
            task.timeout,
        )
        or limit_seconds_in(text)
        or None
    )
    service = dependency_named(event.dependency) or dependency_in(text)
    if service is None and kind not in TASK_KINDS:
        service = _dependency(event, text)
    if service is not None:
        return SERVICE_TIMEOUT, service, observed, allowed
    return TASK_TIMEOUT, _task_type(event, task), observed, allowed


def _task_type(event: SignalEvent, task: SignalTask) -> str:
    return first_text(task.task_type, task.type, event.task_type) or task_type_of(
        task.prompt or event.prompt or event.query
    )


def _dependency(event: SignalEvent, text: str) -> str | None:
    return (
        dependency_named(event.dependency)
        or dependency_in(text)
        or dependency_named(event.service)
        or dependency_named(event.zone)
        or dependency_named(event.url)
        or dependency_named(event.endpoint)
        or dependency_named(event.host, event.port)
    )


def _is_said(words: tuple[str, ...], *texts: str | None) -> bool:
    return any(text and (word_of(text) or "").endswith(words) for text in texts)


def _float(count: int | None) -> float | None:
    return None if count is None else float(count)
