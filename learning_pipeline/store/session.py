"""THE commit: rows, counters, history and checkpoint of a batch, in one transaction.

A `StageSession` is one run's hold on one stage. It claims partitions, commits their
batches and makes the last commit durable. Everything here is atomic: a kill between
any two statements leaves the state before the transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from learning_pipeline.model import (
    BatchOutput,
    Checkpoint,
    Counters,
    Fingerprint,
)
from learning_pipeline.steps import reached
from learning_pipeline.store import in_doubt
from learning_pipeline.store.codec import (
    checkpoint_from_row,
    encode_counters,
    utc_now,
)
from learning_pipeline.store.cross_check import CrossCheck
from learning_pipeline.store.deriving import Derivations
from learning_pipeline.store.engine import SYNC_THIS_TRANSACTION, synced_commits
from learning_pipeline.store.failures import explained
from learning_pipeline.store.in_doubt import repeated_when_cut
from learning_pipeline.store.kinds import limit_kinds
from learning_pipeline.store.retrying import LetterReplacer, Retry
from learning_pipeline.store.schema import checkpoints, patterns
from learning_pipeline.store.session_connection import Claim, named_dialect
from learning_pipeline.store.stage_tables import ensure_stage, row_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from learning_pipeline.store.deriving import Reads

_CHECKPOINT_COLUMNS = tuple(column.name for column in checkpoints.c)


class StageSession(Derivations):
    """One run's writes to one stage, over one database connection.

    Not safe for use by several threads. Use it as a context manager.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, named at each call
        self,
        engine: sa.Engine,
        *,
        stage: str,
        table: sa.Table | None,
        run_id: str,
        history_count: int,
        reads: Reads | None = None,
        clock: Callable[[], str] = utc_now,
    ) -> None:
        """Connect; `table` is created if it is a user's own and not there yet.

        Args:
            engine: From `create_engine`, of a prepared database.
            stage: The stage's name.
            table: Where its rows go; begins with the columns `ROW_KEY`. None for a
                stage that writes elsewhere.
            run_id: Recorded with each commit.
            history_count: How many commits the history keeps.
            reads: The stage that it reads of; None if it reads telemetry.
            clock: Gives the time to record.

        Raises:
            StageTableError: The table has other columns, or is another stage's.
            StoreUnavailableError: The database cannot be used.
        """
        super().__init__(
            engine, history_count=history_count, stage=stage, run_id=run_id, clock=clock
        )
        with explained(self._url):
            ensure_stage(engine, stage, table, reads.stage if reads else None)
            self._cross_check = CrossCheck(named_dialect(engine), table)
            self._has_examples = table is patterns
            if table is not None:
                self._write_rows = row_writer(table, engine)
            self._connect(engine.raw_connection())
            if reads is not None:
                self._prepare_deriving(reads)

    @repeated_when_cut
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
            self._cross_check.require_agreement(self._cursor, row, self._url)
            self._execute("event_counts", **at)
            kinds = {kind: int(count) for kind, count in self._cursor.fetchall()}
            checkpoint = checkpoint_from_row(row, partition, kinds)
        reached("claim.after")
        return Claim(partition_id, int(row["fence"]), checkpoint)

    @repeated_when_cut
    def commit(  # noqa: PLR0913 - keyword-only, named at each call
        self,
        claim: Claim,
        output: BatchOutput,
        *,
        end_offset: int,
        fingerprint: Fingerprint,
        size_bytes: int,
        landmarks: bytes = b"",
        is_late: bool = False,
    ) -> Claim:
        """Commit a batch: its rows and its end offset, together or not at all.

        Args:
            claim: This run's claim, as the last commit returned it.
            output: Rows, dead letters and counts of `[offset, end_offset)`.
            end_offset: The next unread byte afterwards.
            fingerprint: The file's identity at `end_offset`.
            size_bytes: The file's size when it was opened.
            landmarks: The generation's up to `end_offset`, if there are new ones.
            is_late: Whether later generations were begun before.

        Returns:
            The claim with the checkpoint as committed.

        Raises:
            FencedError: A newer claim was made; nothing was written.
            StoreUnavailableError: The database failed; nothing was written.

        Guarantees:
            Atomic; durable only after `sync` or the next one by any session.
        """
        before = claim.checkpoint
        delta = limit_kinds(before.counters, output.counters)
        after = Checkpoint(
            stage=before.stage,
            partition=before.partition,
            generation=before.generation,
            offset=end_offset,
            fingerprint=fingerprint,
            counters=before.counters + delta,
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            seen_signature=before.seen_signature,
            synced_offset=before.synced_offset,
            run_id=self._run_id,
            updated_at=self._clock(),
        )
        with explained(self._url), self._transaction(claim, after):
            reached("commit.begun")
            self._move("move_checkpoint", claim, after)
            self._extend_generation(claim, before.fingerprint, fingerprint, landmarks)
            if is_late:
                self._add_to_later_steps(claim, delta)
            self._add_history(
                claim,
                after,
                start_offset=before.offset,
                is_generation_start=False,
                is_late=is_late,
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

    @repeated_when_cut
    def retry(self, claim: Claim, generation: int, retries: Sequence[Retry]) -> Claim:
        """Put what records give now in place of their dead letters, all or nothing.

        Args:
            claim: This run's claim.
            generation: The one that they all are of.
            retries: Dead letters, and what their records give now.

        Returns:
            The claim with the counts as they are then.

        Raises:
            FencedError: A newer claim was made; nothing was written.

        Guarantees:
            Each letter is replaced at most once: it is removed in the transaction
            that adds its rows, and only as it was found.
        """
        replacer = LetterReplacer(named_dialect(self._engine))
        reached("retry.before")
        with explained(self._url), self._transaction():
            replaced = replacer.replace(
                self._cursor,
                retries,
                stage=self._stage,
                partition_id=claim.partition_id,
                run_id=self._run_id,
                now=self._clock(),
            )
            stored = msgspec.structs.replace(replaced.counters, events_by_kind={})
            self._execute(
                "put_counters",
                **self._from(claim),
                counters=encode_counters(stored),
                size_bytes=claim.checkpoint.size_bytes,
            )
            self._require_moved(claim)
            self._write_rows(
                self._cursor, claim.partition_id, generation, replaced.rows
            )
            if self._has_examples:
                offsets = {row[0] for row in replaced.rows}
                self._derive_late(claim, generation, sorted(offsets))
            reached("retry.rows_written")
        reached("retry.after")
        after = msgspec.structs.replace(claim.checkpoint, counters=replaced.counters)
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
    def finish_pass(
        self, claim: Claim, *, seen_signature: str, size_bytes: int
    ) -> Claim:
        """Record that everything complete of files of this signature has been read.

        Raises:
            FencedError: A newer claim was made.
        """
        reached("finish.before")
        before = claim.checkpoint
        after = msgspec.structs.replace(
            before, size_bytes=size_bytes, seen_signature=seen_signature
        )
        with explained(self._url), self._transaction():
            self._execute(
                "finish_pass",
                **self._from(claim),
                size_bytes=size_bytes,
                seen_signature=seen_signature,
            )
            self._require_moved(claim)
        reached("finish.after")
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
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
            marked_count = self._cursor.rowcount
            left = [
                {"at_stage": self._stage, "at_partition_id": claim.partition_id}
                for claim in claims
                if claim.checkpoint.counters.generation_change_count
            ]
            if left:
                self._cursor.executemany(self._sql.mark_positions_synced, left)
        if marked_count < len(claims):
            with explained(self._url):
                in_doubt.refuse_fallen_back(self._engine, claims, run_id=self._run_id)
        reached("sync.after")

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
                    "kind": letter.kind,
                }
                for letter in output.dead_letters
            ],
        )
