"""Dead letters that are processed again: removed, and their rows added, in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.model import BatchOutput, Counters, DeadLetter, Row
from learning_pipeline.steps import reached
from learning_pipeline.store.codec import decode_counters, encode_counters
from learning_pipeline.store.kinds import limit_kinds, without_zeros
from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    dead_letters,
    event_counts,
    partitions,
)
from learning_pipeline.store.statements import insert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Dialect


class StoredLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter as it is stored, without the record.

    Attributes:
        generation: Which physical file.
        start_offset: First byte of the record.
        end_offset: The byte after it.
        reason: Why it was rejected.
        kind: Under what it was counted as an event; None when it was not.
        run_id: The run that rejected it.
        rejected_at: When, ISO 8601 in UTC.
    """

    generation: int
    start_offset: int
    end_offset: int
    reason: str
    kind: str | None
    run_id: str
    rejected_at: str


class Retry(msgspec.Struct, frozen=True):
    """One dead letter, and what its record gives now.

    Attributes:
        letter: As it was found.
        contribution: What it had added to the counts.
        output: What a stage makes of its record now: rows, or a dead letter again.
    """

    letter: StoredLetter
    contribution: Counters
    output: BatchOutput


class Replaced(msgspec.Struct, frozen=True):
    """What a transaction of retries comes to.

    Attributes:
        counters: The partition's afterwards, with its kinds.
        rows: The rows to add.
    """

    counters: Counters
    rows: Sequence[Row]


def select_letters(
    connection: sa.Connection, *, stage: str, partition: str, reason: str | None
) -> list[StoredLetter]:
    """The dead letters of a stage and partition, by generation and offset."""
    letters = dead_letters.c
    query = (
        sa.select(*(letters[name] for name in StoredLetter.__struct_fields__))
        .join(partitions, partitions.c.id == letters.partition_id)
        .where(letters.stage == stage, partitions.c.partition_key == partition)
        .order_by(letters.generation, letters.start_offset)
    )
    if reason is not None:
        query = query.where(letters.reason == reason)
    return [StoredLetter(**row) for row in connection.execute(query).mappings()]


def select_partitions(
    connection: sa.Connection, *, stage: str, reason: str | None
) -> list[str]:
    """The keys of partitions that a stage has dead letters of."""
    where = [dead_letters.c.stage == stage]
    if reason is not None:
        where.append(dead_letters.c.reason == reason)
    there = sa.select(dead_letters.c.partition_id).where(*where).distinct()
    query = sa.select(partitions.c.partition_key).where(partitions.c.id.in_(there))
    return sorted(connection.execute(query).scalars())


