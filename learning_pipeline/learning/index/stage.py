"""The stage that hands examples to the search index: a view, never ahead of its word.

The index cannot join the database's transaction. So a batch is written there first,
under ids that are made of its content, and the checkpoint moves once that is on stable
storage. A kill in between writes the same points again. What is taken back in the
database meanwhile is noted there (`index_changes`), and made good by the next run.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from learning_pipeline import logs
from learning_pipeline.errors import (
    FencedError,
    IndexChangedError,
    IndexMissingError,
)
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import index_home
from learning_pipeline.steps import reached
from learning_pipeline.store import index_feed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from learning_pipeline.learning.index import IndexHome, PatternIndex
    from learning_pipeline.model import Example
    from learning_pipeline.settings import Settings
    from learning_pipeline.stages import Derivation
    from learning_pipeline.stages.deriving import Opening
    from learning_pipeline.store import Claim, StageSession, Store

PURPOSE = "index examples"
CHANGES_AT_A_TIME = 500


class IndexDerivation:
    """Hands examples to an open index; see `stages.deriving.Derivation`.

    Attributes:
        rows_per_commit: As many as the index takes well at a time.
    """

    rows_per_commit = 2_000

    def __init__(self, store: Store, index: PatternIndex) -> None:
        """Write to `index` what `store` has."""
        self._store = store
        self._index = index

    def catch_up(self) -> int:
        """Make the changes that happened behind the index's back; gives how many.

        Raises:
            DependencyUnavailableError: A service failed; what is left waits.
        """
        count = 0
        while True:
            changes = index_feed.pending_changes(self._store, CHANGES_AT_A_TIME)
            if not changes.ids:
                return count
            hashes = changes.hashes
            examples = self._write(lambda: index_feed.examples_of(self._store, hashes))  # noqa: B023 - called at once
            there = {each.content_hash for each in examples}
            self._index.delete([each for each in changes.hashes if each not in there])
            self._index.flush()
            reached("index.written")
            # Looked up before it was written: what came since is a change of its own.
            index_feed.drop_changes(self._store, changes)
            count += len(changes.ids)

    def derive(
        self, session: StageSession, claim: Claim, *, end_offset: int, size_bytes: int
    ) -> Claim:
        """Write the examples before `end_offset`, then move the checkpoint."""
        self._index.let_others_in()
        examples = self._write(
            lambda: index_feed.examples_between(self._store, claim, end_offset)
        )
        self._index.flush()
        reached("index.written")
        try:
            return session.derive(
                claim,
                end_offset=end_offset,
                size_bytes=size_bytes,
                write=session.count_examples,
            )
        except FencedError:
            # They may have been taken back before they were written.
            hashes = [each.content_hash for each in examples]
            index_feed.add_changes(self._store, hashes)
            raise

    def _write(self, look_up: Callable[[], list[Example]]) -> list[Example]:
        # Others have the index while the endpoint is waited for. What they took out of
        # it, as a change, must not come back by what was looked up before.
        while True:
            examples = look_up()
            reached("index.before")
            if self._index.upsert(
                examples,
                is_current=lambda: look_up() == examples,  # noqa: B023 - called at once
            ):
                return examples


def indexing(settings: Settings) -> Opening:
    """Opens the index for a run, makes it when there is none yet, and catches up.

    Raises:
        IndexMissingError: The index that the checkpoints speak of is gone.
        IndexChangedError: It is another one, or made with other settings.
        IndexBusyError: Another process has it.
        DependencyUnavailableError: A service that it needs does not answer.
    """

    @contextlib.contextmanager
    def opening(store: Store) -> Iterator[Derivation]:
        with index_home(settings, Breakers(store, settings)) as home:
            ensure_known(store, home, is_private=not settings.qdrant_url)
            with home.open(PURPOSE) as index:
                derivation = IndexDerivation(store, index)
                count = derivation.catch_up()
                if count:
                    logs.get_logger().info("index_caught_up", change_count=count)
                yield derivation

    return opening


def ensure_known(store: Store, home: IndexHome, *, is_private: bool) -> None:
    """See to it that the index there is the one that the checkpoints speak of.

    The first time of all it is made. One that this database knows nothing of was
    made for an earlier one, before a `rebuild`: it is a view of what is gone, and
    made anew if nobody else can have a claim to it.

    Args:
        store: Whose checkpoints.
        home: Where the index is.
        is_private: Whether it is in a state directory, not on a server.

    Raises:
        IndexMissingError: It is gone.
        IndexChangedError: It is another one.
    """
    if is_known(store, home):
        return
    there = home.identity()
    if there is not None and not is_private and not _is_empty(home):
        message = (
            f"the index {home.target} holds points that this state database does not "
            "know of: it was made for another, or the database was rebuilt. Run "
            "`learning-pipeline index rebuild`, which replaces it, or name another by "
            "LEARNING_PIPELINE_QDRANT_COLLECTION"
        )
        raise IndexChangedError(message)
    if there is not None:
        logs.get_logger().warning("index_of_another_database_replaced", at=home.target)
        home.drop()
    index_feed.restart_index(store, home.create())


def _is_empty(home: IndexHome) -> bool:
    with home.open(PURPOSE) as index:
        return index.count() == 0


def is_known(store: Store, home: IndexHome) -> bool:
    """Whether the index there is the one that the checkpoints speak of.

    False: they speak of none, nothing was ever indexed.

    Raises:
        IndexMissingError: It is gone.
        IndexChangedError: It is another one.
    """
    known = index_feed.index_identity(store)
    if known is None:
        return False
    there = home.identity()
    if there is None:
        what = "is gone"
        if known.target != home.target:
            what = f"is not there; the last one written to was {known.target}"
        message = (
            f"the index {home.target} {what}. Nothing is lost: `learning-pipeline "
            "index rebuild` makes it again of what was learned"
        )
        raise IndexMissingError(message)
    if known.index_id != there.index_id:
        message = (
            f"the index {home.target} is not the one that was written to last, "
            f"{known.target}. Run `learning-pipeline index rebuild` to fill it from "
            "what was learned, or set back what was changed"
        )
        raise IndexChangedError(message)
    return True
