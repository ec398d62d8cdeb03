"""THE commit: rows, counters, history and checkpoint of a batch, in one transaction.

A `StageSession` is one run's hold on one stage. It claims partitions, commits their
batches and makes the last commit durable. Everything here is atomic: a kill between
any two statements leaves the state before the transaction.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import msgspec
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from learning_pipeline.errors import FencedError
from learning_pipeline.model import BatchOutput, Checkpoint, Counters, Fingerprint
from learning_pipeline.steps import reached
from learning_pipeline.store.codec import (
    checkpoint_from_row,
    checkpoint_values,
    encode_counters,
    utc_now,
)
from learning_pipeline.store.engine import SYNC_THIS_TRANSACTION, synced_commits
from learning_pipeline.store.failures import explained
from learning_pipeline.store.log_mover import LogMover
from learning_pipeline.store.schema import checkpoints
from learning_pipeline.store.stage_tables import ensure_stage, row_writer
from learning_pipeline.store.statements import Statements, compile_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy as sa

MAX_KINDS = 256
"""Kinds counted one by one per stage and partition; the rest share `OTHER_KINDS`."""

OTHER_KINDS = "(other kinds)"

_CHECKPOINT_COLUMNS = tuple(column.name for column in checkpoints.c)
_NO_FINGERPRINT = Fingerprint(0, b"", 0, b"")


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


class GenerationIdentity(msgspec.Struct, frozen=True):
    """The newest generation known of a partition, by whichever stage.

    Attributes:
        generation: Its number.
        prefix_length_bytes: How many first bytes are hashed.
        prefix_digest: BLAKE2b-128 of them.
    """

    generation: int
    prefix_length_bytes: int
    prefix_digest: bytes


class StageSession:
    """One run's writes to one stage, over one database connection.

    Not safe for use by several threads. Use it as a context manager.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, named at each call
        self,
        engine: sa.Engine,
        *,
        stage: str,
        table: sa.Table,
        run_id: str,
        history_count: int,
        clock: Callable[[], str] = utc_now,
    ) -> None:
        """Connect; `table` is created if it is a user's own and not there yet.

        Args:
            engine: From `create_engine`, of a prepared database.
            stage: The stage's name.
            table: Where its rows go; begins with the columns `ROW_KEY`.
            run_id: Recorded with each commit.
            history_count: How many commits the history keeps.
            clock: Gives the time to record.

        Raises:
            StageTableError: The table has other columns, or is another stage's.
            StoreUnavailableError: The database cannot be used.
        """
        self._stage = stage
        self._run_id = run_id
        self._history_count = history_count
        self._clock = clock
        self._dialect = engine.dialect.name
        self._url = engine.url.render_as_string(hide_password=False)
        self._sql: Statements = compile_statements(_named(engine))
        with explained(self._url):
            ensure_stage(engine, stage, table)
            self._write_rows = row_writer(table, engine)
            self._connection: Any = engine.raw_connection()
            self._cursor: Any = self._connection.cursor()
        self._log_mover = LogMover(engine, self._connection)

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back; an open transaction is rolled back."""
        self._log_mover.close()
        with contextlib.suppress(Exception):
            self._connection.close()

    def claim(self, partition: str) -> Claim:
        """Take the partition over from whoever had it, and load its checkpoint.

        Guarantees:
            Of all claims of one stage and partition only the newest can commit.
        """
        reached("claim.before")
        with explained(self._url), self._transaction():
            self._execute("ensure_partition", partition_key=partition)
            self._execute("partition_id", partition_key=partition)
            partition_id = int(self._cursor.fetchone()[0])
            fresh = dict.fromkeys(_CHECKPOINT_COLUMNS)
            fresh |= {
                "stage": self._stage,
                "partition_id": partition_id,
                "generation": 0,
                "offset": 0,
                "counters": "{}",
                "sequence": 0,
                "size_bytes": 0,
                "synced_offset": 0,
                "fence": 1,
                "run_id": self._run_id,
                "updated_at": self._clock(),
            }
            self._execute("claim", **fresh)
            at = {"at_stage": self._stage, "at_partition_id": partition_id}
            self._execute("load", **at)
            row = dict(zip(_CHECKPOINT_COLUMNS, self._cursor.fetchone(), strict=True))
            self._execute("event_counts", **at)
            kinds = {kind: int(count) for kind, count in self._cursor.fetchall()}
        reached("claim.after")
        checkpoint = checkpoint_from_row(row, partition, kinds)
        return Claim(partition_id, int(row["fence"]), checkpoint)

    def latest_generation(self, claim: Claim) -> GenerationIdentity | None:
        """The newest generation that any stage has begun to read."""
        with explained(self._url), self._transaction():
            self._execute("latest_generation", at_partition_id=claim.partition_id)
            row = self._cursor.fetchone()
        return GenerationIdentity(row[0], row[1], bytes(row[2])) if row else None

    def begin_generation(  # noqa: PLR0913 - keyword-only, named at each call
        self,
        claim: Claim,
        *,
        generation: int,
        fingerprint: Fingerprint,
        because: str,
        size_bytes: int,
        lost_bytes: int,
    ) -> Claim:
        """Start reading `generation` at offset 0; earlier generations' rows stay.

        Args:
            claim: This run's claim.
            generation: The number to begin.
            fingerprint: Of the new file; only its prefix is kept.
            because: Why, such as `truncated`.
            size_bytes: The new file's size.
            lost_bytes: How many bytes of the old one, at least, went unread.

        Raises:
            FencedError: A newer claim was made.
        """
        reached("generation.before")
        before = claim.checkpoint
        changed = before.generation != generation
        after = msgspec.structs.replace(
            before,
            generation=generation,
            offset=0,
            fingerprint=None,
            counters=before.counters
            + Counters(
                generation_change_count=1 if changed else 0, lost_bytes=lost_bytes
            ),
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            seen_size_bytes=None,
            seen_mtime_ns=None,
            synced_offset=0,
            run_id=self._run_id,
            updated_at=self._clock(),
        )
        with explained(self._url), self._transaction():
            self._move("restart_checkpoint", claim, after)
            self._execute(
                "add_generation",
                partition_id=claim.partition_id,
                generation=generation,
                prefix_length_bytes=fingerprint.prefix_length_bytes,
                prefix_digest=fingerprint.prefix_digest,
                began_because=because,
                began_at=after.updated_at,
            )
            self._add_history(claim, after, start_offset=0, is_generation_start=True)
        reached("generation.after")
        return Claim(claim.partition_id, claim.fence, after)

    def commit(
        self,
        claim: Claim,
        output: BatchOutput,
        *,
        end_offset: int,
        fingerprint: Fingerprint,
        size_bytes: int,
    ) -> Claim:
        """Commit a batch: its rows and its end offset, together or not at all.

        Args:
            claim: This run's claim, as the last commit returned it.
            output: Rows, dead letters and counts of `[offset, end_offset)`.
            end_offset: The next unread byte afterwards.
            fingerprint: The file's identity at `end_offset`.
            size_bytes: The file's size when it was opened.

        Returns:
            The claim with the checkpoint as committed.

        Raises:
            FencedError: A newer claim was made; nothing was written.
            StoreUnavailableError: The database failed; nothing was written.

        Guarantees:
            Atomic; durable only after `sync` or the next one by any session.
        """
        before = claim.checkpoint
        delta = _limit_kinds(before.counters, output.counters)
        after = Checkpoint(
            stage=before.stage,
            partition=before.partition,
            generation=before.generation,
            offset=end_offset,
            fingerprint=fingerprint,
            counters=before.counters + delta,
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            seen_size_bytes=before.seen_size_bytes,
            seen_mtime_ns=before.seen_mtime_ns,
            synced_offset=before.synced_offset,
            run_id=self._run_id,
            updated_at=self._clock(),
        )
        with explained(self._url), self._transaction():
            reached("commit.begun")
            self._move("move_checkpoint", claim, after)
            self._extend_generation(claim, before.fingerprint, fingerprint)
            self._add_history(
                claim, after, start_offset=before.offset, is_generation_start=False
            )
            reached("commit.checkpoint_written")
            self._write_counts(claim, after.counters, delta)
            reached("commit.counts_written")
            self._write_dead_letters(claim, output, after.updated_at)
            self._write_rows(
                self._cursor, claim.partition_id, before.generation, output.rows
            )
            reached("commit.rows_written")
        self._log_mover.committed(end_offset - before.offset)
        reached("commit.after")
        return Claim(claim.partition_id, claim.fence, after)

    def finish_pass(
        self, claim: Claim, *, seen_size_bytes: int, seen_mtime_ns: int
    ) -> Claim:
        """Record that everything complete of a file of this size has been read.

        Raises:
            FencedError: A newer claim was made.
        """
        reached("finish.before")
        before = claim.checkpoint
        after = msgspec.structs.replace(
            before,
            size_bytes=seen_size_bytes,
            seen_size_bytes=seen_size_bytes,
            seen_mtime_ns=seen_mtime_ns,
        )
        with explained(self._url), self._transaction():
            self._execute(
                "finish_pass",
                **self._from(claim),
                size_bytes=seen_size_bytes,
                seen_size_bytes=seen_size_bytes,
                seen_mtime_ns=seen_mtime_ns,
            )
            self._require_moved(claim)
        reached("finish.after")
        return Claim(claim.partition_id, claim.fence, after)

    def sync(self, claims: Sequence[Claim]) -> None:
        """Put everything committed so far on stable storage, and record that.

        Guarantees:
            Afterwards neither a power cut nor a crash of the machine takes back
            what `claims` stand for. Claims that were fenced meanwhile are left.
        """
        if not claims:
            return
        reached("sync.before")
        now = self._clock()
        moved = [
            {
                "at_stage": self._stage,
                "at_partition_id": claim.partition_id,
                "from_fence": claim.fence,
                "from_generation": claim.checkpoint.generation,
                "from_offset": claim.checkpoint.offset,
                "synced_offset": claim.checkpoint.offset,
                # SQLite drops a write that changes nothing, and its sync with it.
                "updated_at": now,
            }
            for claim in claims
        ]
        with (
            explained(self._url),
            synced_commits(self._dialect, self._cursor),
            self._transaction(),
        ):
            if self._dialect != "sqlite":
                self._cursor.execute(SYNC_THIS_TRANSACTION)
            self._cursor.executemany(self._sql.mark_synced, moved)
        reached("sync.after")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            if self._dialect == "sqlite":
                self._cursor.execute("BEGIN IMMEDIATE")
            yield
            # Inside: a COMMIT that fails, on a full disk, leaves SQLite's open.
            self._connection.commit()
        except BaseException:
            # The first error is the one to show, also when the connection is gone.
            with contextlib.suppress(Exception):
                self._connection.rollback()
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
                "seen_size_bytes": after.seen_size_bytes,
                "seen_mtime_ns": after.seen_mtime_ns,
            }
        self._execute(statement, **parameters, **self._from(claim))
        self._require_moved(claim)

    def _require_moved(self, claim: Claim) -> None:
        if self._cursor.rowcount == 1:
            return
        before = claim.checkpoint
        raise FencedError(
            f"{self._stage} of {before.partition!r} was claimed by another run after "
            f"this one (run {self._run_id}); the other goes on from the last commit, "
            "nothing is lost and nothing to do.",
            stage=self._stage,
            partition=before.partition,
        )

    def _extend_generation(
        self, claim: Claim, before: Fingerprint | None, after: Fingerprint
    ) -> None:
        # Only the first commits of a file make its known prefix longer.
        if before and before.prefix_length_bytes >= after.prefix_length_bytes:
            return
        self._execute(
            "extend_generation",
            at_partition_id=claim.partition_id,
            at_generation=claim.checkpoint.generation,
            longer_than=after.prefix_length_bytes,
            prefix_length_bytes=after.prefix_length_bytes,
            prefix_digest=after.prefix_digest,
        )

    def _add_history(
        self,
        claim: Claim,
        after: Checkpoint,
        *,
        start_offset: int,
        is_generation_start: bool,
    ) -> None:
        fingerprint = after.fingerprint or _NO_FINGERPRINT
        self._execute(
            "add_history",
            stage=self._stage,
            partition_id=claim.partition_id,
            sequence=after.sequence,
            generation=after.generation,
            start_offset=start_offset,
            offset=after.offset,
            prefix_length_bytes=fingerprint.prefix_length_bytes,
            prefix_digest=fingerprint.prefix_digest,
            guard_length_bytes=fingerprint.guard_length_bytes,
            guard_digest=fingerprint.guard_digest,
            # With the kinds: a rewind to here restores every count.
            counters=encode_counters(after.counters),
            is_generation_start=is_generation_start,
            run_id=self._run_id,
            committed_at=after.updated_at,
        )
        self._execute(
            "prune_history",
            at_stage=self._stage,
            at_partition_id=claim.partition_id,
            up_to_sequence=after.sequence - self._history_count,
        )

    def _write_counts(self, claim: Claim, total: Counters, delta: Counters) -> None:
        self._cursor.executemany(
            self._sql.set_event_count,
            [
                {
                    "stage": self._stage,
                    "partition_id": claim.partition_id,
                    "kind": kind,
                    "event_count": total.events_by_kind[kind],
                }
                for kind in delta.events_by_kind
            ],
        )

    def _write_dead_letters(
        self, claim: Claim, output: BatchOutput, rejected_at: str
    ) -> None:
        if not output.dead_letters:
            return
        self._cursor.executemany(
            self._sql.add_dead_letter,
            [
                {
                    "stage": self._stage,
                    "partition_id": claim.partition_id,
                    "generation": claim.checkpoint.generation,
                    "start_offset": letter.start_offset,
                    "end_offset": letter.end_offset,
                    "reason": letter.reason,
                    "detail": letter.detail,
                    "raw": letter.raw,
                    "run_id": self._run_id,
                    "rejected_at": rejected_at,
                }
                for letter in output.dead_letters
            ],
        )


def _limit_kinds(total: Counters, delta: Counters) -> Counters:
    """Fold kinds above `MAX_KINDS` into one, and make their names storable.

    Kinds are admitted in the order that they were met in, whatever the batches.
    """
    named = {kind for kind in total.events_by_kind if kind != OTHER_KINDS}
    kinds: dict[str, int] = {}
    for kind, count in delta.events_by_kind.items():
        # Postgres' text holds no NUL, and no database's holds half a character.
        name = kind.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        if name != OTHER_KINDS and name not in named:
            if len(named) < MAX_KINDS - 1:
                named.add(name)
            else:
                name = OTHER_KINDS
        kinds[name] = kinds.get(name, 0) + count
    return msgspec.structs.replace(delta, events_by_kind=kinds)


def _named(engine: sa.Engine) -> sa.engine.Dialect:
    # Both drivers take a dict of named parameters, SQLite's only in this style.
    if engine.dialect.name != "sqlite":
        return engine.dialect
    return SQLiteDialect_pysqlite(paramstyle="named")
