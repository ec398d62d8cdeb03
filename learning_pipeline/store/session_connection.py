"""A session's connection: one transaction at a time, and on after it was cut."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import msgspec
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from learning_pipeline.model import Checkpoint
from learning_pipeline.store import in_doubt, moved_file
from learning_pipeline.store.codec import checkpoint_values
from learning_pipeline.store.log_mover import LogMover
from learning_pipeline.store.statements import Statements, compile_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa


class Claim(msgspec.Struct, frozen=True):
    """A run's right to move one checkpoint, until a newer claim is made.

    Attributes:
        partition_id: The partition's number in the database.
        fence: The fence token; commits that carry an older one are refused.
        checkpoint: Where the stage stands now.
    """

    partition_id: int
    fence: int
    checkpoint: Checkpoint


class SessionConnection:
    """Transactions of one run on one stage; a commit is a compare-and-swap."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        stage: str,
        run_id: str,
        clock: Callable[[], str],
    ) -> None:
        """Prepare the statements; `_connect` makes the connection."""
        self._stage = stage
        self._run_id = run_id
        self._clock = clock
        self._engine = engine
        self._dialect = engine.dialect.name
        self._url = engine.url.render_as_string(hide_password=False)
        self._sql: Statements = compile_statements(named_dialect(engine))

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back; an open transaction is rolled back."""
        self._log_mover.close()
        with contextlib.suppress(Exception):
            if in_doubt.is_closed(self._connection):
                self._connection.invalidate()
            else:
                self._connection.close()

    def has_lost_connection(self, *, is_failing: bool) -> bool:
        """Whether the connection is of no use any more; see `Reconnectable`."""
        return in_doubt.is_closed(self._connection) or (
            is_failing and moved_file.have_moved(self._connection.info)
        )

    def connect_again(self) -> None:
        """Give the connection up for a new one.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        self._log_mover.close()
        # First: the last to close a log that has lost its name moves it into the
        # database, so that nothing of it is lost.
        if self._connection.is_valid:
            self._connection.invalidate()
        self._engine.dispose()
        self._connect(in_doubt.raw_connection_again(self._engine))

    def _connect(self, connection: Any) -> None:
        self._connection: Any = connection
        self._cursor: Any = connection.cursor()
        self._log_mover = LogMover(self._engine, connection)

    @contextlib.contextmanager
    def _transaction(
        self, claim: Claim | None = None, after: Checkpoint | None = None
    ) -> Iterator[None]:
        """One transaction; from `claim` to `after`, if it can be in doubt."""
        is_sent = False
        try:
            if self._dialect == "sqlite":
                self._cursor.execute("BEGIN IMMEDIATE")
                moved_file.refuse_moved(self._connection.info)
            yield
            is_sent = True
            # Inside: a COMMIT that fails, on a full disk, leaves SQLite's open.
            self._connection.commit()
        except BaseException as error:
            # The first error is the one to show, also when the connection is gone.
            with contextlib.suppress(Exception):
                self._connection.rollback()
            if not (is_sent and claim and after) or not in_doubt.was_committed(
                self._engine, claim, after, error
            ):
                raise

    def _execute(self, statement: str, /, **parameters: object) -> None:
        self._cursor.execute(getattr(self._sql, statement), parameters)

    def _from(self, claim: Claim) -> dict[str, Any]:
        return {
            "at_stage": self._stage,
            "at_partition_id": claim.partition_id,
            "from_fence": claim.fence,
            "from_generation": claim.checkpoint.generation,
            "from_offset": claim.checkpoint.offset,
            "from_sequence": claim.checkpoint.sequence,
        }

    def _move(self, statement: str, claim: Claim, after: Checkpoint) -> None:
        parameters = checkpoint_values(after)
        if statement == "restart_checkpoint":
            parameters |= {
                "generation": after.generation,
                "synced_offset": after.synced_offset,
                "seen_signature": after.seen_signature,
            }
        self._execute(statement, **parameters, **self._from(claim))
        self._require_moved(claim)

    def _require_moved(self, claim: Claim) -> None:
        if self._cursor.rowcount == 1:
            return
        stored = in_doubt.position(self._engine, claim)
        raise in_doubt.refused(stored, claim, run_id=self._run_id)


def named_dialect(engine: sa.Engine) -> sa.engine.Dialect:
    """The dialect whose statements take a dict of named parameters."""
    # Both drivers take one, SQLite's only in this style.
    if engine.dialect.name != "sqlite":
        return engine.dialect
    return SQLiteDialect_pysqlite(paramstyle="named")
