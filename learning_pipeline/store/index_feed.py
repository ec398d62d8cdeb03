"""What the search index is fed with: examples, changes behind its back, identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.codec import utc_now
from learning_pipeline.store.example_rows import example_of, select_examples
from learning_pipeline.store.schema import (
    checkpoints,
    finetuning_examples,
    generation_positions,
    index_changes,
    partitions,
)
from learning_pipeline.store.schema import index_identity as identities
from learning_pipeline.store.stage_place import StagePlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from learning_pipeline.model import Example
    from learning_pipeline.store import Store
    from learning_pipeline.store.session_connection import Claim

INDEX_STAGE = "pattern_index"
ROWS_PER_FETCH = 1_000


class IndexIdentity(msgspec.Struct, frozen=True):
    """Which index the checkpoints of `pattern_index` speak of.

    Attributes:
        target: Where it is: a folder, or a server's URL and collection.
        index_id: Given to it when it was made, and kept in it too.
        vectors: What its vectors are made by; another is another index.
    """

    target: str
    index_id: str
    vectors: str


class PendingChanges(msgspec.Struct, frozen=True):
    """Examples that came, went or moved behind the index's back.

    Attributes:
        ids: The numbers of the changes.
        hashes: Their content hashes, each once.
    """

    ids: tuple[int, ...]
    hashes: tuple[bytes, ...]


class ExamplePlace(msgspec.Struct, frozen=True):
    """An example, as far as the index has to agree.

    Attributes:
        content_hash: Its identity.
        partition: The partition key.
        generation: Which physical file.
        offset: Of its line.
        ordinal: Which pattern of the line.
        is_due: Whether the index must have it: the stage has passed by its place.
    """

    content_hash: bytes
    partition: str
    generation: int
    offset: int
    ordinal: int
    is_due: bool


def examples_between(store: Store, claim: Claim, end_offset: int) -> list[Example]:
    """The examples from where a claim stands to `end_offset`, by offset."""
    checkpoint = claim.checkpoint
    query = (
        select_examples()
        .where(
            finetuning_examples.c.partition_id == claim.partition_id,
            finetuning_examples.c.generation == checkpoint.generation,
            finetuning_examples.c.offset >= checkpoint.offset,
            finetuning_examples.c.offset < end_offset,
        )
        .order_by(finetuning_examples.c.offset, finetuning_examples.c.ordinal)
    )
    with store.snapshot() as connection:
        return [example_of(row) for row in connection.execute(query)]


def examples_of(store: Store, hashes: Sequence[bytes]) -> list[Example]:
    """The examples of some content hashes; those that there are."""
    query = select_examples().where(finetuning_examples.c.content_hash.in_(hashes))
    with store.snapshot() as connection:
        return [example_of(row) for row in connection.execute(query)]


def pending_changes(store: Store, count: int) -> PendingChanges:
    """The oldest changes behind the index's back, at most so many."""
    query = sa.select(index_changes).order_by(index_changes.c.id).limit(count)
    with store.snapshot() as connection:
        rows = connection.execute(query).all()
    hashes = dict.fromkeys(bytes(row.content_hash) for row in rows)
    return PendingChanges(tuple(row.id for row in rows), tuple(hashes))


def count_changes(store: Store) -> int:
    """How many changes wait to be made in the index."""
    query = sa.select(sa.func.count()).select_from(index_changes)
    with store.snapshot() as connection:
        return int(connection.execute(query).scalar_one())


def drop_changes(store: Store, changes: PendingChanges) -> None:
    """Forget changes that were made in the index."""
    with store.change() as connection:
        connection.execute(
            sa.delete(index_changes).where(index_changes.c.id.in_(changes.ids))
        )


def add_changes(store: Store, hashes: Sequence[bytes]) -> None:
    """Have examples looked at again that may be in the index without a commit."""
    if hashes:
        with store.change() as connection:
            connection.execute(
                sa.insert(index_changes), [{"content_hash": each} for each in hashes]
            )


def index_identity(store: Store) -> IndexIdentity | None:
    """The index that the checkpoints speak of; None before there is one."""
    query = sa.select(*(identities.c[name] for name in IndexIdentity.__struct_fields__))
    with store.snapshot() as connection:
        row = connection.execute(query).first()
    return None if row is None else IndexIdentity(*row)


def restart_index(store: Store, identity: IndexIdentity) -> None:
    """Let the checkpoints speak of a new, empty index: everything is to be indexed."""
    with store.change() as connection:
        _forget_index(connection)
        connection.execute(
            sa.insert(identities).values(
                id=1, **msgspec.structs.asdict(identity), built_at=utc_now()
            )
        )


def forget_index(store: Store) -> None:
    """Let the checkpoints speak of no index: the next run makes it anew."""
    with store.change() as connection:
        _forget_index(connection)


def _forget_index(connection: sa.Connection) -> None:
    connection.execute(sa.delete(identities))
    connection.execute(sa.delete(index_changes))
    begun = connection.execute(
        sa.select(partitions.c.partition_key)
        .join(checkpoints, checkpoints.c.partition_id == partitions.c.id)
        .where(checkpoints.c.stage == INDEX_STAGE)
    ).scalars()
    for partition in list(begun):
        StagePlace(connection, INDEX_STAGE, partition).follow(None, dry_run=False)


def is_passed_by() -> sa.ColumnElement[bool]:
    """Whether the index stage has come past a row of `finetuning_examples`."""
    reached = (
        sa.union_all(
            *(
                sa.select(
                    table.c.partition_id, table.c.generation, table.c.offset
                ).where(table.c.stage == INDEX_STAGE)
                for table in (checkpoints, generation_positions)
            )
        )
        .subquery()
        .alias("reached")
    )
    table = finetuning_examples
    return sa.exists().where(
        reached.c.partition_id == table.c.partition_id,
        reached.c.generation == table.c.generation,
        reached.c.offset > table.c.offset,
    )


def example_places(store: Store) -> Iterator[ExamplePlace]:
    """All examples by content hash, each with whether the index must have it."""
    table = finetuning_examples
    waits = sa.exists().where(index_changes.c.content_hash == table.c.content_hash)
    query = (
        sa.select(
            table.c.content_hash,
            partitions.c.partition_key,
            table.c.generation,
            table.c.offset,
            table.c.ordinal,
            sa.and_(is_passed_by(), sa.not_(waits)).label("is_due"),
        )
        .join(partitions, partitions.c.id == table.c.partition_id)
        .where(sa.not_(table.c.is_duplicate))
        .order_by(table.c.content_hash)
        .execution_options(yield_per=ROWS_PER_FETCH)
    )
    with store.snapshot() as connection, connection.execute(query) as result:
        for row in result:
            yield ExamplePlace(
                content_hash=bytes(row[0]),
                partition=row[1],
                generation=row[2],
                offset=row[3],
                ordinal=row[4],
                is_due=bool(row[5]),
            )
