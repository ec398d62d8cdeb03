"""Turns the records of a batch into pattern rows, dead letters and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from learning_pipeline.extraction.contexts import compact_json
from learning_pipeline.extraction.custom import (
    CustomEvent,
    CustomExtractors,
    LocalExtractors,
)
from learning_pipeline.extraction.decoding import (
    DEAD_LETTER_RAW_BYTES,
    DECODE_ERRORS,
    LEAST_NESTED_BYTES,
    WRONG_FIELD_TYPE,
    Rejection,
    decode_envelope,
    default_redactor,
    explain,
    is_too_deep,
    kind_despite,
    redacted_letter,
)
from learning_pipeline.extraction.drafts import Family
from learning_pipeline.extraction.families import FAMILIES
from learning_pipeline.extraction.kinds import (
    NO_KIND,
    kind_label,
    label_and_redactions,
)
from learning_pipeline.extraction.patterns import Finisher
from learning_pipeline.extraction.registry import Extractor, check_kinds
from learning_pipeline.extraction.timestamps import canonical_timestamp
from learning_pipeline.model import (
    BatchOutput,
    Counters,
    DeadLetter,
    Record,
    RecordBatch,
    Row,
)

_QUALITY_COLUMN = 10


class PatternExtractor:
    """Makes patterns of telemetry records.

    Guarantees: a pure function of the batch, so that a replay gives the same rows,
    however the records are split into batches. It raises for no record, whatever
    its bytes: what cannot be processed becomes a dead letter.
    """

    def __init__(
        self,
        extractors: Iterable[Extractor] | None = None,
        dead_letter_raw_bytes: int = DEAD_LETTER_RAW_BYTES,
        *,
        isolated: CustomExtractors | None = None,
    ) -> None:
        """Prepare the extraction.

        Args:
            extractors: Users' extractors beside the built-in families, to run in
                this process; None for none.
            dead_letter_raw_bytes: How much of a dead letter's record is kept.
            isolated: Users' extractors that run elsewhere, in place of these.

        Raises:
            ExtractorRegistrationError: One is unusable, or two claim a kind.
        """
        self._custom = isolated or LocalExtractors(check_kinds(tuple(extractors or ())))
        self._families = {kind: family for family in FAMILIES for kind in family.kinds}
        self._dead_letter_raw_bytes = dead_letter_raw_bytes
        self._finish = Finisher(default_redactor()).finish

    def __call__(  # noqa: C901, PLR0912, PLR0915 - the hot path, one call a record at most
        self, batch: RecordBatch
    ) -> BatchOutput:
        """Return rows `(offset, ordinal, *Pattern)`, dead letters and counts.

        Raises:
            ExtractorRegistrationError: An isolated extractor cannot be used.
            ExtractorProcessError: Isolated extractors cannot be started.
        """
        rows: list[Row] = []
        letters: list[DeadLetter] = []
        kind_counts: dict[str | None, int] = {}
        redactions: dict[str, int] = {}
        ignored_count = 0
        families = self._families
        custom = self._custom
        custom_records: list[tuple[CustomEvent, Record]] = []
        extract = self._extract
        decode = decode_envelope
        for record in batch.records:
            raw = record.raw
            try:
                # The parser does not look into the strings that it skips.
                if not raw.isascii():
                    raw.decode()
                if len(raw) >= LEAST_NESTED_BYTES and is_too_deep(raw):
                    raise RecursionError
                envelope = decode(raw)
                kind = envelope.event or envelope.event_type
            except DECODE_ERRORS as error:
                try:
                    kind = kind_despite(raw, error)
                except Rejection as rejection:
                    label = None
                    if rejection.reason == WRONG_FIELD_TYPE:
                        kind_counts[None] = kind_counts.get(None, 0) + 1
                        label = NO_KIND
                    letters.append(self._letter(record, rejection, redactions, label))
                    continue
            kind_counts[kind] = kind_counts.get(kind, 0) + 1
            if kind is None:
                ignored_count += 1
                continue
            try:
                if kind in families:
                    extract(families[kind], kind, record, rows, redactions)
                elif kind in custom:
                    custom_records.append((CustomEvent(kind, raw), record))
                else:
                    ignored_count += 1
            except (Rejection, *DECODE_ERRORS) as error:
                why = error if isinstance(error, Rejection) else explain(raw, error)
                label = kind_label(kind)
                letters.append(self._letter(record, why, redactions, label))
        if custom_records:
            self._extract_custom(custom_records, rows, letters, redactions)
            rows.sort(key=_offset_and_ordinal)
        if batch.rejected:
            limit = self._dead_letter_raw_bytes
            letters += (redacted_letter(r, limit, redactions) for r in batch.rejected)
        letters.sort(key=_start_offset)
        return BatchOutput(
            rows,
            letters,
            Counters(
                record_count=len(batch.records) + len(batch.rejected),
                event_count=sum(kind_counts.values()),
                row_count=len(rows),
                quality_count=sum(row[_QUALITY_COLUMN] for row in rows),
                ignored_count=ignored_count,
                dead_letter_count=len(letters),
                events_by_kind=_count_by_label(kind_counts, redactions),
                redactions_by_kind=redactions,
            ),
        )

    def _extract(
        self,
        family: Family,
        kind: str,
        record: Record,
        rows: list[Row],
        redactions: dict[str, int],
    ) -> None:
        draft = family.extract(family.decode(record.raw))
        if draft is None:
            return
        prompt, response, iterations, backend, context, metrics, timestamp = draft
        payload, counts = self._finish(
            kind,
            prompt,
            response,
            iterations,
            backend,
            compact_json(context),
            metrics,
            canonical_timestamp(timestamp),
        )
        rows.append((record.start_offset, 0, *payload))
        if counts:
            _add(redactions, counts)

    def _extract_custom(
        self,
        records: Sequence[tuple[CustomEvent, Record]],
        rows: list[Row],
        letters: list[DeadLetter],
        redactions: dict[str, int],
    ) -> None:
        outcomes = self._custom.extract([event for event, _ in records])
        for (event, record), outcome in zip(records, outcomes, strict=True):
            try:
                if isinstance(outcome, Rejection):
                    raise outcome
                # All of them first, so that a record gives all its rows or none.
                finished = [
                    self._finish(event.kind, *draft, outcome.timestamp)
                    for draft in outcome.drafts
                ]
            except Rejection as rejection:
                label = kind_label(event.kind)
                letters.append(self._letter(record, rejection, redactions, label))
                continue
            for ordinal, (payload, counts) in enumerate(finished):
                rows.append((record.start_offset, ordinal, *payload))
                _add(redactions, counts)

    def _letter(
        self,
        record: Record,
        rejection: Rejection,
        redactions: dict[str, int],
        kind: str | None,
    ) -> DeadLetter:
        letter = DeadLetter(
            record.start_offset,
            record.end_offset,
            rejection.reason,
            rejection.detail,
            record.raw,
            kind,
        )
        return redacted_letter(letter, self._dead_letter_raw_bytes, redactions)


def _count_by_label(
    kind_counts: Mapping[str | None, int], redactions: dict[str, int]
) -> dict[str, int]:
    """Return counts under names that are safe to store and to show."""
    by_label: dict[str, int] = {}
    for kind, count in kind_counts.items():
        label, found = label_and_redactions(kind)
        _add(redactions, {name: found[name] * count for name in found})
        by_label[label] = by_label.get(label, 0) + count
    return by_label


def _offset_and_ordinal(row: Row) -> tuple[int, int]:
    return row[0], row[1]


def _start_offset(letter: DeadLetter) -> int:
    return letter.start_offset


def _add(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for kind, count in counts.items():
        total[kind] = total.get(kind, 0) + count
