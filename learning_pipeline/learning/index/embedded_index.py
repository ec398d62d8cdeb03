"""An open embedded index: writing, reading, searching."""

from __future__ import annotations

import contextlib
import ctypes
import time
from typing import TYPE_CHECKING, Any

import qdrant_edge as edge

from learning_pipeline.errors import IndexChangedError, PatternIndexError
from learning_pipeline.learning.index.interface import SearchResult
from learning_pipeline.learning.index.points import (
    BACKEND_FIELD,
    DENSE,
    FUSION_K,
    KEYWORD_FIELDS,
    PLACE_FIELDS,
    SPARSE,
    TIME_FIELD,
    candidate_count,
    checked_limit,
    in_updates,
    payload_of,
    place_of,
    point_id,
    ranked,
    rfc3339,
)
from learning_pipeline.learning.index.vectors import Kind, QueryVectors
from learning_pipeline.store.chunks import NONE_STATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from learning_pipeline.learning.index.embedded import EmbeddedHome
    from learning_pipeline.learning.index.interface import IndexedPlace, SearchFilter
    from learning_pipeline.learning.index.turns import Turns
    from learning_pipeline.model import Example

_LEAST_TURN_SECONDS = 1.0
"""A writer is not made to open the index again more often than that."""


class EmbeddedIndex:
    """An open index in a folder; see `interface.PatternIndex`."""

    def __init__(self, home: EmbeddedHome, turns: Turns, purpose: str) -> None:
        """Open it; only with the turn."""
        self._home = home
        self._turns = turns
        self._purpose = purpose
        self._shard: edge.EdgeShard | None = None
        self._turns_given = 0
        self.identity = home.required_identity()
        self._kind = Kind.parse(self.identity.vectors)
        self._open()

    def close(self) -> None:
        """Close the engine, which flushes."""
        shard, self._shard = self._shard, None
        if shard is not None:
            with self._home.explained():
                shard.close()

    def upsert(
        self,
        examples: Sequence[Example],
        *,
        is_current: Callable[[], bool] | None = None,
    ) -> bool:
        """Write examples."""
        for some in in_updates(examples):
            turns_before = self._turns_given
            vectors = self._home.vectorizer.of_examples(
                some, self._kind, meanwhile=self.let_others_in
            )
            others_had_it = self._turns_given > turns_before
            if others_had_it and is_current is not None and not is_current():
                return False
            points = []
            for example, vector in zip(some, vectors, strict=True):
                named: dict[str, Any] = {SPARSE: vector.words}
                if vector.dense is not None:
                    named[DENSE] = vector.dense
                points.append(
                    edge.Point(
                        point_id(example.content_hash), named, payload_of(example)
                    )
                )
            with self._home.explained():
                self._engine.update(edge.UpdateOperation.upsert_points(points))
                self._engine.optimize()
        return True

    def delete(self, content_hashes: Sequence[bytes]) -> None:
        """Remove examples."""
        if content_hashes:
            ids: list[Any] = [point_id(each) for each in content_hashes]
            with self._home.explained():
                self._engine.update(edge.UpdateOperation.delete_points(ids))

    def flush(self) -> None:
        """Bring all that was written to stable storage."""
        with self._home.explained():
            self._engine.flush()
        _return_freed_memory()

    def count(self) -> int:
        """How many examples are in it."""
        with self._home.explained(is_reading=True):
            return self._engine.count(edge.CountRequest(exact=True))

    def places(self, page_size: int = 1_000) -> Iterator[IndexedPlace]:
        """All of them, by point id."""
        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=page_size,
                with_payload=list(PLACE_FIELDS),
                with_vector=False,
            )
            with self._home.explained(is_reading=True):
                records, offset = self._engine.scroll(request)
            for record in records:
                yield place_of(record.payload or {})
            if offset is None:
                return

    def search(
        self,
        query: str | QueryVectors,
        *,
        limit: int = 10,
        among: SearchFilter | None = None,
    ) -> SearchResult:
        """The examples that answer a query best."""
        checked_limit(limit)
        if isinstance(query, str):
            query = self._home.vectors_of(query)
        query = query.fitted(self._kind)
        request = _request(query, candidate_count(limit), _filter(among))
        with self._home.explained(is_reading=True):
            found = self._engine.query(request)
        hits = ranked(
            query.text, ((each.score, each.payload or {}) for each in found), limit
        )
        return SearchResult(hits=hits, degraded=query.degraded)

    def let_others_in(self) -> bool:
        """Between two batches: let other processes have their turn, if any waits."""
        if time.monotonic() - self._opened_at < _LEAST_TURN_SECONDS:
            return False
        if not self._turns.someone_waits():
            return False
        self._turns_given += 1
        self.close()
        self._turns.give_back()
        self._turns.take(self._purpose)
        if self._home.required_identity() != self.identity:
            message = "the index was made anew meanwhile: run again"
            raise IndexChangedError(message)
        self._open()
        return True

    @property
    def _engine(self) -> edge.EdgeShard:
        if self._shard is None:
            message = "the index was closed"
            raise PatternIndexError(message)
        return self._shard

    def _open(self) -> None:
        self._shard = self._home.load()
        self._opened_at = time.monotonic()


def _return_freed_memory() -> None:
    # What the engine's threads freed after writing points out, the C library keeps for
    # each of them: 700 MB at a million points instead of 300. It costs 1 % of the time.
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _request(
    query: QueryVectors, count: int, where: edge.Filter | None
) -> edge.QueryRequest:
    words = edge.Query.Nearest(query.words, using=SPARSE)
    if query.dense is None:
        return edge.QueryRequest(
            limit=count, query=words, filter=where, with_payload=True
        )
    meaning = edge.Query.Nearest(query.dense, using=DENSE)
    return edge.QueryRequest(
        limit=count,
        query=edge.Fusion.Rrf(k=FUSION_K),  # type: ignore[arg-type] # its stub
        prefetches=[
            edge.Prefetch(limit=count, query=each, filter=where)
            for each in (words, meaning)
        ],
        with_payload=True,
    )


def _filter(among: SearchFilter | None) -> edge.Filter | None:
    if among is None:
        return None
    conditions: list[Any] = [
        _any_of(name, values)
        for name, values in zip(
            KEYWORD_FIELDS,
            (among.kinds, among.backends, among.partitions),
            strict=True,
        )
        if values
    ]
    if among.since or among.until:
        between = edge.RangeDateTime(
            gte=rfc3339(among.since) if among.since else None,
            lt=rfc3339(among.until) if among.until else None,
        )
        conditions.append(edge.FieldCondition(key=TIME_FIELD, range=between))
    return edge.Filter(must=conditions) if conditions else None


def _any_of(name: str, values: Sequence[str]) -> edge.FieldCondition | edge.Filter:
    stated = edge.FieldCondition(key=name, match=edge.MatchAny(list(values)))
    if name != BACKEND_FIELD or NONE_STATED not in values:
        return stated
    return edge.Filter(should=[stated, edge.IsEmptyCondition(name)])
