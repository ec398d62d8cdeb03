"""What a stage's asset receives and returns: lazy descriptions, nothing is read yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learning_pipeline.errors import StageTableError
from learning_pipeline.extraction import kind_label
from learning_pipeline.extraction.decoding import (
    DEAD_LETTER_RAW_BYTES,
    dead_letter,
    decode_event,
    default_redactor,
    redacted_letter,
)
from learning_pipeline.model import (
    BatchOutput,
    Counters,
    DeadLetter,
    Record,
    RecordBatch,
    Row,
)
from learning_pipeline.reading_process import TransformSpec
from learning_pipeline.store import Store
from learning_pipeline.store.schema import ROW_KEY

if TYPE_CHECKING:
    import sqlalchemy as sa

Transform = Callable[[RecordBatch], BatchOutput]
"""A pure function from the records of one commit to what is committed with them."""

EventFunction = Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]] | None]
"""A pure function from one event to the rows that it gives, by column name."""

Describe = Callable[[Store, str], Mapping[str, Any]]
"""What to tell of a partition, by name, when a run is done with it."""

_STORABLE = (str, int, float, bool, bytes, type(None))
_LARGEST_INTEGER = 2**63


@dataclass(frozen=True)
class StageOutput:
    """A lazy stream of rows: what the checkpoint IO manager drains into commits.

    Attributes:
        partitions: The partition keys to read, each from its own checkpoint.
        transform: What makes rows of records.
        table: Where the rows go.
        describe: Adds to what is told of a partition when it is done.
    """

    partitions: Sequence[str]
    transform: Transform | TransformSpec
    table: sa.Table
    describe: Describe | None = None


@dataclass(frozen=True)
class TelemetryStream:
    """The unread records of some telemetry files, read when they are drained.

    Attributes:
        partitions: The partition keys of this run.
    """

    partitions: Sequence[str]

    def batches(
        self,
        transform: Transform | TransformSpec,
        *,
        into: sa.Table,
        describe: Describe | None = None,
    ) -> StageOutput:
        """Apply `transform` to the records of each commit."""
        return StageOutput(self.partitions, transform, into, describe)

    def rows(self, function: EventFunction, *, into: sa.Table) -> StageOutput:
        """Apply `function` to each event; it gives rows, or nothing.

        Args:
            function: Pure. Takes the event as a dict, returns rows as dicts by
                column name; values are str, int, float, bool, bytes or None.
                What it raises makes a dead letter of the record, not a crash.
                Secrets in strings are redacted before they are stored.
            into: The table, from `stage_table`.
        """
        return self.batches(_PerEvent(function, into), into=into)


class _PerEvent:
    """Lifts a function of one event to a transform of a batch."""

    def __init__(self, function: EventFunction, table: sa.Table) -> None:
        self._function = function
        self._table_name = table.name
        self._columns = tuple(
            column.name for column in table.columns if column.name not in ROW_KEY
        )
        self._known = frozenset(self._columns)
        self._redactor = default_redactor()

    def __call__(self, batch: RecordBatch) -> BatchOutput:
        rows: list[Row] = []
        redactions: dict[str, int] = {}
        letters = [
            redacted_letter(letter, DEAD_LETTER_RAW_BYTES, redactions)
            for letter in batch.rejected
        ]
        kinds: dict[str, int] = {}
        event_count = 0
        for record in batch.records:
            event = decode_event(record)
            if isinstance(event, DeadLetter):
                letters.append(event)
                continue
            event_count += 1
            kind = kind_label(event.get("event") or event.get("event_type"))
            kinds[kind] = kinds.get(kind, 0) + 1
            found = self._apply(record, event, kind, redactions)
            if isinstance(found, DeadLetter):
                letters.append(found)
            else:
                rows += found
        letters.sort(key=lambda letter: letter.start_offset)
        return BatchOutput(
            rows,
            letters,
            Counters(
                record_count=len(batch.records) + len(batch.rejected),
                event_count=event_count,
                row_count=len(rows),
                dead_letter_count=len(letters),
                events_by_kind=kinds,
                redactions_by_kind=redactions,
            ),
        )

    def _apply(
        self,
        record: Record,
        event: Mapping[str, Any],
        kind: str,
        redactions: dict[str, int],
    ) -> list[Row] | DeadLetter:
        try:
            found = list(self._function(event) or ())
        except Exception as error:  # noqa: BLE001 - a user's bug is a dead letter
            return dead_letter(
                record,
                "stage_error",
                f"the stage's function raised {type(error).__name__}",
                kind=kind,
            )
        rows = [self._values(row) for row in found]
        texts = [value for row in rows for value in row if isinstance(value, str)]
        if any("\0" in text or not _is_encodable(text) for text in texts):
            return dead_letter(
                record,
                "nul_bytes",
                "a text to be stored holds a NUL or no Unicode",
                kind=kind,
            )
        return [
            (
                record.start_offset,
                ordinal,
                *(self._redacted(value, redactions) for value in row),
            )
            for ordinal, row in enumerate(rows)
        ]

    def _redacted(self, value: Any, redactions: dict[str, int]) -> Any:
        if not isinstance(value, str):
            return value
        redacted, counts = self._redactor.redact(value)
        for kind, count in counts.items():
            redactions[kind] = redactions.get(kind, 0) + count
        return redacted

    def _values(self, row: object) -> list[Any]:
        if not isinstance(row, Mapping):
            message = (
                f"the stage gave a {type(row).__name__} as a row of table "
                f"{self._table_name!r}: give a list of dicts, by column name"
            )
            raise StageTableError(message)
        unknown = set(map(str, row)) - self._known
        if unknown:
            message = (
                f"the stage gave the columns {sorted(unknown)}, which table "
                f"{self._table_name!r} does not declare"
            )
            raise StageTableError(message)
        values = [row.get(column) for column in self._columns]
        for column, value in zip(self._columns, values, strict=True):
            if not isinstance(value, _STORABLE) or (
                isinstance(value, int) and abs(value) >= _LARGEST_INTEGER
            ):
                message = (
                    f"the stage gave a {type(value).__name__} for the column "
                    f"{column!r} of table {self._table_name!r}: give str, float, "
                    "bool, bytes, None or an int of 64 bits"
                )
                raise StageTableError(message)
        return values


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
