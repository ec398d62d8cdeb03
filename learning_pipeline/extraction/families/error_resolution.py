"""Errors that were resolved; every one is taken."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.drafts import Family, FamilyDraft
from learning_pipeline.extraction.families.fields import CommonFields, stated_iterations


class ErrorResolution(CommonFields):
    """The event, as far as it matters here."""

    error_description: str | None = None
    solution: str | None = None
    resolution_time: int | float | None = None


def extract(event: ErrorResolution) -> FamilyDraft:
    """Take the error and what resolved it."""
    seconds = event.resolution_time
    return (
        (event.error_description or "").strip(),
        (event.solution or "").strip(),
        stated_iterations(event),
        event.backend or event.model,
        event.context,
        "{}" if seconds is None else f'{{"resolution_time":{seconds}}}',
        event.timestamp,
    )


FAMILY = Family(
    kinds=frozenset({"error_resolution"}),
    decode=msgspec.json.Decoder(ErrorResolution).decode,
    extract=extract,
)
