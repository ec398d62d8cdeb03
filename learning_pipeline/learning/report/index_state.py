"""What the state database knows of the search index, which is not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from learning_pipeline.store.behind import partitions_behind
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import (
    INDEX_STAGE,
    count_changes,
    index_identity,
)

if TYPE_CHECKING:
    from learning_pipeline.store import Store


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The search index, as far as the state database knows.

    Attributes:
        is_learned: Whether `LEARN_STAGES` has it; else nothing is on its way there.
        target: Where it is; None before there is one.
        waiting_change_count: Changes behind its back that are still to be made.
        behind_file_count: Files whose examples it has not been given to the end.
    """

    is_learned: bool
    target: str | None
    waiting_change_count: int
    behind_file_count: int


def index_facts(store: Store, *, is_learned: bool) -> IndexFacts:
    """Where the index is, and what waits for it."""
    identity = index_identity(store)
    return IndexFacts(
        is_learned=is_learned,
        target=None if identity is None else identity.target,
        waiting_change_count=count_changes(store),
        behind_file_count=len(partitions_behind(store, INDEX_STAGE, EXAMPLES_STAGE)),
    )
