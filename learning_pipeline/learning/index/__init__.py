"""The search index: examples, found by their words and, where configured, meanings.

It is a view of the state database, written idempotently: a point's id is made of the
content hash, so a replay writes the same points again, and `index rebuild` makes the
whole of it anew.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.index.interface import (
    IndexedPlace,
    IndexHome,
    PatternIndex,
    SearchFilter,
    SearchHit,
    SearchResult,
)
from learning_pipeline.learning.index.vectors import Vectorizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from learning_pipeline.learning.breakers import Breakers
    from learning_pipeline.settings import Settings

__all__ = [
    "IndexHome",
    "IndexedPlace",
    "PatternIndex",
    "SearchFilter",
    "SearchHit",
    "SearchResult",
    "index_folder",
    "index_home",
]


def index_folder(settings: Settings) -> Path:
    """Where the embedded index is."""
    return settings.state_dir / "index"


@contextlib.contextmanager
def index_home(settings: Settings, breakers: Breakers) -> Iterator[IndexHome]:
    """Where the index is, as the settings say; asks nobody yet.

    Args:
        settings: `qdrant_*`, `embeddings_*`, `index_lock_seconds`, `state_dir`.
        breakers: Of the state database.
    """
    with contextlib.ExitStack() as stack:
        embeddings = None
        if settings.embeddings_url:
            embeddings = stack.enter_context(Embeddings(settings, breakers))
        vectorizer = Vectorizer(embeddings)
        if not settings.qdrant_url:
            yield EmbeddedHome(
                index_folder(settings),
                vectorizer,
                wait_seconds=settings.index_lock_seconds,
            )
            return
        # The client takes a second to import, and only those with a server need it.
        from learning_pipeline.learning.index.server import (  # noqa: PLC0415
            ServerHome,
        )
        from learning_pipeline.learning.index.server_calls import (  # noqa: PLC0415
            connect,
        )

        yield ServerHome(settings, vectorizer, breakers, lambda: connect(settings))
