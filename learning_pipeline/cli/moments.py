"""Dates and times as they are typed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click


def require_order(since: datetime | None, until: datetime | None) -> None:
    """Refuse a range of time that nothing can be in, as bad usage."""
    if since is not None and until is not None and since >= until:
        message = "--since must be before --until"
        raise click.UsageError(message)


class MomentType(click.ParamType[datetime]):
    """An ISO 8601 date or time; UTC where it states no zone."""

    name = "time"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Read it, or refuse it as bad usage."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                # As telemetry's own times, and those of `metrics`, are read.
                moment = moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no date or time like 2026-01-09T12:00", param, ctx)
