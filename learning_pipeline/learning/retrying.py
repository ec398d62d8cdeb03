"""Trying a request again: how often, and when."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeVar

from learning_pipeline.errors import DependencyUnavailableError
from learning_pipeline.learning.deadline import MeanwhileError, pause

ATTEMPTS: Final = 3
LONGEST_WAIT_SECONDS: Final = 30.0
"""A server that asks for more patience than this is left to the next run."""

FIRST_WAIT_SECONDS: Final = 0.5

Result = TypeVar("Result")
Meanwhile = Callable[[], object]


class Call(Protocol):
    """Makes a request, or refuses to: `Breaker.call` is one."""

    def __call__(self, function: Callable[[], Result], /) -> Result:
        """What the request returns."""


def guarded(
    call: Call,
    request: Callable[[], Result],
    *,
    attempts: int = ATTEMPTS,
    wait_seconds: float = FIRST_WAIT_SECONDS,
    meanwhile: Meanwhile | None = None,
) -> Result:
    """What `request` returns, which is made again when the dependency failed.

    Each try counts for the breaker, and when that opens there is no other.

    Args:
        call: The dependency's `Breaker.call`, or what stands in its place.
        request: Harmless to repeat.
        attempts: At most so many tries.
        wait_seconds: Before the second try; doubled from then on.
        meanwhile: Done while it waits for the next try, a few times a second.

    Raises:
        DependencyUnavailableError: The last try failed, or was not made.
    """
    attempt = 1
    while True:
        try:
            try:
                return call(request)
            except DependencyUnavailableError as error:
                seconds = _pause_seconds(error, wait_seconds * 2 ** (attempt - 1))
                if seconds is None or attempt >= attempts:
                    raise
            pause(seconds, meanwhile)
        except MeanwhileError as failed:
            raise failed.error from None
        attempt += 1


def retry_after_seconds(header: str | None) -> float | None:
    """What the header `Retry-After` says, as seconds or as a date; None: nothing."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    with contextlib.suppress(ValueError):
        moment = parsedate_to_datetime(header)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _pause_seconds(
    error: DependencyUnavailableError, usual_seconds: float
) -> float | None:
    if error.retry_at:
        return None
    asked = error.retry_after_seconds
    if asked is None:
        spread = random.uniform(0, usual_seconds / 2)  # noqa: S311 - no secret
        return min(usual_seconds + spread, LONGEST_WAIT_SECONDS)
    return None if asked > LONGEST_WAIT_SECONDS else asked