class LetterReplacer:
    """The statements of a session's retries, compiled once."""

    def __init__(self, dialect: Dialect) -> None:
        """Compile them for `dialect`."""

        def text(statement: sa.sql.ClauseElement, *columns: str) -> str:
            return str(
                statement.compile(dialect=dialect, column_keys=list(columns) or None)
            )

        # As it was found: a letter that was rejected anew is another one.
        unchanged = sa.and_(
            *_at(dead_letters),
            *(
                dead_letters.c[name] == sa.bindparam(f"at_{name}")
                for name in StoredLetter.__struct_fields__
                if name != "kind"
            ),
        )
        self._remove = text(sa.delete(dead_letters).where(unchanged))
        self._renew = text(
            sa.update(dead_letters).where(unchanged),
            *("reason", "detail", "raw", "kind", "run_id", "rejected_at"),
        )
        self._steps = text(
            sa.select(
                checkpoint_history.c.sequence,
                checkpoint_history.c.generation,
                checkpoint_history.c.offset,
                checkpoint_history.c.counters,
            ).where(*_at(checkpoint_history))
        )
        self._put_step = text(
            sa.update(checkpoint_history).where(
                *_at(checkpoint_history),
                checkpoint_history.c.sequence == sa.bindparam("at_sequence"),
            ),
            "counters",
        )
        self._counters = text(
            sa.select(checkpoints.c.counters).where(*_at(checkpoints))
        )
        self._kinds = text(
            sa.select(event_counts.c.kind, event_counts.c.event_count).where(
                *_at(event_counts)
            )
        )
        count = insert(event_counts, dialect)
        self._put_kind = text(
            count.on_conflict_do_update(
                index_elements=["stage", "partition_id", "kind"],
                set_={"event_count": count.excluded.event_count},
            ),
            *("stage", "partition_id", "kind", "event_count"),
        )
        self._drop_kind = text(
            sa.delete(event_counts).where(
                *_at(event_counts), event_counts.c.kind == sa.bindparam("at_kind")
            )
        )

    def replace(  # noqa: PLR0913 - keyword-only, named at each call
        self,
        cursor: Any,
        retries: Sequence[Retry],
        *,
        stage: str,
        partition_id: int,
        run_id: str,
        now: str,
    ) -> Replaced:
        """Remove or renew letters, and change the counts by what that makes.

        Args:
            cursor: The driver's own, inside the transaction that adds the rows.
            retries: Of one generation. One whose letter is not as it was found is
                left out: it was retried already.
            stage: The asset.
            partition_id: The partition's number.
            run_id: Recorded with what is rejected again.
            now: The time, recorded likewise.
        """
        at = {"at_stage": stage, "at_partition_id": partition_id}
        done = [
            each
            for each in retries
            if self._take(cursor, each, at, run_id=run_id, now=now)
        ]
        reached("retry.letters_removed")
        cursor.execute(self._kinds, at)
        before = {kind: int(count) for kind, count in cursor.fetchall()}
        cursor.execute(self._counters, at)
        total = msgspec.structs.replace(
            decode_counters(cursor.fetchone()[0]), events_by_kind=before
        )
        for each in done:
            total = _changed(total, each)
        self._put_kinds(cursor, before, total.events_by_kind, stage, partition_id)
        self._put_steps(cursor, done, at)
        reached("retry.counted")
        return Replaced(total, [row for each in done for row in each.output.rows])

    def _take(
        self, cursor: Any, retry: Retry, at: dict[str, Any], *, run_id: str, now: str
    ) -> bool:
        found = {
            f"at_{name}": value
            for name, value in msgspec.structs.asdict(retry.letter).items()
            if name != "kind"
        }
        if not retry.output.dead_letters:
            cursor.execute(self._remove, at | found)
        else:
            (again,) = retry.output.dead_letters
            cursor.execute(
                self._renew, at | found | _renewed(again, run_id=run_id, now=now)
            )
        return bool(cursor.rowcount == 1)

    def _put_kinds(
        self,
        cursor: Any,
        before: Mapping[str, int],
        after: Mapping[str, int],
        stage: str,
        partition_id: int,
    ) -> None:
        for kind in before.keys() | after.keys():
            if kind not in after:
                cursor.execute(
                    self._drop_kind,
                    {
                        "at_stage": stage,
                        "at_partition_id": partition_id,
                        "at_kind": kind,
                    },
                )
            elif after[kind] != before.get(kind):
                cursor.execute(
                    self._put_kind,
                    {
                        "stage": stage,
                        "partition_id": partition_id,
                        "kind": kind,
                        "event_count": after[kind],
                    },
                )

    def _put_steps(
        self, cursor: Any, done: Sequence[Retry], at: Mapping[str, Any]
    ) -> None:
        # A rewind to a step behind a letter keeps what is made of it now.
        cursor.execute(self._steps, at)
        for sequence, generation, offset, text in cursor.fetchall():
            counters = before = decode_counters(text)
            for each in done:
                letter = each.letter
                if (letter.generation, letter.end_offset) <= (generation, offset):
                    counters = _changed(counters, each)
            if counters != before:
                cursor.execute(
                    self._put_step,
                    {
                        **at,
                        "at_sequence": sequence,
                        "counters": encode_counters(counters),
                    },
                )


def _at(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.stage == sa.bindparam("at_stage"),
        table.c.partition_id == sa.bindparam("at_partition_id"),
    )


def _renewed(letter: DeadLetter, *, run_id: str, now: str) -> dict[str, Any]:
    return {
        "reason": letter.reason,
        "detail": letter.detail,
        "raw": letter.raw,
        "kind": letter.kind,
        "run_id": run_id,
        "rejected_at": now,
    }


def _changed(total: Counters, retry: Retry) -> Counters:
    """Counts with what a record gives now in place of what its letter gave."""
    difference = retry.output.counters + _negative(retry.contribution)
    counters = total + limit_kinds(
        total,
        msgspec.structs.replace(
            difference,
            events_by_kind={
                kind: count
                for kind, count in difference.events_by_kind.items()
                if count
            },
        ),
    )
    return msgspec.structs.replace(
        counters,
        events_by_kind=without_zeros(counters.events_by_kind),
        redactions_by_kind=without_zeros(counters.redactions_by_kind),
    )


def _negative(counters: Counters) -> Counters:
    fields: dict[str, Any] = msgspec.structs.asdict(counters)
    for name, value in fields.items():
        fields[name] = (
            {key: -count for key, count in value.items()}
            if isinstance(value, dict)
            else -value
        )
    return Counters(**fields)
