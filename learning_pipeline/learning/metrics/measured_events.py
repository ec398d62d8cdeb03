"""The fields of events in which something is measured."""

from __future__ import annotations

from typing import Final

import msgspec

from learning_pipeline.learning.events.fields import ABSENT, Number
from learning_pipeline.learning.events.transform import NamedEvent


class MeasuredTask(msgspec.Struct, gc=False):
    """The `task` of an event, as far as it matters here."""

    task_type: str | None = None
    type: str | None = None
    prompt: str | None = None
    backend: str | None = None
    model: str | None = None
    success: bool | None = None
    status: str | None = None
    outcome: str | None = None
    iterations: Number = None
    iteration: Number = None
    duration_seconds: Number = None


class Usage(msgspec.Struct, gc=False):
    """Tokens as model servers count them."""

    prompt_tokens: Number = None
    input_tokens: Number = None
    completion_tokens: Number = None
    output_tokens: Number = None


class MeasuredEvent(NamedEvent):
    """An event, as far as it matters here."""

    timestamp: msgspec.Raw = ABSENT
    prompt: str | None = None
    response: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    latency_ms: Number = None
    tokens_in: Number = None
    tokens_out: Number = None
    task: MeasuredTask | None = None
    backend: str | None = None
    model: str | None = None
    llm_used: str | None = None
    task_type: str | None = None
    success: bool | None = None
    status: str | None = None
    outcome: str | None = None
    value_score: Number = None
    resolution_time: Number = None
    resolution_seconds: Number = None
    total_iterations: Number = None
    iterations_used: Number = None
    iterations: Number = None
    iteration: Number = None
    processing_time_ms: Number = None
    duration_ms: Number = None
    duration_seconds: Number = None
    elapsed_seconds: Number = None
    input_tokens: Number = None
    prompt_tokens: Number = None
    output_tokens: Number = None
    completion_tokens: Number = None
    usage: Usage | None = None


NO_TASK: Final = MeasuredTask()
NO_USAGE: Final = Usage()
