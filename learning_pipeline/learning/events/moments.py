"""Moments that people state, in the canonical form of stored timestamps."""

from __future__ import annotations

from datetime import UTC, datetime

from learning_pipeline.errors import ConfigurationError


def canonical_moment(moment: datetime | str | None) -> str | None:
    """Return ISO 8601 in UTC with microseconds and `Z`.

    Args:
        moment: A time, or ISO 8601 text such as `2026-05-28` or `2026-05-28T18:00`;
            UTC unless it states a zone. None stays None.

    Raises:
        ConfigurationError: It is no moment.
    """
    if moment is None:
        return None
    # Not a time and yet a `datetime`: pandas' NaT, which does not equal itself.
    if not isinstance(moment, datetime | str) or moment != moment:  # noqa: PLR0124
        raise _none(moment)
    try:
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if at.tzinfo is not None:
            at = at.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _none(moment) from None
    return at.isoformat(timespec="microseconds") + "Z"


def _none(moment: object) -> ConfigurationError:
    return ConfigurationError(
        f"{str(moment)[:100]!r} is no date or time: give a datetime, or text like "
        "2026-05-28 or 2026-05-28T18:00"
    )
