"""Trying a request again: how often, and when."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar

import stamina

from learning_pipeline.errors import DependencyUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.learning.breakers import Breaker

ATTEMPTS: Final = 3
LONGEST_WAIT_SECONDS: Final = 30.0
"""A server that asks for more patience than this is left to the next run."""

FIRST_WAIT_SECONDS: Final = 0.5

Result = TypeVar("Result")

# The breakers log each failure; its own line would say the same at more length.
stamina.instrumentation.set_on_retry_hooks([])


def guarded(
    breaker: Breaker,
    request: Callable[[], Result],
    *,
    wait_seconds: float = FIRST_WAIT_SECONDS,
) -> Result:
    """What `request` returns, which is made again when the dependency failed.

    Each try counts for the breaker, and when that opens there is no other.

    Args:
        breaker: The dependency's.
        request: Harmless to repeat.
        wait_seconds: Before the second try; doubled from then on.

    Raises:
        DependencyUnavailableError: The last try failed, or was not made.
    """
    for attempt in stamina.retry_context(
        on=_pause,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=wait_seconds,
        wait_max=LONGEST_WAIT_SECONDS,
        wait_jitter=wait_seconds / 2,
    ):
        with attempt:
            return breaker.call(request)
    raise AssertionError  # pragma: no cover - the last try returns or raises


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


def _pause(error: Exception) -> bool | float:
    if not isinstance(error, DependencyUnavailableError) or error.retry_at:
        return False
    asked = error.retry_after_seconds
    if asked is None:
        return True
    return False if asked > LONGEST_WAIT_SECONDS else asked
