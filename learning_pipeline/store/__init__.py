"""The state database: schema, migrations, THE commit, history; SQLite and Postgres.

Only this package talks SQL.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from learning_pipeline.store import queries, rewinding
from learning_pipeline.store.engine import (
    SYNC_THIS_TRANSACTION,
    create_engine,
    synced_commits,
)
from learning_pipeline.store.failures import explained
from learning_pipeline.store.opening import prepare
from learning_pipeline.store.queries import HistoryStep
from learning_pipeline.store.rewinding import Rewound
from learning_pipeline.store.schema import patterns, stage_table
from learning_pipeline.store.session import Claim, GenerationIdentity, StageSession

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import sqlalchemy as sa

    from learning_pipeline.model import Checkpoint

__all__ = [
    "Claim",
    "GenerationIdentity",
    "HistoryStep",
    "Rewound",
    "StageSession",
    "Store",
    "patterns",
    "stage_table",
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
        self, *, stage: str, table: sa.Table, run_id: str, history_count: int
    ) -> StageSession:
        """A run's session on one stage, to claim and commit with."""
        return StageSession(
            self._engine,
            stage=stage,
            table=table,
            run_id=run_id,
            history_count=history_count,
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

    def rewind(
        self, *, stage: str, partition: str, to_offset: int, dry_run: bool = False
    ) -> Rewound:
        """Go back to the newest kept step at or before `to_offset`; see `rewinding`."""
        with self._writing() as connection:
            return rewinding.rewind(
                connection,
                stage=stage,
                partition=partition,
                to_offset=to_offset,
                dry_run=dry_run,
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
