"""The index in a folder of the state directory, by Qdrant's embedded engine.

The engine writes ahead of each update: what `upsert` has acknowledged survives a kill.
`flush` syncs log and segments: that survives a power cut. It takes 5 ms for a batch of
1,000 points, and lets the engine forget the log, which else grows without bound.

New points are in memory for search, 0.8 KB each; after some 200,000 of them the engine
is let write them out in a form that is mapped from disk. So memory stays within some
300 MB however large the index. Opening it takes 4 s for a million points in memory, and
next to nothing for those written out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import qdrant_edge as edge

from learning_pipeline.errors import (
    IndexChangedError,
    IndexMissingError,
    PatternIndexError,
)
from learning_pipeline.learning.index import embedded_folder
from learning_pipeline.learning.index.embedded_index import EmbeddedIndex
from learning_pipeline.learning.index.engine_errors import explained
from learning_pipeline.learning.index.points import (
    DENSE,
    KEYWORD_FIELDS,
    SPARSE,
    TIME_FIELD,
)
from learning_pipeline.learning.index.turns import Turns
from learning_pipeline.learning.index.vectors import (
    REBUILD,
    Kind,
    QueryVectors,
    Vectorizer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from learning_pipeline.store import IndexIdentity

_WRITTEN_OUT_KB = 131_072
"""Size of the vectors in memory at which they are written out: some 200,000 points.

Writing a point out takes a third of the time that adding it takes.
"""

_LARGEST_SEGMENT_KB = 8 * _WRITTEN_OUT_KB
_SEGMENT_COUNT = 16
"""Fewer are not merged: merging writes everything anew."""


class EmbeddedHome:
    """An index in a folder; see `interface.IndexHome`."""

    def __init__(
        self, folder: Path, vectorizer: Vectorizer, *, wait_seconds: float
    ) -> None:
        """Take the folder, what makes vectors, and how long to wait for a turn."""
        self._folder = folder.absolute()
        self._vectorizer = vectorizer
        self._wait_seconds = wait_seconds
        self.target = str(self._folder)

    def exists(self) -> bool:
        """Whether there is an index."""
        return self._folder.exists()

    def identity(self) -> IndexIdentity | None:
        """Which index is there."""
        return embedded_folder.read_identity(self._folder)

    def vectors_of(self, query: str) -> QueryVectors:
        """What to search an index for."""
        return self._vectorizer.of_query(query)

    def why_changed(self, identity: IndexIdentity) -> str | None:
        """Why an index does not fit the settings."""
        return self._vectorizer.why_changed(Kind.parse(identity.vectors))

    def create(self) -> IndexIdentity:
        """Make an empty index."""
        kind = self._vectorizer.kind()
        with self._turn("make the index"):
            if self.exists():
                message = f"there is an index in {self._folder} already: drop it first"
                raise PatternIndexError(message)
            with (
                embedded_folder.new_folder(self._folder, str(kind)) as (new, identity),
                explained(self._folder),
            ):
                _make_shard(new, kind)
        return identity

    @contextlib.contextmanager
    def open(self, purpose: str) -> Iterator[EmbeddedIndex]:
        """Open the index, and have it for oneself."""
        if not self.exists():
            raise self._missing()
        with self._turn(purpose) as turns:
            index = EmbeddedIndex(self, turns, purpose)
            try:
                yield index
            finally:
                index.close()

    def drop(self) -> None:
        """Remove the index, or move it aside."""
        if self._folder.parent.exists():
            with self._turn("drop the index"):
                embedded_folder.remove(self._folder)

    def required_identity(self) -> IndexIdentity:
        """Which index is there, when it fits the settings."""
        identity = self.identity()
        if identity is None:
            raise self._missing()
        why = self.why_changed(identity)
        if why is not None:
            message = (
                f"the index {self._folder} does not fit the settings: {why}. {REBUILD}"
            )
            raise IndexChangedError(message)
        return identity

    def load(self) -> edge.EdgeShard:
        """The engine, opened; only with the turn."""
        embedded_folder.remove_half_written(self._folder)
        with explained(self._folder, is_reading=True):
            return edge.EdgeShard.load(str(self._folder))

    def explained(
        self, *, is_reading: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """What the engine raises within, as errors of this project."""
        return explained(self._folder, is_reading=is_reading)

    @property
    def vectorizer(self) -> Vectorizer:
        """What makes vectors."""
        return self._vectorizer

    @contextlib.contextmanager
    def _turn(self, purpose: str) -> Iterator[Turns]:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        turns = Turns(self._folder, wait_seconds=self._wait_seconds)
        turns.take(purpose)
        try:
            yield turns
        finally:
            turns.give_back()

    def _missing(self) -> IndexMissingError:
        return IndexMissingError(f"there is no index in {self._folder}: {REBUILD}")


def _make_shard(folder: Path, kind: Kind) -> None:
    dense = {}
    if kind.model is not None:
        dense[DENSE] = edge.EdgeVectorParams(
            size=kind.dimension, distance=edge.Distance.Cosine
        )
    config = edge.EdgeConfig(
        vectors=dense,
        sparse_vectors={
            SPARSE: edge.EdgeSparseVectorParams(
                modifier=edge.Modifier.Idf, memory=edge.Memory.Cold
            )
        },
        payload_memory=edge.Memory.Cold,
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=_WRITTEN_OUT_KB,
            max_segment_size=_LARGEST_SEGMENT_KB,
            default_segment_number=_SEGMENT_COUNT,
        ),
    )
    shard = edge.EdgeShard.create(str(folder), config)
    for name in KEYWORD_FIELDS:
        parameters = edge.KeywordIndexParams(memory=edge.Memory.Cold)
        shard.update(edge.UpdateOperation.create_field_index(name, parameters))
    times = edge.DatetimeIndexParams(memory=edge.Memory.Cold)
    shard.update(edge.UpdateOperation.create_field_index(TIME_FIELD, times))
    shard.flush()
    shard.close()
