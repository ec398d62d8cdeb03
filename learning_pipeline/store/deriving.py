"""Stages that read what another stage has committed: where that stands, and commits.

Such a stage has a checkpoint per partition like any, whose offset is one in the
telemetry file: up to where it has taken over what its upstream made of it. It never
stands behind its upstream: whatever takes that back, takes this back in the same
transaction (`following`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.model import Checkpoint, Counters
from learning_pipeline.steps import reached
from learning_pipeline.store.deriving_statements import (
    DerivingStatements,
    PassingStatements,
)
from learning_pipeline.store.examples import ExampleStatements
from learning_pipeline.store.failures import explained
from learning_pipeline.store.generation_moves import GenerationMoves
from learning_pipeline.store.in_doubt import repeated_when_cut
from learning_pipeline.store.session_connection import Claim, named_dialect

if TYPE_CHECKING:
    from collections.abc import Sequence


SQLITE_CACHE_KIB = 65_536

Write = Callable[[Any, Claim, int], Counters]
"""Takes a cursor, the claim and the end offset; writes rows and counts them."""


class Upstream(msgspec.Struct, frozen=True):
    """Where the stage that is read from stands in a partition.

    Attributes:
        ends: Up to where it has committed, by generation.
        generation: The generation that it stands in; -1 when it has none.
        size_bytes: The size of the telemetry file that it stands in, when it looked.
        signature: Changes with whatever it commits.
    """

    ends: dict[int, int]
    generation: int
    size_bytes: int
    signature: str


class Reads(msgspec.Struct, frozen=True):
    """What a stage reads that does not read telemetry.

    Attributes:
        stage: The upstream stage.
        table: Its table.
    """

    stage: str
    table: sa.Table


class Derivations(GenerationMoves):
    """The moves of a stage that reads rows of another."""

    def _prepare_deriving(self, reads: Reads) -> None:
        self._reads = reads
        if self._dialect == "sqlite":
            # What a random hash is looked up in should fit, else it is read anew each
            # time: a tenth faster at a million rows.
            self._cursor.execute(f"PRAGMA cache_size=-{SQLITE_CACHE_KIB}")
        self._deriving = DerivingStatements(named_dialect(self._engine), reads.table)

    @repeated_when_cut
    def upstream(self, claim: Claim) -> Upstream:
        """Where the stage that is read from stands now."""
        at = {"at_stage": self._reads.stage, "at_partition_id": claim.partition_id}
        with explained(self._url), self._transaction():
            self._cursor.execute(self._deriving.positions, at)
            ends = {int(number): int(end) for number, end in self._cursor.fetchall()}
            self._cursor.execute(self._deriving.checkpoint, at)
            row = self._cursor.fetchone()
        if row is None or row[3] == 0:
            return Upstream(ends, -1, 0, "")
        ends[row[0]] = row[1]
        return Upstream(ends, row[0], row[2], str(row[3]))

    @repeated_when_cut
    def batch_end(self, claim: Claim, end_offset: int, row_count: int) -> int:
        """Where a batch of about `row_count` rows ends, at most at `end_offset`."""
        offset = claim.checkpoint.offset
        at = _span(claim, end_offset)
        with explained(self._url), self._transaction():
            self._cursor.execute(
                self._deriving.batch_end, {**at, "at_row_count": row_count}
            )
            row = self._cursor.fetchone()
            if row is not None and row[0] == offset:
                # One line gave more rows than that; it is not divided.
                self._cursor.execute(self._deriving.next_offset, at)
                row = self._cursor.fetchone()
        return end_offset if row is None or row[0] is None else int(row[0])

    @repeated_when_cut
    def derive(
        self, claim: Claim, *, end_offset: int, size_bytes: int, write: Write
    ) -> Claim:
        """Commit what was made of upstream rows before `end_offset`, with the offset.

        Args:
            claim: This run's claim.
            end_offset: The offset of the next row to take over, or a later byte.
            size_bytes: The telemetry file's size.
            write: Writes the rows, if there are any, within the transaction.

        Raises:
            FencedError: A newer claim was made, or upstream was taken back; nothing
                was written.
            StoreUnavailableError: The database failed; nothing was written.
        """
        before = claim.checkpoint
        after = msgspec.structs.replace(
            before,
            offset=end_offset,
            fingerprint=None,
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            run_id=self._run_id,
            updated_at=self._clock(),
        )
        with explained(self._url), self._transaction(claim, after):
            reached("derive.begun")
            delta = write(self._cursor, claim, end_offset)
            reached("derive.rows_written")
            after = self._finish_deriving(claim, after, delta)
            reached("derive.checkpoint_written")
        reached("derive.after")
        return Claim(claim.partition_id, claim.fence, after)

    def make_examples(self, cursor: Any, claim: Claim, end_offset: int) -> Counters:
        """Make examples of the patterns before `end_offset`; a `Write`."""
        row_count = self._deriving.examples.add(
            cursor, _span(claim, end_offset), run_id=self._run_id
        )
        return Counters(record_count=row_count, row_count=row_count)

    def count_examples(self, cursor: Any, claim: Claim, end_offset: int) -> Counters:
        """Count examples and duplicates before `end_offset`; a `Write` of nothing.

        Both: which of two files has the duplicate depends on who came first.
        """
        cursor.execute(self._deriving.count, _span(claim, end_offset))
        row_count = int(cursor.fetchone()[0])
        return Counters(record_count=row_count, row_count=row_count)

    def _finish_deriving(
        self, claim: Claim, after: Checkpoint, delta: Counters
    ) -> Checkpoint:
        after = msgspec.structs.replace(after, counters=after.counters + delta)
        self._move("move_checkpoint", claim, after)
        self._add_history(
            claim,
            after,
            start_offset=claim.checkpoint.offset,
            is_generation_start=False,
        )
        return after

    def _derive_late(
        self, claim: Claim, generation: int, offsets: Sequence[int]
    ) -> None:
        """Take over rows that were added where those that read them have passed by.

        They are fenced: what they commit next would be counted without these.
        """
        dialect = named_dialect(self._engine)
        examples, passing = ExampleStatements(dialect), PassingStatements(dialect)
        at = {"at_partition_id": claim.partition_id, "at_generation": generation}
        added = {
            offset: examples.add_late(
                self._cursor, {**at, "at_offset": offset}, run_id=self._run_id
            )
            for offset in offsets
        }
        passing.count(self._cursor, at, added)


def _span(claim: Claim, end_offset: int) -> dict[str, Any]:
    return {
        "at_partition_id": claim.partition_id,
        "at_generation": claim.checkpoint.generation,
        "at_offset": claim.checkpoint.offset,
        "at_end_offset": end_offset,
    }
