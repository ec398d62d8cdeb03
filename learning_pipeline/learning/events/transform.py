"""A transform that makes rows of events one by one, and of nothing else anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from learning_pipeline.extraction.decoding import (
    DECODE_ERRORS,
    LEAST_NESTED_BYTES,
    WRONG_FIELD_TYPE,
    Rejection,
    decode_envelope,
    is_too_deep,
    kind_despite,
)
from learning_pipeline.extraction.kinds import label_and_redactions
from learning_pipeline.learning.events.fields import LenientDecoder
from learning_pipeline.model import BatchOutput, Counters, RecordBatch, Row


class NamedEvent(msgspec.Struct, gc=False):
    """What names the kind of an event."""

    event: str | None = None
    event_type: str | None = None


E = TypeVar("E", bound=NamedEvent)

EventRows = Callable[[str | None, E, dict[str, int]], Sequence[tuple[Any, ...]]]
"""Pure: a kind, an event and the redactions to add to, to the payloads of its rows."""


class EventTransform(Generic[E]):
    """Applies a function to each event of a batch.

    What is no event is counted and left to the stage of the patterns, which keeps it
    as a dead letter.

    Guarantees: a pure function of the batch; however the records are split into
    batches, the same rows and counts. It raises for no record, whatever its bytes.
    Records count as events of the same kinds as in that other stage.
    """

    def __init__(self, struct: type[E], rows_of: EventRows[E]) -> None:
        """Apply `rows_of` to the fields of `struct`."""
        self._decoder = LenientDecoder(struct)
        self._rows_of = rows_of

    def __call__(self, batch: RecordBatch) -> BatchOutput:
        """Return rows `(offset, ordinal, *payload)` and counts, no dead letters."""
        rows: list[Row] = []
        kind_counts: dict[str | None, int] = {}
        redactions: dict[str, int] = {}
        ignored_count = 0
        decode = self._decoder.decode_strictly
        rows_of = self._rows_of
        for record in batch.records:
            raw = record.raw
            try:
                # The parser does not look into the strings that it skips.
                if not raw.isascii():
                    raw.decode()
                if len(raw) >= LEAST_NESTED_BYTES and is_too_deep(raw):
                    continue
                event = decode(raw)
                kind = event.event or event.event_type
            except UnicodeDecodeError:
                continue
            except DECODE_ERRORS:
                try:
                    kind = _kind_of(raw)
                except Rejection as rejection:
                    if rejection.reason != WRONG_FIELD_TYPE:
                        continue
                    kind = None
                event = self._decoder.decode_apart(raw)
            kind_counts[kind] = kind_counts.get(kind, 0) + 1
            found = rows_of(kind, event, redactions)
            if not found:
                ignored_count += 1
            for ordinal, payload in enumerate(found):
                rows.append((record.start_offset, ordinal, *payload))
        return BatchOutput(
            rows,
            [],
            Counters(
                record_count=len(batch.records) + len(batch.rejected),
                event_count=sum(kind_counts.values()),
                row_count=len(rows),
                ignored_count=ignored_count,
                events_by_kind=_count_by_label(kind_counts, redactions),
                redactions_by_kind=redactions,
            ),
        )


def _count_by_label(
    kind_counts: Mapping[str | None, int], redactions: dict[str, int]
) -> dict[str, int]:
    by_label: dict[str, int] = {}
    for kind, count in kind_counts.items():
        label, secrets = label_and_redactions(kind)
        by_label[label] = by_label.get(label, 0) + count
        for name in secrets:
            redactions[name] = redactions.get(name, 0) + secrets[name] * count
    return by_label


def _kind_of(raw: bytes) -> str | None:
    try:
        envelope = decode_envelope(raw)
    except DECODE_ERRORS as error:
        return kind_despite(raw, error)
    return envelope.event or envelope.event_type
