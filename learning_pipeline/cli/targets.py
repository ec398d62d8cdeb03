"""Where a rewind goes, as it is typed: an offset, a time, or a step."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from learning_pipeline.store import Target, ToOffset, ToStep, ToTime

_STEP = "step:"


class TargetType(click.ParamType[Target]):
    """`4096`, `2026-01-09T12:00`, `step:17`."""

    name = "target"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Target:
        """Read it, or refuse it as bad usage."""
        if isinstance(value, ToOffset | ToStep | ToTime):
            return value
        if re.fullmatch(r"[0-9]+", value):
            return ToOffset(int(value))
        number = value.removeprefix(_STEP)
        if value.startswith(_STEP) and re.fullmatch(r"[0-9]+", number):
            return ToStep(int(number))
        try:
            at = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no offset in bytes, no date or time like "
                "2026-01-09T12:00, and no step:NUMBER",
                param,
                ctx,
            )
        return ToTime(at.isoformat(timespec="microseconds"))
