"""The index as a collection of a Qdrant server, version 1.16 or later.

Its identity stands in the collection's metadata, which came with 1.16: a collection
without it is another program's, and is neither written nor dropped. Several processes
may write at once; the server sees to that.

Tried here against the client's own local mode and against an HTTP server that records
the calls; *not* against a live Qdrant server.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from qdrant_client import QdrantClient, models

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import (
    ConfigurationError,
    IndexChangedError,
    IndexDamagedError,
    IndexForeignError,
    IndexMissingError,
    PatternIndexError,
)
from learning_pipeline.learning.index.points import (
    DENSE,
    KEYWORD_FIELDS,
    SPARSE,
    TIME_FIELD,
)
from learning_pipeline.learning.index.server_calls import ServerCalls, is_conflict
from learning_pipeline.learning.index.server_index import ServerIndex
from learning_pipeline.learning.index.vectors import (
    REBUILD,
    Kind,
    QueryVectors,
    Vectorizer,
)
from learning_pipeline.learning.retrying import FIRST_WAIT_SECONDS
from learning_pipeline.store import IndexIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learning_pipeline.learning.breakers import Breakers
    from learning_pipeline.settings import Settings

_OURS: Final = "learning_pipeline"
"""The key of the identity in the collection's metadata."""

_FORMAT: Final = 1
Connect = Callable[[], QdrantClient]


class ServerHome:
    """An index on a server; see `interface.IndexHome`."""

    def __init__(
        self,
        settings: Settings,
        vectorizer: Vectorizer,
        breakers: Breakers,
        connect: Connect,
        *,
        wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        """Take the settings that begin with `qdrant_`, and how to get a client."""
        self._settings = settings
        self._vectorizer = vectorizer
        self._breakers = breakers
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._collection = settings.qdrant_collection
        self.target = f"{settings.qdrant_url}/collections/{self._collection}"

    def exists(self) -> bool:
        """Whether there is a collection of that name."""
        with self._calls() as calls:
            return self._is_there(calls)

    def identity(self) -> IndexIdentity | None:
        """Which index is there."""
        with self._calls() as calls:
            return self._identity(calls)

    def vectors_of(self, query: str) -> QueryVectors:
        """What to search an index for."""
        return self._vectorizer.of_query(query)

    def why_changed(self, identity: IndexIdentity) -> str | None:
        """Why an index does not fit the settings."""
        return self._vectorizer.why_changed(Kind.parse(identity.vectors))

    def create(self) -> IndexIdentity:
        """Make an empty index."""
        kind = self._vectorizer.kind()
        identity = IndexIdentity(self.target, uuid.uuid4().hex, str(kind))
        with self._calls() as calls:
            if self._identity(calls) is not None:
                raise self._already_there()
            self._make(calls, identity, kind)
            # A server before 1.16 drops the metadata without a word.
            try:
                stored = self._identity(calls)
            except IndexForeignError:
                stored = None
            if stored != identity:
                message = (
                    f"{self.target} was made, but does not keep its metadata: the "
                    "server must be of version 1.16 or later. Upgrade it, delete the "
                    f"collection, and try again: {REBUILD}"
                )
                raise ConfigurationError(message)
            self._index_payload(calls)
        return identity

    @contextlib.contextmanager
    def open(self, purpose: str) -> Iterator[ServerIndex]:  # noqa: ARG002 - the embedded one tells it to those who wait
        """Open the index."""
        with self._calls() as calls:
            identity = self._identity(calls)
            if identity is None:
                message = f"there is no index at {self.target}: {REBUILD}"
                raise IndexMissingError(message)
            why = self.why_changed(identity)
            if why is not None:
                message = f"{self.target} does not fit the settings: {why}. {REBUILD}"
                raise IndexChangedError(message)
            yield ServerIndex(calls, self._collection, identity, self._vectorizer)

    def drop(self) -> None:
        """Remove the collection, if it is ours."""
        with self._calls() as calls:
            try:
                identity = self._identity(calls)
            except IndexDamagedError:
                # Ours, of another format.
                identity = None
            else:
                if identity is None:
                    return
            calls(calls.client.delete_collection, collection_name=self._collection)

    @contextlib.contextmanager
    def _calls(self) -> Iterator[ServerCalls]:
        client = self._connect()
        try:
            yield ServerCalls(
                client,
                self._breakers,
                self._settings,
                wait_seconds=self._wait_seconds,
            )
        finally:
            client.close()

    def _is_there(self, calls: ServerCalls) -> bool:
        return calls(calls.client.collection_exists, collection_name=self._collection)

    def _identity(self, calls: ServerCalls) -> IndexIdentity | None:
        if not self._is_there(calls):
            return None
        information = calls(
            calls.client.get_collection, collection_name=self._collection
        )
        known = (information.config.metadata or {}).get(_OURS)
        if not isinstance(known, dict):
            message = (
                f"{self.target} is another program's collection (it does not say that "
                "it is ours) and was not touched: set "
                f"{ENVIRONMENT_PREFIX}QDRANT_COLLECTION to another name"
            )
            raise IndexForeignError(message)
        index_id, vectors = known.get("index_id"), known.get("vectors")
        if known.get("format") != _FORMAT or not (
            isinstance(index_id, str) and isinstance(vectors, str)
        ):
            message = f"{self.target} was made by another version: {REBUILD}"
            raise IndexDamagedError(message)
        return IndexIdentity(self.target, index_id, vectors)

    def _make(self, calls: ServerCalls, identity: IndexIdentity, kind: Kind) -> None:
        dense = {}
        if kind.model is not None:
            dense[DENSE] = models.VectorParams(
                size=kind.dimension, distance=models.Distance.COSINE
            )
        known = {
            "format": _FORMAT,
            "index_id": identity.index_id,
            "vectors": identity.vectors,
        }
        try:
            calls(
                calls.client.create_collection,
                collection_name=self._collection,
                vectors_config=dense,
                sparse_vectors_config={
                    SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
                on_disk_payload=True,
                metadata={_OURS: known},
            )
        except ConfigurationError as error:
            # A try whose answer was lost may have made it: then it is of this identity.
            if not is_conflict(error) or self._identity(calls) != identity:
                raise

    def _index_payload(self, calls: ServerCalls) -> None:
        schemas = dict.fromkeys(KEYWORD_FIELDS, models.PayloadSchemaType.KEYWORD)
        schemas[TIME_FIELD] = models.PayloadSchemaType.DATETIME
        for name, schema in schemas.items():
            calls(
                calls.client.create_payload_index,
                collection_name=self._collection,
                field_name=name,
                field_schema=schema,
                wait=True,
            )

    def _already_there(self) -> PatternIndexError:
        return PatternIndexError(f"there is an index at {self.target}: drop it first")
