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

from learning_pipeline.errors import GenerationTakenError
from learning_pipeline.model import (
    BatchOutput,
    Checkpoint,
    Counters,
    Fingerprint,
    Generation,
    Position,
    Sighting,
)
from learning_pipeline.steps import reached
from learning_pipeline.store import in_doubt, moved_file
from learning_pipeline.store.codec import (
    checkpoint_from_row,
    checkpoint_values,
    decode_counters,
    encode_counters,
    fingerprint_from_row,
    utc_now,
)
from learning_pipeline.store.cross_check import CrossCheck
from learning_pipeline.store.engine import SYNC_THIS_TRANSACTION, synced_commits
from learning_pipeline.store.failures import explained
from learning_pipeline.store.in_doubt import repeated_when_cut
from learning_pipeline.store.kinds import limit_kinds
from learning_pipeline.store.log_mover import LogMover
from learning_pipeline.store.retrying import LetterReplacer, Retry
from learning_pipeline.store.schema import checkpoints
from learning_pipeline.store.stage_tables import ensure_stage, row_writer
from learning_pipeline.store.statements import (
    POSITION_COLUMNS,
    Statements,
    compile_statements,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import sqlalchemy as sa

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
        self._engine = engine
        self._dialect = engine.dialect.name
        self._url = engine.url.render_as_string(hide_password=False)
        self._sql: Statements = compile_statements(_named(engine))
        with explained(self._url):
            ensure_stage(engine, stage, table)
            self._cross_check = CrossCheck(_named(engine), table)
            self._write_rows = row_writer(table, engine)
            self._connect(engine.raw_connection())

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
    def known_partitions(self, keys: Collection[str]) -> list[str]:
        """Those of some partition keys that any stage has begun to read."""
        with explained(self._url), self._transaction():
            found = []
            for key in keys:
                self._execute("is_known", at_partition_key=key)
                if self._cursor.fetchone() is not None:
                    found.append(key)
        return found

    @repeated_when_cut
    def known_generations(self, claim: Claim) -> list[Generation]:
        """All generations of a partition that any stage has begun, oldest first."""
        with explained(self._url), self._transaction():
            self._execute(
                "known_generations",
                at_stage=self._stage,
                at_partition_id=claim.partition_id,
            )
            return [
                Generation(
                    number=row[0],
                    prefix_length_bytes=row[1],
                    prefix_digest=bytes(row[2]),
                    landmarks=bytes(row[3] or b""),
                    position=_position(row[4:]) if row[4] is not None else None,
                )
                for row in self._cursor.fetchall()
            ]

    @repeated_when_cut
    def sightings(self, claim: Claim) -> list[Sighting]:
        """What is remembered of the physical files of a partition."""
        with explained(self._url), self._transaction():
            self._execute("sightings", at_partition_id=claim.partition_id)
            rows = self._cursor.fetchall()
        names = Sighting.__struct_fields__
        return [Sighting(**dict(zip(names, row[1:], strict=True))) for row in rows]

    @repeated_when_cut
    def note_sightings(
        self, claim: Claim, sightings: Sequence[Sighting], *, there: Sequence[str]
    ) -> None:
        """Remember which generations physical files were found to be.

        Args:
            claim: This run's claim.
            sightings: What was found out.
            there: The file keys that the partition has now; others are forgotten.
        """
        with explained(self._url), self._transaction():
            self._execute("sightings", at_partition_id=claim.partition_id)
            for row in self._cursor.fetchall():
                if row[1] not in there:
                    self._execute(
                        "drop_sighting",
                        at_partition_id=claim.partition_id,
                        at_file_key=row[1],
                    )
            self._cursor.executemany(
                self._sql.put_sighting,
                [
                    {"partition_id": claim.partition_id, **msgspec.structs.asdict(each)}
                    for each in sightings
                ],
            )

    @repeated_when_cut
    def begin_generation(
        self,
        claim: Claim,
        generation: Generation,
        *,
        because: str,
        size_bytes: int,
    ) -> Claim:
        """Start reading a generation that no stage has read yet, at offset 0.

        Args:
            claim: This run's claim.
            generation: Its number, the next one, and its identity.
            because: Why, such as `truncated`.
            size_bytes: Its file's size.

        Returns:
            The claim, standing in it. Where the one before was left is kept.

        Raises:
            GenerationTakenError: Another stage has just begun one of this number.
            FencedError: A newer claim was made.
        """
        is_first = claim.checkpoint.sequence == 0
        after = self._entered(claim, generation.number, size_bytes, is_new=not is_first)
        reached("generation.before")
        with explained(self._url), self._transaction(claim, after):
            self._move("restart_checkpoint", claim, after)
            self._execute(
                "add_generation",
                partition_id=claim.partition_id,
                generation=generation.number,
                prefix_length_bytes=generation.prefix_length_bytes,
                prefix_digest=generation.prefix_digest,
                landmarks=generation.landmarks,
                began_because=because,
                began_at=after.updated_at,
            )
            if self._cursor.rowcount != 1:
                raise GenerationTakenError(partition=after.partition)
            self._leave(claim)
            self._add_history(claim, after, start_offset=0, is_generation_start=True)
        reached("generation.after")
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
    def enter_generation(
        self, claim: Claim, generation: Generation, *, size_bytes: int
    ) -> Claim:
        """Go on in a known generation, where this stage left it, or at its start.

        What was counted as lost with its file is counted no longer.

        Raises:
            FencedError: A newer claim was made.
        """
        position = generation.position
        after = self._entered(
            claim,
            generation.number,
            size_bytes,
            is_new=position is None and claim.checkpoint.sequence > 0,
        )
        if position is not None:
            after = msgspec.structs.replace(
                after,
                offset=position.offset,
                fingerprint=position.fingerprint,
                synced_offset=position.synced_offset,
                counters=after.counters + Counters(lost_bytes=-position.lost_bytes),
            )
        reached("generation.before")
        with explained(self._url), self._transaction(claim, after):
            self._move("restart_checkpoint", claim, after)
            self._leave(claim)
            self._execute(
                "drop_position",
                at_stage=self._stage,
                at_partition_id=claim.partition_id,
                at_generation=generation.number,
            )
            self._add_history(
                claim,
                after,
                start_offset=after.offset,
                is_generation_start=after.offset == 0,
                is_late=True,
            )
        reached("generation.after")
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
    def count_lost(
        self,
        claim: Claim,
        lost_bytes: Mapping[int, int],
        *,
        cut_off_bytes: int = 0,
        size_bytes: int | None = None,
    ) -> Claim:
        """Set how many bytes, at least, are lost with the files of some generations.

        Args:
            claim: This run's claim.
            lost_bytes: By generation; 0 where the file was found again. Others keep
                what was counted for them.
            cut_off_bytes: Unread bytes that the present file has lost for good.
            size_bytes: The present file's size, if it was cut off.

        Raises:
            FencedError: A newer claim was made.
        """
        before = claim.checkpoint
        at = {"at_stage": self._stage, "at_partition_id": claim.partition_id}
        counters = before.counters + Counters(lost_bytes=cut_off_bytes)
        size_bytes = before.size_bytes if size_bytes is None else size_bytes
        with explained(self._url), self._transaction():
            for generation, count in lost_bytes.items():
                self._execute("load_position", **at, at_generation=generation)
                row = self._cursor.fetchone()
                if row is None:
                    self._leave(claim)
                counted = row[-1] if row else 0
                self._execute(
                    "put_lost_bytes", **at, at_generation=generation, lost_bytes=count
                )
                counters += Counters(lost_bytes=count - counted)
            stored = msgspec.structs.replace(counters, events_by_kind={})
            self._execute(
                "put_counters",
                **self._from(claim),
                counters=encode_counters(stored),
                size_bytes=size_bytes,
            )
            self._require_moved(claim)
        after = msgspec.structs.replace(
            before, counters=counters, size_bytes=size_bytes
        )
        return Claim(claim.partition_id, claim.fence, after)

    def _entered(
        self, claim: Claim, generation: int, size_bytes: int, *, is_new: bool
    ) -> Checkpoint:
        before = claim.checkpoint
        return msgspec.structs.replace(
            before,
            generation=generation,
            offset=0,
            fingerprint=None,
            counters=before.counters
            + Counters(generation_change_count=1 if is_new else 0),
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            seen_signature=None,
            synced_offset=0,
            run_id=self._run_id,
            updated_at=self._clock(),
        )

    def _leave(self, claim: Claim) -> None:
        """Keep where the stage stands in the generation that `claim` stands in."""
        before = claim.checkpoint
        if before.sequence == 0:
            return
        fingerprint = before.fingerprint
        self._execute(
            "put_position",
            stage=self._stage,
            partition_id=claim.partition_id,
            generation=before.generation,
            offset=before.offset,
            prefix_length_bytes=fingerprint and fingerprint.prefix_length_bytes,
            prefix_digest=fingerprint and fingerprint.prefix_digest,
            guard_length_bytes=fingerprint and fingerprint.guard_length_bytes,
            guard_digest=fingerprint and fingerprint.guard_digest,
            size_bytes=before.size_bytes,
            synced_offset=before.synced_offset,
            lost_bytes=0,
            updated_at=self._clock(),
        )

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
        replacer = LetterReplacer(_named(self._engine))
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

    def _extend_generation(
        self,
        claim: Claim,
        before: Fingerprint | None,
        after: Fingerprint,
        landmarks: bytes,
    ) -> None:
        at = {
            "at_partition_id": claim.partition_id,
            "at_generation": claim.checkpoint.generation,
        }
        # Only the first commits of a file make its known prefix longer, and only a
        # few of the later ones come past a landmark.
        if not before or before.prefix_length_bytes < after.prefix_length_bytes:
            self._execute(
                "extend_prefix",
                **at,
                longer_than=after.prefix_length_bytes,
                prefix_length_bytes=after.prefix_length_bytes,
                prefix_digest=after.prefix_digest,
            )
        if landmarks:
            self._execute(
                "extend_landmarks",
                **at,
                more_than=len(landmarks),
                landmarks=landmarks,
            )

    def _add_to_later_steps(self, claim: Claim, delta: Counters) -> None:
        # What is read late belongs before the generations that were begun since: a
        # rewind to one of their steps keeps it, and its counts.
        at = {"at_stage": self._stage, "at_partition_id": claim.partition_id}
        self._execute("later_steps", **at, at_generation=claim.checkpoint.generation)
        self._cursor.executemany(
            self._sql.put_step_counters,
            [
                {
                    **at,
                    "at_sequence": sequence,
                    "counters": encode_counters(decode_counters(counters) + delta),
                }
                for sequence, counters in self._cursor.fetchall()
            ],
        )

    def _without_later(self, claim: Claim, after: Checkpoint) -> Counters:
        # What later generations gave stands behind this step; all before them is
        # what the first of them began with. What happened to files has no place.
        self._execute(
            "next_generation_start",
            at_stage=self._stage,
            at_partition_id=claim.partition_id,
            at_generation=after.generation,
        )
        row = self._cursor.fetchone()
        if row is None:
            return after.counters
        return msgspec.structs.replace(
            decode_counters(row[0]),
            generation_change_count=after.counters.generation_change_count,
            lost_bytes=after.counters.lost_bytes,
        )

    def _add_history(
        self,
        claim: Claim,
        after: Checkpoint,
        *,
        start_offset: int,
        is_generation_start: bool,
        is_late: bool = False,
    ) -> None:
        fingerprint = after.fingerprint or _NO_FINGERPRINT
        counters = self._without_later(claim, after) if is_late else after.counters
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
            counters=encode_counters(counters),
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
                    "kind": letter.kind,
                }
                for letter in output.dead_letters
            ],
        )


def _position(row: Sequence[Any]) -> Position:
    """A position from its columns, in the order of `POSITION_COLUMNS`."""
    values = dict(zip(POSITION_COLUMNS, row, strict=True))
    return Position(
        offset=values["offset"],
        fingerprint=fingerprint_from_row(values),
        size_bytes=values["size_bytes"],
        synced_offset=values["synced_offset"],
        lost_bytes=values["lost_bytes"],
    )


def _named(engine: sa.Engine) -> sa.engine.Dialect:
    # Both drivers take a dict of named parameters, SQLite's only in this style.
    if engine.dialect.name != "sqlite":
        return engine.dialect
    return SQLiteDialect_pysqlite(paramstyle="named")
