"""Runs a user's extractor, and holds what it returns to its contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec

from learning_pipeline.extraction.decoding import Rejection
from learning_pipeline.extraction.drafts import MAX_KEPT_ITERATIONS, PatternDraft
from learning_pipeline.extraction.registry import Extractor, type_name

MAX_DRAFTS = 1_000
"""How many drafts one record may give; an endless generator must end somewhere."""


def run_extractor(extractor: Extractor, event: Mapping[str, Any]) -> list[PatternDraft]:
    """Return the drafts of one event.

    Raises:
        Rejection: The extractor raised, or returned what it must not.
    """
    name = type_name(extractor)
    try:
        returned = extractor.extract(event)
        if returned is None:
            return []
        if isinstance(returned, PatternDraft):
            drafts: list[PatternDraft] | None = [returned]
        elif isinstance(returned, Iterable) and not isinstance(
            returned, str | bytes | Mapping
        ):
            drafts = list(islice(returned, MAX_DRAFTS + 1))
        else:
            drafts = None
    except Exception as error:
        raise Rejection(
            "extractor_error", f"{name} raised {type(error).__name__}"
        ) from error
    if drafts is None:
        raise _invalid(name, "neither a PatternDraft, nor several, nor None")
    if len(drafts) > MAX_DRAFTS:
        raise _invalid(name, f"more than {MAX_DRAFTS} drafts for one event")
    for draft in drafts:
        problem = _problem(draft)
        if problem:
            raise _invalid(name, problem)
    return drafts


def draft_context(extractor: Extractor, draft: PatternDraft) -> str | None:
    """Return a draft's context as compact JSON text.

    Raises:
        Rejection: It cannot be written as JSON.
    """
    if draft.context is None:
        return None
    try:
        return msgspec.json.encode(draft.context).decode()
    except Exception as error:
        raise _invalid(
            type_name(extractor), "a context that cannot be written as JSON"
        ) from error


def draft_metrics(extractor: Extractor, draft: PatternDraft) -> str:
    """Return a draft's success metrics as JSON text.

    Raises:
        Rejection: They cannot be written as JSON.
    """
    try:
        return msgspec.json.encode(dict(draft.success_metrics)).decode()
    except Exception as error:
        raise _invalid(
            type_name(extractor), "success metrics that cannot be written as JSON"
        ) from error


def _invalid(name: str, what: str) -> Rejection:
    return Rejection("extractor_returned_invalid", f"{name} returned {what}")


def _problem(draft: object) -> str | None:
    if not isinstance(draft, PatternDraft):
        return "something that is no PatternDraft"
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
