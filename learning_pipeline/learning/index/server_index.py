"""An open index on a server: writing, reading, searching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

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
from learning_pipeline.learning.index.vectors import Kind, QueryVectors, Vectorizer
from learning_pipeline.store.chunks import NONE_STATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from learning_pipeline.learning.index.interface import IndexedPlace, SearchFilter
    from learning_pipeline.learning.index.server_calls import ServerCalls
    from learning_pipeline.model import Example
    from learning_pipeline.store import IndexIdentity

_REQUEST_CHARS: Final = 4_000_000
"""A server takes 32 MiB a request by default; a character may take six bytes."""


class ServerIndex:
    """An open index on a server; see `interface.PatternIndex`."""

    def __init__(
        self,
        calls: ServerCalls,
        collection: str,
        identity: IndexIdentity,
        vectorizer: Vectorizer,
    ) -> None:
        """Take what it is made of."""
        self.identity = identity
        self._calls = calls
        self._collection = collection
        self._vectorizer = vectorizer
        self._kind = Kind.parse(identity.vectors)

    def upsert(
        self,
        examples: Sequence[Example],
        *,
        is_current: Callable[[], bool] | None = None,  # noqa: ARG002 - no turns here
    ) -> bool:
        """Write examples."""
        for some in in_updates(examples):
            vectors = self._vectorizer.of_examples(some, self._kind)
            points: list[models.PointStruct] = []
            char_count = 0
            for example, vector in zip(some, vectors, strict=True):
                named: dict[str, Any] = {
                    SPARSE: models.SparseVector(
                        indices=vector.words.indices, values=vector.words.values
                    )
                }
                if vector.dense is not None:
                    named[DENSE] = vector.dense
                points.append(
                    models.PointStruct(
                        id=str(point_id(example.content_hash)),
                        vector=named,
                        payload=payload_of(example),
                    )
                )
                char_count += len(example.prompt) + len(example.response)
                if char_count >= _REQUEST_CHARS:
                    self._write(points)
                    points, char_count = [], 0
            self._write(points)
        return True

    def delete(self, content_hashes: Sequence[bytes]) -> None:
        """Remove examples."""
        if content_hashes:
            ids: list[Any] = [str(point_id(each)) for each in content_hashes]
            self._calls(
                self._calls.client.delete,
                collection_name=self._collection,
                points_selector=models.PointIdsList(points=ids),
                wait=True,
            )

    def flush(self) -> None:
        """Nothing that can be asked of a server; see `interface.PatternIndex`."""

    def count(self) -> int:
        """How many examples are in it."""
        found = self._calls(
            self._calls.client.count, collection_name=self._collection, exact=True
        )
        return found.count

    def places(self, page_size: int = 1_000) -> Iterator[IndexedPlace]:
        """All of them, by point id."""
        offset = None
        while True:
            records, offset = self._calls(
                self._calls.client.scroll,
                collection_name=self._collection,
                limit=page_size,
                offset=offset,
                with_payload=list(PLACE_FIELDS),
                with_vectors=False,
            )
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
            query = self._vectorizer.of_query(query)
        query = query.fitted(self._kind)
        response = self._calls(
            self._calls.client.query_points,
            collection_name=self._collection,
            with_payload=True,
            **_request(query, candidate_count(limit), _filter(among)),
        )
        found = ((each.score, each.payload or {}) for each in response.points)
        return SearchResult(
            hits=ranked(query.text, found, limit), degraded=query.degraded
        )

    def let_others_in(self) -> bool:
        """Nobody is kept out."""
        return False

    def _write(self, points: list[models.PointStruct]) -> None:
        if points:
            self._calls(
                self._calls.client.upsert,
                collection_name=self._collection,
                points=points,
                wait=True,
            )


def _request(
    query: QueryVectors, count: int, where: models.Filter | None
) -> dict[str, Any]:
    words = models.SparseVector(indices=query.words.indices, values=query.words.values)
    if query.dense is None:
        return {
            "query": words,
            "using": SPARSE,
            "limit": count,
            "query_filter": where,
        }
    return {
        "prefetch": [
            models.Prefetch(query=words, using=SPARSE, limit=count, filter=where),
            models.Prefetch(query=query.dense, using=DENSE, limit=count, filter=where),
        ],
        "query": models.RrfQuery(rrf=models.Rrf(k=FUSION_K)),
        "limit": count,
    }


def _filter(among: SearchFilter | None) -> models.Filter | None:
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
    for moment in (among.since, among.until):
        if moment:
            rfc3339(moment)
    if among.since or among.until:
        between = models.DatetimeRange(gte=among.since, lt=among.until)
        conditions.append(models.FieldCondition(key=TIME_FIELD, range=between))
    return models.Filter(must=conditions) if conditions else None


def _any_of(name: str, values: Sequence[str]) -> models.FieldCondition | models.Filter:
    stated = models.FieldCondition(key=name, match=models.MatchAny(any=list(values)))
    if name != BACKEND_FIELD or NONE_STATED not in values:
        return stated
    field = models.PayloadField(key=name)
    return models.Filter(should=[stated, models.IsEmptyCondition(is_empty=field)])
