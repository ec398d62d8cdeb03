"""Examples as a dataset wants them, from one snapshot; and where each comes from."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.example_rows import example_of, select_examples
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.queries import select_checkpoints
from learning_pipeline.store.schema import (
    ROW_KEY,
    finetuning_examples,
    partitions,
    patterns,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from learning_pipeline.model import Checkpoint, Example
    from learning_pipeline.store import Store

ROWS_PER_FETCH: Final = 1_000
HASH_HEX_CHARS: Final = 64
MAX_CANDIDATES: Final = 10
"""So many examples are listed that one prefix may mean."""

MAX_PLACES: Final = 100
"""So many places are listed where the same content occurs."""


class ExampleCounts(msgspec.Struct, frozen=True):
    """What there is.

    Attributes:
        example_count: Examples, each content once.
        duplicate_count: Quality patterns whose content is an example elsewhere.
        by_kind: Examples per kind, by name.
        by_backend: Examples per backend, by name; those without one under None.
    """

    example_count: int
    duplicate_count: int
    by_kind: Mapping[str, int]
    by_backend: Mapping[str | None, int]


class Place(msgspec.Struct, frozen=True):
    """Where a content occurs.

    Attributes:
        partition: The partition key.
        generation: Which physical file behind it.
        offset: Of the line.
        ordinal: Which pattern of the line.
        is_example: Whether it is the example; else a duplicate.
        run_id: The run that found it.
    """

    partition: str
    generation: int
    offset: int
    ordinal: int
    is_example: bool
    run_id: str


class Places(msgspec.Struct, frozen=True):
    """Where a content occurs, the first `MAX_PLACES`, and in how many places."""

    places: Sequence[Place]
    total_count: int


class OtherPattern(msgspec.Struct, frozen=True):
    """A pattern that is no example.

    Attributes:
        content_hash: Of its content.
        partition: The partition key.
        generation: Which physical file behind it.
        offset: Of its line.
        is_quality: Whether it meets the quality rules; then it becomes an example, or
            a duplicate of one, once the stage comes by.
    """

    content_hash: bytes
    partition: str
    generation: int
    offset: int
    is_quality: bool


class DatasetSnapshot:
    """The examples and what they stand for, as of one moment."""

    def __init__(self, connection: sa.Connection) -> None:
        """Read over `connection`, whose transaction is the snapshot."""
        self._connection = connection

    def examples(self) -> Generator[Example, None, None]:
        """All of them, by partition key (code points), generation, offset, ordinal.

        Guarantees:
            Bounded memory, whatever there is.
        """
        table = finetuning_examples
        for partition_id in self._partition_ids():
            query = (
                select_examples()
                .where(table.c.partition_id == partition_id)
                .order_by(*(table.c[name] for name in ROW_KEY[1:]))
            )
            yield from self._streamed(query)

    def examples_by_content(self) -> Generator[Example, None, None]:
        """All of them, by content hash: an order that no history of runs changes."""
        yield from self._streamed(
            select_examples().order_by(finetuning_examples.c.content_hash)
        )

    @cached_property
    def checkpoints(self) -> list[Checkpoint]:
        """Where the stage `finetuning_examples` stands in each file, by its key."""
        return select_checkpoints(
            self._connection, stage=EXAMPLES_STAGE, with_kinds=False
        )

    @cached_property
    def counts(self) -> ExampleCounts:
        """What there is; a look at every example."""
        table = finetuning_examples
        same = sa.and_(*(table.c[name] == patterns.c[name] for name in ROW_KEY))
        rows = self._connection.execute(
            sa.select(patterns.c.kind, patterns.c.backend, sa.func.count())
            .select_from(table.join(patterns, same))
            .where(sa.not_(table.c.is_duplicate))
            .group_by(patterns.c.kind, patterns.c.backend)
        )
        by_kind: Counter[str] = Counter()
        by_backend: Counter[str | None] = Counter()
        for kind, backend, count in rows:
            by_kind[kind] += count
            by_backend[backend] += count
        return ExampleCounts(
            example_count=by_kind.total(),
            duplicate_count=self.duplicate_count,
            by_kind=dict(sorted(by_kind.items())),
            by_backend=dict(sorted(by_backend.items(), key=lambda each: each[0] or "")),
        )

    @cached_property
    def duplicate_count(self) -> int:
        """How many quality patterns are duplicates of an example."""
        query = (
            sa.select(sa.func.count())
            .select_from(finetuning_examples)
            .where(finetuning_examples.c.is_duplicate)
        )
        return int(self._connection.execute(query).scalar_one())

    def _streamed(self, query: sa.Select[Any]) -> Generator[Example, None, None]:
        options = {"yield_per": ROWS_PER_FETCH}
        # Closed also when the reader gives up half-way.
        with self._connection.execute(query, execution_options=options) as result:
            for row in result:
                yield example_of(row)

    def _partition_ids(self) -> list[int]:
        table = finetuning_examples
        some = sa.exists().where(table.c.partition_id == partitions.c.id)
        query = (
            sa.select(partitions.c.id)
            .where(some)
            .order_by(by_code_point(self._connection, partitions.c.partition_key))
        )
        return list(self._connection.execute(query).scalars())


@contextlib.contextmanager
def dataset_snapshot(store: Store) -> Iterator[DatasetSnapshot]:
    """Everything that is read inside is of one moment, whatever is learned meanwhile.

    Raises:
        StoreUnavailableError: The database cannot be used.
        StateDamagedError: It is malformed.
    """
    with store.snapshot() as connection:
        yield DatasetSnapshot(connection)


def find_examples(
    store: Store, hash_prefix: str, *, count: int = MAX_CANDIDATES
) -> list[Example]:
    """Examples whose content hash begins with some hex digits, by hash.

    Args:
        store: Where.
        hash_prefix: Hex digits, lower case.
        count: At most so many.
    """
    table = finetuning_examples
    query = (
        select_examples()
        .where(table.c.content_hash.between(*_bounds(hash_prefix)))
        .order_by(table.c.content_hash)
        .limit(count)
    )
    with store.snapshot() as connection:
        return [example_of(row) for row in connection.execute(query)]


def find_other_patterns(
    store: Store, hash_prefix: str, *, count: int = MAX_CANDIDATES
) -> list[OtherPattern]:
    """Patterns of such a hash that are not among the examples, nor duplicates of one.

    A look at every pattern: their hashes have no index.
    """
    table = finetuning_examples
    taken_over = sa.exists().where(
        *(table.c[name] == patterns.c[name] for name in ROW_KEY)
    )
    query = (
        sa.select(
            patterns.c.content_hash,
            partitions.c.partition_key,
            patterns.c.generation,
            patterns.c.offset,
            patterns.c.quality,
        )
        .join(partitions, partitions.c.id == patterns.c.partition_id)
        .where(
            patterns.c.content_hash.between(*_bounds(hash_prefix)), sa.not_(taken_over)
        )
        .order_by(*(patterns.c[name] for name in ROW_KEY))
        .limit(count)
    )
    with store.snapshot() as connection:
        return [
            OtherPattern(bytes(row[0]), *row[1:4], bool(row[4]))
            for row in connection.execute(query)
        ]


def places_of(store: Store, content_hash: bytes) -> Places:
    """Where a content occurs: the example first, then its duplicates in order."""
    table = finetuning_examples
    same = table.c.content_hash == content_hash
    # Each half has an index of its own.
    of_example = sa.and_(same, sa.not_(table.c.is_duplicate))
    of_duplicates = sa.and_(same, table.c.is_duplicate)
    places: list[Place] = []
    total_count = 0
    with store.snapshot() as connection:
        for where in (of_example, of_duplicates):
            total_count += connection.execute(
                sa.select(sa.func.count()).select_from(table).where(where)
            ).scalar_one()
            query = (
                _places(where)
                .order_by(
                    by_code_point(connection, partitions.c.partition_key),
                    *(table.c[name] for name in ROW_KEY[1:]),
                )
                .limit(MAX_PLACES - len(places))
            )
            places += (
                Place(row[0], row[1], row[2], row[3], not row[4], row[5])
                for row in connection.execute(query)
            )
    return Places(places, total_count)


def _places(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    table = finetuning_examples
    return (
        sa.select(
            partitions.c.partition_key,
            table.c.generation,
            table.c.offset,
            table.c.ordinal,
            table.c.is_duplicate,
            table.c.run_id,
        )
        .join(partitions, partitions.c.id == table.c.partition_id)
        .where(where)
    )


def _bounds(hash_prefix: str) -> tuple[bytes, bytes]:
    return (
        bytes.fromhex(hash_prefix.ljust(HASH_HEX_CHARS, "0")),
        bytes.fromhex(hash_prefix.ljust(HASH_HEX_CHARS, "f")),
    )
