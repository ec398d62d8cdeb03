"""Answers of a model, local or as a step of an agent."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.drafts import Family, FamilyDraft
from learning_pipeline.extraction.families.fields import CommonFields, stated_iterations


class Inference(CommonFields):
    """The event, as far as it matters here."""

    query: str | None = None
    prompt: str | None = None
    response: str | None = None
    output: str | None = None
    latency_ms: int | float | None = None


def extract(event: Inference) -> FamilyDraft | None:
    """Take the answer when there is one, to a question, after a measured time."""
    latency_ms = event.latency_ms
    if not latency_ms or latency_ms < 0:
        return None
    prompt = (event.query or "").strip() or (event.prompt or "").strip()
    response = (event.response or "").strip() or (event.output or "").strip()
    if not prompt or not response:
        return None
    return (
        prompt,
        response,
        stated_iterations(event),
        event.backend or event.model,
        event.context,
        f'{{"latency_ms":{latency_ms}}}',
        event.timestamp,
    )


FAMILY = Family(
    kinds=frozenset({"local_inference", "agent_step_complete"}),
    decode=msgspec.json.Decoder(Inference).decode,
    extract=extract,
)
