"""The checkpoint history: a step for each commit, in the order of the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.model import Checkpoint, Counters, Fingerprint
from learning_pipeline.store.codec import decode_counters, encode_counters
from learning_pipeline.store.session_connection import Claim, SessionConnection

if TYPE_CHECKING:
    import sqlalchemy as sa

_NO_FINGERPRINT = Fingerprint(0, b"", 0, b"")


class HistoryWriter(SessionConnection):
    """Writes the steps that a rewind can go back to, within a transaction."""

    def __init__(
        self, engine: sa.Engine, *, history_count: int, **connection: Any
    ) -> None:
        """Keep `history_count` steps of each stage and partition."""
        super().__init__(engine, **connection)
        self._history_count = history_count

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
