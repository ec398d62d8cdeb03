"""The fields that every family reads alike."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.drafts import MAX_KEPT_ITERATIONS

ABSENT = msgspec.Raw()


class CommonFields(msgspec.Struct, gc=False):
    """What any event may carry beside its interaction.

    Raw fields accept every type: they are read later, or not at all.
    """

    backend: str | None = None
    model: str | None = None
    context: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    iterations: msgspec.Raw = ABSENT
    iteration: msgspec.Raw = ABSENT


def stated_iterations(event: CommonFields) -> int:
    """Return `iterations`, else `iteration`, when it is an integer; else 0."""
    if event.iterations is ABSENT and event.iteration is ABSENT:
        return 0
    for field in (event.iterations, event.iteration):
        text = bytes(field)
        # 10 digits and a sign hold every number that is kept.
        if text.removeprefix(b"-").isdigit():
            if len(text) > len(str(MAX_KEPT_ITERATIONS)) + 1:
                return -MAX_KEPT_ITERATIONS if text[:1] == b"-" else MAX_KEPT_ITERATIONS
            return clamped(int(text))
    return 0


def clamped(iterations: float) -> int:
    """Return a whole number that fits an integer column."""
    return int(max(-MAX_KEPT_ITERATIONS, min(iterations, MAX_KEPT_ITERATIONS)))
