"""What an event measures: rows of the table `measurements`.

The first field of a line that holds a value of its type counts. A value of another
type, no finite number, negative or beyond its bound is as if absent, each by itself:
nothing rejects an event, which gives a row when any measure is left.

| measure | fields | of |
|---|---|---|
| backend | `backend`, `model`, `task.backend`, `task.model`, `llm_used` | any kind |
| task type | `task.task_type`, `task.type`, `task_type` | any kind |
| | the words of `task.prompt`, else `prompt` | `task_…` kinds |
| success | `success`, `task.success` | any kind |
| | words: `status`, `outcome`, `task.status`, `task.outcome` | any kind |
| | always | `error_resolution` |
| | never | `task_failed`, `task_timeout` |
| | no `error`, and an answer in `response`, else `output` | `agent_step_complete`, `local_inference` |
| | `value_score` ≥ 0.7 | `interaction_recorded` |
| iterations | `total_iterations`, `iterations_used`, `iterations`, `iteration`, `task.iterations`, `task.iteration` | any kind |
| latency | `latency_ms`, `processing_time_ms`, `duration_ms`, `duration_seconds`, `elapsed_seconds`, `task.duration_seconds`; > 0 | any kind |
| resolution time | `resolution_time`, `resolution_seconds`; seconds | any kind |
| tokens in | `tokens_in`, `input_tokens`, `prompt_tokens`, the same in `usage` | any kind |
| tokens out | `tokens_out`, `output_tokens`, `completion_tokens`, the same in `usage` | any kind |

Words of success: `SUCCESS_WORDS`; of failure: `FAILURE_WORDS`. Any other, such as
`running` or `cancelled`, says neither; an event of which it is not known is left out
of the rate.
"""  # noqa: E501 - a table's lines

from __future__ import annotations

from typing import Any, Final

import msgspec

from learning_pipeline.extraction.families.interaction_recorded import MIN_VALUE_SCORE
from learning_pipeline.extraction.kinds import kind_label
from learning_pipeline.extraction.timestamps import canonical_timestamp
from learning_pipeline.learning.events.fields import (
    ABSENT,
    first_count,
    first_seconds,
    first_text,
    milliseconds,
    text_of,
    word_of,
)
from learning_pipeline.learning.events.task_types import task_type_of
from learning_pipeline.learning.events.texts import TextCleaner
from learning_pipeline.learning.events.transform import EventTransform
from learning_pipeline.learning.metrics.measured_events import (
    NO_TASK,
    NO_USAGE,
    MeasuredEvent,
    MeasuredTask,
)

SUCCESS_WORDS: Final = frozenset(
    {
        *("success", "succeeded", "successful", "completed", "complete", "done"),
        *("ok", "passed", "pass", "resolved", "fixed", "accepted"),
    }
)
FAILURE_WORDS: Final = frozenset(
    {
        *("failure", "failed", "fail", "error", "errored", "timeout", "timed_out"),
        *("rejected", "aborted", "crashed", "unresolved", "max_iterations"),
        *("max_iterations_reached", "iteration_limit_reached"),
    }
)

ANSWERING_KINDS: Final = frozenset({"agent_step_complete", "local_inference"})
FAILED_KINDS: Final = frozenset({"task_failed", "task_timeout"})
TASK_KINDS: Final = frozenset({"task_completed", *FAILED_KINDS})

_NOTHING: Final = (b"", b"null", b'""', b"false", b"[]", b"{}")
_BLANK_LOOKED_AT_BYTES: Final = 64
_KINDS_REMEMBERED: Final = 1_000


class Measuring(EventTransform[MeasuredEvent]):
    """The transform of the stage `performance_metrics`."""

    def __init__(self) -> None:
        """Prepare the decoding."""
        super().__init__(MeasuredEvent, self._measure)
        self._texts = TextCleaner()
        self._labels: dict[str | None, str] = {}

    def _measure(
        self, kind: str | None, event: MeasuredEvent, redactions: dict[str, int]
    ) -> tuple[tuple[Any, ...], ...]:
        task = event.task or NO_TASK
        usage = event.usage or NO_USAGE
        success = _success(kind, event, task)
        iterations = first_count(
            event.total_iterations,
            event.iterations_used,
            event.iterations,
            event.iteration,
            task.iterations,
            task.iteration,
        )
        latency_ms = _latency_ms(event, task)
        resolution_seconds = first_seconds(
            event.resolution_time, event.resolution_seconds
        )
        tokens_in = first_count(
            event.tokens_in,
            event.input_tokens,
            event.prompt_tokens,
            usage.input_tokens,
            usage.prompt_tokens,
        )
        tokens_out = first_count(
            event.tokens_out,
            event.output_tokens,
            event.completion_tokens,
            usage.output_tokens,
            usage.completion_tokens,
        )
        measures = (
            success,
            iterations,
            latency_ms,
            resolution_seconds,
            tokens_in,
            tokens_out,
        )
        if measures == _NO_MEASURES:
            return ()
        backend = first_text(
            event.backend, event.model, task.backend, task.model, event.llm_used
        )
        task_type = first_text(task.task_type, task.type, event.task_type)
        if task_type is None and kind in TASK_KINDS:
            task_type = task_type_of(task.prompt or event.prompt)
        clean = self._texts.clean
        return (
            (
                self._label(kind),
                clean(backend, redactions),
                clean(task_type, redactions),
                canonical_timestamp(event.timestamp),
                *measures,
            ),
        )

    def _label(self, kind: str | None) -> str:
        label = self._labels.get(kind)
        if label is None:
            label = kind_label(kind)
            if len(self._labels) < _KINDS_REMEMBERED:
                self._labels[kind] = label
        return label


_NO_MEASURES: Final = (None,) * 6


def _latency_ms(event: MeasuredEvent, task: MeasuredTask) -> float | None:
    for value in (event.latency_ms, event.processing_time_ms, event.duration_ms):
        if milliseconds(value):
            return float(value or 0)
    for value in (
        event.duration_seconds,
        event.elapsed_seconds,
        task.duration_seconds,
    ):
        seconds = first_seconds(value)
        if seconds:
            return seconds * 1000
    return None


def _success(kind: str | None, event: MeasuredEvent, task: MeasuredTask) -> bool | None:
    if event.success is not None:
        return event.success
    if task.success is not None:
        return task.success
    for text in (event.status, event.outcome, task.status, task.outcome):
        word = word_of(text)
        if word in SUCCESS_WORDS:
            return True
        if word in FAILURE_WORDS:
            return False
    return _implied_success(kind, event)


def _implied_success(kind: str | None, event: MeasuredEvent) -> bool | None:
    if kind in ANSWERING_KINDS:
        return _is_answered(event)
    if kind == "error_resolution":
        return True
    if kind in FAILED_KINDS:
        return False
    score = event.value_score
    if kind == "interaction_recorded" and score is not None:
        return score >= MIN_VALUE_SCORE
    return None


def _is_answered(event: MeasuredEvent) -> bool | None:
    if bytes(event.error) not in _NOTHING:
        return False
    answers = [each for each in (event.response, event.output) if each is not ABSENT]
    if not answers:
        return None
    return any(not _is_blank(answer) for answer in answers)


def _is_blank(raw: msgspec.Raw) -> bool:
    data = bytes(raw)
    if data in _NOTHING:
        return True
    if len(data) > _BLANK_LOOKED_AT_BYTES:
        return False
    text = text_of(raw)
    return text is not None and not text.strip()
