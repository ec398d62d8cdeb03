"""How many kinds of event are counted one by one, and how the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from learning_pipeline.model import Counters

MAX_KINDS: Final = 256
"""Kinds counted one by one per stage and partition; the rest share `OTHER_KINDS`."""

OTHER_KINDS: Final = "(other kinds)"


def limit_kinds(total: Counters, delta: Counters) -> Counters:
    """Fold kinds above `MAX_KINDS` into one, and make their names storable.

    Kinds are admitted in the order that they were met in, whatever the batches. What
    is taken back of a kind that was not admitted is taken from the others.
    """
    named = {kind for kind in total.events_by_kind if kind != OTHER_KINDS}
    kinds: dict[str, int] = {}
    for kind, count in delta.events_by_kind.items():
        # Postgres' text holds no NUL, and no database's holds half a character.
        name = kind.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        if name != OTHER_KINDS and name not in named:
            if count >= 0 and len(named) < MAX_KINDS - 1:
                named.add(name)
            else:
                name = OTHER_KINDS
        kinds[name] = kinds.get(name, 0) + count
    return msgspec.structs.replace(delta, events_by_kind=kinds)


def without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    """Only what there is any of."""
    return {name: count for name, count in counts.items() if count > 0}
