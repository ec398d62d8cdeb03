"""What a search index is, whichever engine keeps it.

home = index_home(settings, breakers)
with home.open("index examples") as index:
    index.upsert(examples)
    index.flush()
    index.let_others_in()
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from learning_pipeline.learning.index.vectors import QueryVectors
    from learning_pipeline.model import Example
    from learning_pipeline.store import IndexIdentity


class SearchFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which examples to look among; what is empty or None leaves all.

    Attributes:
        kinds: Of one of these kinds.
        backends: Answered by one of these backends; `(none)`: by none that is stated.
        partitions: From one of these partitions.
        since: Happened then or later; with a time zone.
        until: Happened before then; with a time zone. One that does not say when it
            happened is found by neither.
    """

    kinds: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """An example that was found.

    Attributes:
        content_hash: SHA-256 of its content, hexadecimal.
        score: The engine's, larger is better; only comparable within one search.
        has_phrase: Whether it holds the query word for word; such come first.
        prompt: As the example's.
        response: As the example's.
        kind: The event's kind.
        backend: Backend or model that answered, if stated.
        partition: The partition key of the file that it comes from.
        generation: Which physical file behind that.
        offset: Byte position of its line there.
        ordinal: Which pattern of that line.
        timestamp: When it happened, ISO 8601 in UTC, or None if not stated.
    """

    content_hash: str
    score: float
    has_phrase: bool
    prompt: str
    response: str
    kind: str
    backend: str | None
    partition: str
    generation: int
    offset: int
    ordinal: int
    timestamp: str | None


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        hits: Best first: those that hold the query word for word, then the others,
            each by score.
        degraded: Why it was searched by words only although the index knows meanings
            too, for people; None when all was searched that there is.
    """

    hits: tuple[SearchHit, ...]
    degraded: str | None = None


class IndexedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the index, as far as the store has to agree.

    Attributes:
        content_hash: SHA-256 of the content.
        partition: The partition key.
        generation: Which physical file.
        offset: Of its line.
        ordinal: Which pattern of the line.
    """

    content_hash: bytes
    partition: str
    generation: int
    offset: int
    ordinal: int


class PatternIndex(Protocol):
    """An open index; of one thread.

    Attributes:
        identity: Which index it is.
    """

    identity: IndexIdentity

    def upsert(
        self,
        examples: Sequence[Example],
        *,
        is_current: Callable[[], bool] | None = None,
    ) -> bool:
        """Write examples, in place of those of the same content.

        While the embeddings endpoint is waited for, other processes that wait for the
        embedded index have their turn, as in `let_others_in`.

        Args:
            examples: Which.
            is_current: Whether they are still to be written; asked after others had
                their turn, who may have removed what was taken back meanwhile.

        Returns:
            Whether all were written: False when `is_current` said no; some may have
            been by then.

        Raises:
            IndexBusyError: Others did not give it back.
            IndexChangedError: They made it anew, or the endpoint gives meanings of
                another dimension.
            DependencyUnavailableError: A service failed; some may have been written.
            PatternIndexError: The engine refused, such as for a full disk.

        Guarantees:
            When it returns True, they are found, and a killed process does not lose
            them. Against a power cut, see `flush`. Again with the same examples it
            changes nothing.
        """

    def delete(self, content_hashes: Sequence[bytes]) -> None:
        """Remove examples; those that are not there are no error."""

    def flush(self) -> None:
        """Bring all that was written to stable storage.

        Guarantees:
            Embedded: a power cut after it loses nothing. A server has no such call: it
            keeps what it acknowledged when it is killed, and syncs by its own clock
            (`flush_interval_sec`, 5 s by default).
        """

    def count(self) -> int:
        """How many examples are in it."""

    def places(self, page_size: int = 1_000) -> Iterator[IndexedPlace]:
        """All of them, by point id: by the first 16 bytes of their content hashes.

        Memory is bounded by a page. What is written meanwhile may be seen or not.
        """

    def search(
        self,
        query: str | QueryVectors,
        *,
        limit: int = 10,
        among: SearchFilter | None = None,
    ) -> SearchResult:
        """The examples that answer a query best.

        Args:
            query: Any language; words, identifiers, an error message. Or its vectors,
                made by `IndexHome.vectors_of` before the index was opened: the
                endpoint may take long.
            limit: At most so many, 1 to 1,000.
            among: Which to look among.

        Raises:
            SearchQueryError: There is nothing in it to search for.
            DependencyUnavailableError: The server failed.
        """

    def let_others_in(self) -> bool:
        """Between two batches: let other processes have their turn, if any waits.

        The embedded index is closed and opened again for that; else it costs 50 µs.

        Returns:
            Whether others had their turn.

        Raises:
            IndexBusyError: They did not give it back within `INDEX_LOCK_SECONDS`.
            IndexChangedError: They made the index anew.
        """


class IndexHome(Protocol):
    """Where the index is, or is to be.

    Attributes:
        target: For people: a folder, or a server's URL and collection.
    """

    target: str

    def exists(self) -> bool:
        """Whether there is an index; also one that is damaged or another program's."""

    def identity(self) -> IndexIdentity | None:
        """Which index is there; None when there is none. Waits for nobody.

        Raises:
            IndexDamagedError: There is one, but it does not say which.
            IndexForeignError: It is another program's.
        """

    def vectors_of(self, query: str) -> QueryVectors:
        """What to search an index for; asks the embeddings endpoint, if there is one.

        Raises:
            SearchQueryError: There is nothing in it to search for.
        """

    def why_changed(self, identity: IndexIdentity) -> str | None:
        """Why an index does not fit the settings, for people; None when it does."""

    def create(self) -> IndexIdentity:
        """Make an empty index with a new random identity.

        Raises:
            PatternIndexError: There is one already.
            DependencyUnavailableError: A service failed.

        Guarantees:
            When killed on the way, there is an index with an identity, or none.
        """

    def open(self, purpose: str) -> AbstractContextManager[PatternIndex]:
        """Open the index, and have it for oneself if it is embedded.

        Args:
            purpose: What for; told to those who wait for it.

        Raises:
            IndexMissingError: There is none.
            IndexBusyError: Another process had it for longer than
                `INDEX_LOCK_SECONDS`.
            IndexChangedError: It does not fit the settings.
            IndexDamagedError: It cannot be opened.
            IndexForeignError: It is another program's.
        """

    def drop(self) -> None:
        """Remove the index; that there is none is no error.

        An embedded one that does not say which it is, is moved aside instead.

        Raises:
            IndexForeignError: It is another program's collection.
            IndexBusyError: Another process has it.
        """
