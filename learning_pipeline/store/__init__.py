"""The state database: schema, migrations, THE commit, history; SQLite and Postgres.

Only this package talks SQL.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from learning_pipeline.store import (
    positions,
    queries,
    retention,
    retrying,
    rewinding,
)
from learning_pipeline.store.codec import utc_now
from learning_pipeline.store.deriving import Reads, Upstream
from learning_pipeline.store.diagnosis import contradictions
from learning_pipeline.store.disk_space import free_space_guard
from learning_pipeline.store.engine import (
    SYNC_THIS_TRANSACTION,
    create_engine,
    synced_commits,
)
from learning_pipeline.store.failures import explained
from learning_pipeline.store.index_feed import IndexIdentity
from learning_pipeline.store.opening import prepare
from learning_pipeline.store.positions import PartitionState
from learning_pipeline.store.queries import HistoryStep
from learning_pipeline.store.read_only import read_only_engine, sqlite_path
from learning_pipeline.store.retention import Tombstone, why_not_passed
from learning_pipeline.store.retrying import Retry, StoredLetter
from learning_pipeline.store.rewind_targets import Target, ToOffset, ToStep, ToTime
from learning_pipeline.store.rewinding import Rewound, TakenBack
from learning_pipeline.store.schema import patterns, stage_table
from learning_pipeline.store.session import StageSession
from learning_pipeline.store.session_connection import Claim

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence

    import sqlalchemy as sa

    from learning_pipeline.model import Checkpoint, Sighting

__all__ = [
    "Claim",
    "HistoryStep",
    "IndexIdentity",
    "PartitionState",
    "ReadOnlyStore",
    "Reads",
    "Retry",
    "Rewound",
    "StageSession",
    "Store",
    "StoredLetter",
    "TakenBack",
    "Target",
    "ToOffset",
    "ToStep",
    "ToTime",
    "Tombstone",
    "Upstream",
    "free_space_guard",
    "patterns",
    "stage_table",
    "utc_now",
    "why_not_passed",
]


class Store:
    """The state database of one URL.

    Every method raises `StoreUnavailableError` when the database cannot be used and
    `StateDamagedError` when it is malformed.
    """

    def __init__(self, url: str) -> None:
        """Open, create or migrate the database at `url` (SQLAlchemy's form).

        Raises:
            StateDamagedError: What is there is not a whole state database.
            StateVersionError: A newer version wrote it.
            StoreUnavailableError: It cannot be reached or written.
            ConfigurationError: The URL is none of SQLite or Postgres.
        """
        self._url = url
        self._engine = create_engine(url)
        try:
            prepare(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def contradictions(self) -> list[str]:
        """What contradicts itself in what is stored; a look at every row's key."""
        with self._reading() as connection:
            return list(contradictions(connection))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def session(
        self,
        *,
        stage: str,
        table: sa.Table | None,
        run_id: str,
        history_count: int,
        reads: Reads | None = None,
    ) -> StageSession:
        """A run's session on one stage, to claim and commit with."""
        return StageSession(
            self._engine,
            stage=stage,
            table=table,
            run_id=run_id,
            history_count=history_count,
            reads=reads,
        )

    def checkpoints(
        self,
        *,
        stage: str | None = None,
        keys: Sequence[str] | None = None,
        with_kinds: bool = True,
    ) -> list[Checkpoint]:
        """Checkpoints, ordered by stage and partition key."""
        with self._reading() as connection:
            return queries.select_checkpoints(
                connection, stage=stage, keys=keys, with_kinds=with_kinds
            )

    def history(
        self, *, stage: str | None = None, keys: Sequence[str] | None = None
    ) -> list[HistoryStep]:
        """The kept steps, oldest first in each stage and partition."""
        with self._reading() as connection:
            return queries.select_history(connection, stage=stage, keys=keys)

    def iterate_history(
        self, *, stage: str | None = None, keys: Sequence[str] | None = None
    ) -> Generator[HistoryStep, None, None]:
        """The kept steps, by partition, stage and age, from one snapshot."""
        with self._reading() as connection:
            yield from queries.iterate_history(connection, stage=stage, keys=keys)

    def known_partitions(self, keys: Collection[str] | None = None) -> frozenset[str]:
        """Partition keys that some stage has begun to read, all or of these."""
        with self._reading() as connection:
            return queries.known_partitions(connection, keys)

    def last_commit_by_run(self, run_ids: Sequence[str]) -> dict[str, str]:
        """When each run last claimed or committed anything, ISO 8601 in UTC."""
        with self._reading() as connection:
            return queries.last_commit_by_run(connection, run_ids)

    def iterate_patterns(self) -> Generator[dict[str, Any], None, None]:
        """All patterns in the order of export, from one consistent snapshot."""
        with self._reading() as connection:
            yield from queries.iterate_patterns(connection)

    def iterate_dead_letters(
        self, *, stage: str | None = None, keys: Sequence[str] | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Dead letters by partition, generation and offset, from one snapshot."""
        with self._reading() as connection:
            yield from queries.iterate_dead_letters(connection, stage=stage, keys=keys)

    def dead_letters(
        self, *, stage: str, partition: str, reason: str | None = None
    ) -> list[StoredLetter]:
        """Those of a stage and partition, by generation and offset, without records."""
        with self._reading() as connection:
            return retrying.select_letters(
                connection, stage=stage, partition=partition, reason=reason
            )

    def partitions_with_dead_letters(
        self, *, stage: str, reason: str | None = None
    ) -> list[str]:
        """The partition keys of which a stage has dead letters."""
        with self._reading() as connection:
            return retrying.select_partitions(connection, stage=stage, reason=reason)

    def rewind(
        self, *, stage: str, partition: str, to_offset: int, dry_run: bool = False
    ) -> Rewound:
        """Go back to the newest kept step at or before `to_offset`; see `rewinding`."""
        with self._writing() as connection:
            return rewinding.rewind(
                connection,
                stage=stage,
                partition=partition,
                to=ToOffset(to_offset),
                dry_run=dry_run,
            )

    def rewind_all(
        self,
        *,
        stages: Sequence[str],
        partition: str,
        to: Target,
        dry_run: bool = False,
        known_deleted: Collection[int] = (),
    ) -> list[Rewound]:
        """Rewind stages of a partition in one transaction; see `rewinding`."""
        with self._writing() as connection:
            return rewinding.rewind_all(
                connection,
                stages=stages,
                partition=partition,
                to=to,
                dry_run=dry_run,
                known_deleted=known_deleted,
            )

    def replay(self, *, stage: str, partition: str, replayed_by: str) -> Rewound | None:
        """Rewind to the generation's start, once for each `replayed_by`."""
        with self._writing() as connection:
            return rewinding.replay(
                connection, stage=stage, partition=partition, replayed_by=replayed_by
            )

    def clear(self, *, stage: str, partition: str, dry_run: bool = False) -> Rewound:
        """Forget a stage's work on a partition, in all its generations."""
        with self._writing() as connection:
            return rewinding.clear(
                connection, stage=stage, partition=partition, dry_run=dry_run
            )

    def stages(self) -> list[str]:
        """The stages that have ever read telemetry, by name."""
        with self._reading() as connection:
            return positions.select_stages(connection)

    def partition_states(self, keys: Sequence[str]) -> dict[str, PartitionState]:
        """Where all stages stand in all generations of some partitions."""
        with self._reading() as connection:
            return positions.select_states(connection, keys)

    def tombstones(self, keys: Sequence[str]) -> list[Tombstone]:
        """What `retain` compressed or deleted of some partitions."""
        with self._reading() as connection:
            return retention.select_tombstones(connection, keys)

    def record_tombstone(self, tombstone: Tombstone) -> str | None:
        """Record, durably, that a file goes; or say why not; see `retention`."""
        with self._writing() as connection:
            return retention.record(connection, tombstone)

    def take_back_tombstone(
        self, tombstone: Tombstone, before: Tombstone | None
    ) -> None:
        """Record that a file was kept after all; see `retention`."""
        with self._writing() as connection:
            retention.take_back(connection, tombstone, before)

    def note_sighting(self, partition: str, sighting: Sighting) -> None:
        """Remember which generation a file that was just written holds."""
        with self._writing() as connection:
            retention.put_sighting(connection, partition, sighting)

    def snapshot(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One consistent view, for modules of this package that query it."""
        return self._reading()

    def change(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One synced transaction, for such modules; it is undone when it raises."""
        return self._writing()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        options: dict[str, Any] = {}
        if self._engine.dialect.name == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with (
            explained(self._url),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        # Synced: what an operator took back does not return after a power cut.
        dialect = self._engine.dialect.name
        with (
            explained(self._url),
            self._engine.connect().execution_options(writes=True) as connection,
            synced_commits(dialect, connection.connection.driver_connection),
            connection.begin(),
        ):
            if dialect == "postgresql":
                connection.exec_driver_sql(SYNC_THIS_TRANSACTION)
            yield connection


class ReadOnlyStore(Store):
    """A database as it is: not created, not migrated, not changed; perhaps damaged.

    Only the methods that read work.
    """

    def __init__(self, url: str) -> None:
        """Take the URL; nothing is opened before the first question."""
        self._url = url
        path = sqlite_path(url)
        self._engine = create_engine(url) if path is None else read_only_engine(path)
