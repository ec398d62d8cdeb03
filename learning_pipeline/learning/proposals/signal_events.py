"""The fields of events in which signs of trouble are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from learning_pipeline.extraction.decoding import DECODE_ERRORS
from learning_pipeline.learning.events.fields import (
    ABSENT,
    LenientDecoder,
    Number,
    text_of,
)
from learning_pipeline.learning.events.transform import NamedEvent

LOOKED_AT_CHARS: Final = 4_000
"""An error says what it is where it begins; what follows is its traceback."""

_ERROR_KIND_PARTS: Final = ("error", "fail", "timeout", "timed_out", "exception")


class Errors(msgspec.Struct, gc=False):
    """The texts of errors, wherever an event keeps them."""

    error: msgspec.Raw = ABSENT
    error_message: str | None = None
    error_type: str | None = None
    exception: str | None = None
    last_error: str | None = None
    last_exception: str | None = None
    error_description: str | None = None


class ErrorObject(msgspec.Struct, gc=False):
    """An error that is an object."""

    message: str | None = None
    type: str | None = None


class SignalTask(Errors):
    """The `task` of an event, as far as it matters here."""

    task_type: str | None = None
    type: str | None = None
    prompt: str | None = None
    status: str | None = None
    context: msgspec.Raw = ABSENT
    iterations: Number = None
    iteration: Number = None
    max_iterations: Number = None
    iteration_limit: Number = None
    duration_seconds: Number = None
    timeout_seconds: Number = None
    timeout: Number = None


class SignalEvent(NamedEvent):
    """An event, as far as it matters here; the errors as in `Errors`."""

    timestamp: msgspec.Raw = ABSENT
    type: str | None = None
    task: SignalTask | None = None
    context: msgspec.Raw = ABSENT
    prompt: str | None = None
    query: str | None = None
    task_type: str | None = None
    status: str | None = None
    outcome: str | None = None
    stop_reason: str | None = None
    message: str | None = None
    detail: str | None = None
    error: msgspec.Raw = ABSENT
    error_message: str | None = None
    error_type: str | None = None
    exception: str | None = None
    last_error: str | None = None
    last_exception: str | None = None
    error_description: str | None = None
    dependency: str | None = None
    service: str | None = None
    zone: str | None = None
    url: str | None = None
    endpoint: str | None = None
    host: str | None = None
    port: int | None = None
    total_iterations: Number = None
    iterations_used: Number = None
    iterations: Number = None
    iteration: Number = None
    adaptive_limit_used: Number = None
    max_iterations: Number = None
    max_iterations_allowed: Number = None
    iteration_limit: Number = None
    elapsed_seconds: Number = None
    duration_seconds: Number = None
    latency_ms: Number = None
    processing_time_ms: Number = None
    duration_ms: Number = None
    timeout_seconds: Number = None
    timeout_s: Number = None
    timeout: Number = None
    timeout_ms: Number = None
    budget_seconds: Number = None


NO_TASK: Final = SignalTask()

_errors_of: Final = LenientDecoder(Errors).decode
_error_object_of: Final = LenientDecoder(ErrorObject).decode


def error_text(kind: str, event: SignalEvent) -> str:
    """Return what an event says of errors, a line each, of bounded length."""
    return "\n".join(text[:LOOKED_AT_CHARS] for text in _error_texts(kind, event))


def _error_texts(kind: str, event: SignalEvent) -> Iterator[str]:
    yield from _texts_of(event)
    yield from _texts_in(event.context)
    task = event.task
    if task is not None:
        yield from _texts_of(task)
        yield from _texts_in(task.context)
    if (event.message or event.detail) and any(
        part in kind for part in _ERROR_KIND_PARTS
    ):
        yield from filter(None, (event.message, event.detail))


def _texts_of(errors: Errors | SignalEvent) -> Iterator[str]:
    for text in (
        errors.error_message,
        errors.error_type,
        errors.exception,
        errors.last_error,
        errors.last_exception,
        errors.error_description,
    ):
        if text:
            yield text
    if errors.error is not ABSENT:
        yield from _texts_of_error(errors.error)


def _texts_of_error(error: msgspec.Raw) -> Iterator[str]:
    text = text_of(error)
    if text:
        yield text
    elif bytes(error)[:1] == b"{":
        try:
            found = _error_object_of(bytes(error))
        except DECODE_ERRORS:
            return
        yield from filter(None, (found.message, found.type))


def _texts_in(context: msgspec.Raw) -> Iterator[str]:
    data = bytes(context)
    # Most contexts hold no error: look before decoding.
    if data[:1] == b"{" and (b"error" in data or b"exception" in data):
        try:
            errors = _errors_of(data)
        except DECODE_ERRORS:
            return
        yield from _texts_of(errors)
