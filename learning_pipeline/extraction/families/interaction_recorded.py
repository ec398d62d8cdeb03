"""Interactions that somebody or something valued."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.drafts import Family, FamilyDraft
from learning_pipeline.extraction.families.fields import CommonFields, stated_iterations

MIN_VALUE_SCORE = 0.7


class InteractionRecorded(CommonFields):
    """The event, as far as it matters here."""

    query: str | None = None
    response: str | None = None
    value_score: int | float | None = None


def extract(event: InteractionRecorded) -> FamilyDraft | None:
    """Take the interaction when its value is high enough."""
    score = event.value_score
    if score is None or score < MIN_VALUE_SCORE:
        return None
    return (
        (event.query or "").strip(),
        (event.response or "").strip(),
        stated_iterations(event),
        event.backend or event.model,
        event.context,
        f'{{"value_score":{score}}}',
        event.timestamp,
    )


FAMILY = Family(
    kinds=frozenset({"interaction_recorded"}),
    decode=msgspec.json.Decoder(InteractionRecorded).decode,
    extract=extract,
)
