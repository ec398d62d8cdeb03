"""Runs users' extractors, and holds what they return to their contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec

from learning_pipeline.extraction.decoding import Rejection, decode_object
from learning_pipeline.extraction.drafts import MAX_KEPT_ITERATIONS, PatternDraft
from learning_pipeline.extraction.registry import Extractor, type_name
from learning_pipeline.extraction.timestamps import canonical_timestamp

MAX_DRAFTS = 1_000
"""How many drafts one record may give; an endless generator must end somewhere."""

MAX_DRAFTS_CHARS = 64 * 1024 * 1024
"""How much text the drafts of one record may hold together; bounds memory."""

OUT_OF_MEMORY = "extractor_out_of_memory"
"""The reason of a dead letter on which an extractor ran out of memory."""

RAN_OUT = "ran out of memory"

CheckedDraft = tuple[str, str, int, str | None, str | None, str]
"""Prompt and response (stripped), iterations, backend, the context as compact JSON
text, the success metrics as JSON text."""


class CheckedDrafts(msgspec.Struct, frozen=True, array_like=True):
    """What an extractor made of one event, as its contract has it.

    Attributes:
        timestamp: The event's moment, canonical, or None.
        drafts: In the extractor's order; every text of them can be encoded.
    """

    timestamp: str | None
    drafts: list[CheckedDraft]


class CustomEvent(NamedTuple):
    """A record for one of the users' extractors.

    Attributes:
        kind: A kind that one of them takes.
        raw: The record.
    """

    kind: str
    raw: bytes


class CustomExtractors(Protocol):
    """Users' extractors, wherever they run."""

    def __contains__(self, kind: str, /) -> bool:
        """Whether one of them takes events of this kind."""

    def extract(
        self, events: Sequence[CustomEvent]
    ) -> Iterator[CheckedDrafts | Rejection]:
        """Give the drafts of each event, in order.

        Where the record is no event, or its extractor failed on it, the rejection.
        """


class LocalExtractors:
    """Users' extractors in this process: what hangs or crashes takes it along."""

    def __init__(self, by_kind: Mapping[str, Extractor]) -> None:
        """Take what `check_kinds` returned."""
        self._by_kind = by_kind

    def __contains__(self, kind: str) -> bool:
        """Whether one of them takes events of this kind."""
        return kind in self._by_kind

    def extract(
        self, events: Sequence[CustomEvent]
    ) -> Iterator[CheckedDrafts | Rejection]:
        """Give the drafts of each event, in order, or why there are none."""
        return map(self.extract_one, events)

    def extract_one(self, event: CustomEvent) -> CheckedDrafts | Rejection:
        """Return the drafts of one event, or why there are none."""
        try:
            decoded = decode_object(event.raw)
            # Before the extractor runs: it may change what it is given.
            timestamp = canonical_timestamp(
                msgspec.Raw(msgspec.json.encode(decoded.get("timestamp")))
            )
            drafts = run_extractor(self._by_kind[event.kind], decoded)
        except Rejection as rejection:
            return rejection
        return CheckedDrafts(timestamp, drafts)


def run_extractor(extractor: Extractor, event: Mapping[str, Any]) -> list[CheckedDraft]:
    """Return the drafts of one event, checked.

    Raises:
        Rejection: The extractor raised, or returned what it must not.
    """
    name = type_name(extractor)
    try:
        drafts = _as_list(extractor.extract(event), name)
        return _bounded([_checked(draft, name) for draft in drafts], name)
    except Rejection:
        raise
    except MemoryError as error:
        raise out_of_memory(name) from error
    except Exception as error:
        raise Rejection(
            "extractor_error", f"{name} raised {type(error).__name__}"
        ) from error


def out_of_memory(name: str) -> Rejection:
    """Say that an extractor ran out of memory; the same wherever it is noticed."""
    return Rejection(OUT_OF_MEMORY, f"{name} {RAN_OUT}")


def _as_list(returned: object, name: str) -> list[object]:
    if returned is None:
        return []
    if isinstance(returned, PatternDraft):
        return [returned]
    if not isinstance(returned, Iterable) or isinstance(
        returned, str | bytes | Mapping
    ):
        raise _invalid(name, "neither a PatternDraft, nor several, nor None")
    drafts = list(islice(returned, MAX_DRAFTS + 1))
    if len(drafts) > MAX_DRAFTS:
        raise _invalid(name, f"more than {MAX_DRAFTS} drafts for one event")
    return drafts


def _checked(draft: object, name: str) -> CheckedDraft:
    if not isinstance(draft, PatternDraft):
        raise _invalid(name, "something that is no PatternDraft")
    problem = _problem(draft)
    if problem:
        raise _invalid(name, problem)
    # Of a subclass of `str`, only the text crosses over.
    prompt, response = str.strip(draft.prompt), str.strip(draft.response)
    backend = None if draft.backend is None else str.strip(draft.backend)
    try:
        f"{prompt}{response}{backend}".encode()
    except UnicodeEncodeError:
        raise _invalid(name, "half a surrogate pair") from None
    return (
        prompt,
        response,
        draft.iterations,
        backend,
        None if draft.context is None else _json(draft.context, "a context", name),
        _json(dict(draft.success_metrics), "success metrics", name),
    )


def _json(value: object, what: str, name: str) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except MemoryError:
        raise
    except Exception as error:
        raise _invalid(name, f"{what} that cannot be written as JSON") from error


def _bounded(drafts: list[CheckedDraft], name: str) -> list[CheckedDraft]:
    chars = sum(
        len(text) for draft in drafts for text in draft if isinstance(text, str)
    )
    if chars > MAX_DRAFTS_CHARS:
        raise _invalid(name, f"more than {MAX_DRAFTS_CHARS} characters for one event")
    return drafts


def _invalid(name: str, what: str) -> Rejection:
    return Rejection("extractor_returned_invalid", f"{name} returned {what}")


def _problem(draft: PatternDraft) -> str | None:
    if not (isinstance(draft.prompt, str) and isinstance(draft.response, str)):
        return "a prompt or response that is no str"
    iterations = draft.iterations
    if type(iterations) is not int or abs(iterations) > MAX_KEPT_ITERATIONS:
        return "iterations that are no int of 32 bits"
    if draft.backend is not None and not isinstance(draft.backend, str):
        return "a backend that is no str"
    metrics = draft.success_metrics
    if not isinstance(metrics, Mapping) or not all(
        isinstance(key, str) and type(value) in (int, float) and _is_finite(value)
        for key, value in metrics.items()
    ):
        return "success metrics that are not finite numbers by name"
    return None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
