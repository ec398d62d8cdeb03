"""Making the search index anew of the examples in the state database."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from learning_pipeline import logs
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import index_home
from learning_pipeline.learning.index.stage import indexing
from learning_pipeline.stages import DerivedDrain
from learning_pipeline.store import Reads, free_space_guard, index_feed
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.schema import finetuning_examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.model import Progress
    from learning_pipeline.settings import Settings
    from learning_pipeline.store import Claim, Store


def start_anew(store: Store, settings: Settings) -> str:
    """Replace the index by an empty one, and have everything indexed; gives where.

    Raises:
        IndexForeignError: What is there is another program's.
        IndexBusyError: Another process has it.
        DependencyUnavailableError: A service that it needs does not answer.

    Guarantees:
        Killed in between, the next run refuses and names `index rebuild`.
    """
    with index_home(settings, Breakers(store, settings)) as home:
        home.drop()
        index_feed.restart_index(store, home.create())
        return home.target


def index_everything(
    store: Store, settings: Settings, on_commit: Callable[[Progress], None]
) -> int:
    """Index what is not indexed yet, of all files.

    Killed in between, the next one, or the next run of `pattern_index`, goes on.

    Returns:
        How many rows it looked at; a duplicate of an example is one, and no point.
    """
    claims: list[Claim] = []
    count = 0
    require_free_space = free_space_guard(settings)
    checkpoints = store.checkpoints(stage=EXAMPLES_STAGE, with_kinds=False)
    with (
        store.session(
            stage=index_feed.INDEX_STAGE,
            table=None,
            run_id=f"index-{uuid4()}",
            history_count=settings.checkpoint_history,
            reads=Reads(EXAMPLES_STAGE, finetuning_examples),
        ) as session,
        indexing(settings)(store) as derivation,
    ):
        for each in checkpoints:
            drain = DerivedDrain(
                session,
                partition=each.partition,
                derivation=derivation,
                require_free_space=require_free_space,
                on_commit=on_commit,
                log=logs.get_logger(),
            )
            claim, progress = drain.run()
            claims.append(claim)
            count += progress.run_row_count
        session.sync(claims)
    return count
