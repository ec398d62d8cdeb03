"""Dead letters processed again after a fix: as if the fix had always been there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline import steps
from learning_pipeline.errors import FencedError
from learning_pipeline.extraction import PatternDraft, PatternExtractor
from learning_pipeline.extraction.contribution import contribution
from learning_pipeline.model import RecordBatch
from learning_pipeline.stages import Reading
from learning_pipeline.stages.retrying import PartitionRetry, RetryOutcome, RetryPlan
from learning_pipeline.store import patterns
from learning_pipeline.telemetry import ReadLimits
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import NEVER, STAGE, Engine

ACTIVE = "a.jsonl"
KIND = "note api_key=sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"
"""Its label loses a secret, which is counted."""

RAW_BYTES = 300


class Notes:
    """An extractor that raises for some events until it is mended."""

    kinds = frozenset({KIND})

    def __init__(self, *, is_mended: bool) -> None:
        """Broken or mended."""
        self._is_mended = is_mended

    def extract(self, event: Mapping[str, Any], /) -> list[PatternDraft] | None:
        """Two rows for an event, none for one that says so."""
        if event["hard"] == "always" or (event["hard"] and not self._is_mended):
            raise RuntimeError
        if event["hard"] == "nothing":
            return None
        return [
            PatternDraft(f"{event['text']} {number}, what is it?", "A note, I think.")
            for number in range(2)
        ]


def note(number: int, *, hard: object = True) -> bytes:
    """One event for the extractor, with a secret in it."""
    text = f"note {number} password=hunter2{number:09} of the day"
    event = {"event": KIND, "hard": hard, "text": text, "pad": "x" * 40}
    return json.dumps(event).encode() + b"\n"


def content(seed: int) -> bytes:
    """Lines of which some are broken, some hard, some both and most neither."""
    lines = list(generate_lines(24, seed=seed))
    for at, line in (
        (2, note(1)),
        (5, b"{broken api_key=sk-ant-api03-abcdefghijklmnopqrstuvwxyz01\n"),
        (6, note(2, hard=False)),
        (9, note(3)),
        (9, note(4, hard="nothing")),
        (15, note(5, hard="always")),
        (20, note(6)),
    ):
        lines.insert(at, line)
    return b"".join(lines)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A stage whose extractor is broken, five records a commit."""
    return Engine(tmp_path / "broken", interval=5, transform=extractor())


def extractor(*, is_mended: bool = False) -> PatternExtractor:
    """The extraction with the notes' extractor."""
    return PatternExtractor([Notes(is_mended=is_mended)], RAW_BYTES)


def retry(
    engine: Engine,
    *,
    reason: str | None = None,
    dry_run: bool = False,
    max_record_bytes: int = 2**16,
) -> RetryOutcome:
    """Retry the dead letters of a file with the mended extractor."""
    limits = ReadLimits(
        max_records=2,
        max_batch_bytes=2**20,
        max_record_bytes=max_record_bytes,
    )
    plan = RetryPlan(
        transform=extractor(is_mended=True),
        contribution=partial(
            contribution,
            raw_bytes=limits.rejected_raw_bytes,
            dead_letter_raw_bytes=RAW_BYTES,
        ),
        reading=Reading(engine.root, limits, NEVER),
        stage=STAGE,
        reason=reason,
    )
    with (
        engine.store() as store,
        store.session(
            stage=STAGE, table=patterns, run_id="retry", history_count=20
        ) as session,
    ):
        one = PartitionRetry(plan, store, ACTIVE)
        return one.run(None if dry_run else session)


def state(engine: Engine) -> tuple[Any, ...]:
    """Rows, counters, dead letters, and what each step of the history counts."""
    with engine.store() as store:
        assert list(store.contradictions()) == []
        letters = [
            {**each, "rejected_at": "", "run_id": ""}
            for each in store.iterate_dead_letters()
        ]
        (checkpoint,) = store.checkpoints()
        history = [
            (step.generation, step.end_offset, step.counters)
            for step in store.history()
        ]
        return list(store.iterate_patterns()), checkpoint.counters, letters, history


def expected(engine: Engine, tmp_path: Path, *contents: bytes) -> tuple[Any, ...]:
    """What passes with the mended extractor come to, a rotation between two."""
    fresh = Engine(
        tmp_path / "mended",
        interval=engine.interval,
        transform=extractor(is_mended=True),
    )
    read(fresh, *contents)
    return state(fresh)


def read(engine: Engine, *contents: bytes) -> None:
    """Write one file after the other, rotate and read each."""
    for number, each in enumerate(contents):
        if number:
            (engine.root / ACTIVE).rename(engine.root / f"{ACTIVE}-2026010{number}")
        engine.write(each)
        engine.drain()


def test_after_a_fix_and_a_retry_all_is_as_if_it_had_been_fixed_before(
    engine: Engine, tmp_path: Path
) -> None:
    """Rows, counts by kind, redactions, history; what still fails stays."""
    read(engine, content(1), content(2))
    (engine.root / f"{ACTIVE}-20260101.gz").write_bytes(
        gzip.compress((engine.root / f"{ACTIVE}-20260101").read_bytes())
    )
    (engine.root / f"{ACTIVE}-20260101").unlink()
    outcome = retry(engine)
    # Of each file: four are hard, one of which always; one is no JSON.
    assert (outcome.processed_count, outcome.rejected_count) == (8, 4)
    assert (outcome.row_count, list(outcome.unread)) == (12, [])
    assert state(engine) == expected(engine, tmp_path, content(1), content(2))


def test_a_second_retry_changes_nothing(engine: Engine) -> None:
    """What still fails is only looked at again; the next pass finds nothing."""
    read(engine, content(1))
    retry(engine)
    before = state(engine)
    outcome = retry(engine)
    assert (outcome.processed_count, outcome.rejected_count) == (0, 2)
    assert state(engine) == before
    assert engine.drain().run_event_count == 0
    assert state(engine) == before


def test_a_rewind_after_a_retry_and_another_pass_come_to_the_same(
    engine: Engine, tmp_path: Path
) -> None:
    """The history's counts were mended with the checkpoint's."""
    read(engine, content(1), content(2))
    retry(engine)
    engine.transform = extractor(is_mended=True)
    rows, counters, letters, _ = expected(engine, tmp_path, content(1), content(2))
    for to_offset in (2000, 0):
        with engine.store() as store:
            store.rewind(stage=STAGE, partition=ACTIVE, to_offset=to_offset)
        engine.drain()
        assert state(engine)[:3] == (rows, counters, letters)


def test_only_letters_of_the_reason_asked_for_are_retried(engine: Engine) -> None:
    """The others are not even read."""
    read(engine, content(1))
    outcome = retry(engine, reason="malformed_json")
    assert (outcome.processed_count, outcome.rejected_count) == (0, 1)


def test_a_dry_run_says_what_would_become_of_them(engine: Engine) -> None:
    """And stores nothing, nor fences a run under way."""
    read(engine, content(1))
    before = state(engine)
    outcome = retry(engine, dry_run=True)
    assert state(engine) == before
    assert outcome == retry(engine)


def test_a_record_that_was_too_long_is_read_once_the_limit_is_higher(
    engine: Engine, tmp_path: Path
) -> None:
    """It was no event before, and is one now."""
    lines = content(1) + note(7, hard=False)[:-2] + b" " * 2**16 + b"}\n" + content(2)
    read(engine, lines)
    outcome = retry(engine, max_record_bytes=2**20)
    assert outcome.row_count == 14
    fresh = Engine(tmp_path / "fresh", interval=5, max_record_bytes=2**20)
    fresh.transform = extractor(is_mended=True)
    read(fresh, lines)
    assert state(engine)[:3] == state(fresh)[:3]


def test_the_last_line_of_a_rotated_file_is_retried_without_its_newline(
    engine: Engine, tmp_path: Path
) -> None:
    """It has none, and that is not why it was rejected."""
    first = (content(1) + note(8))[:-1]
    read(engine, first)
    (engine.root / ACTIVE).rename(engine.root / f"{ACTIVE}-20260101")
    engine.write(content(2))
    engine.drain()
    assert retry(engine).processed_count == 9
    fresh = Engine(tmp_path / "fresh", interval=5)
    fresh.transform = extractor(is_mended=True)
    read(fresh, first, content(2))
    assert state(engine)[:3] == state(fresh)[:3]


@pytest.mark.parametrize("instead", [b"", content(3), content(1)[:-500]])
def test_letters_whose_bytes_are_gone_stay(engine: Engine, instead: bytes) -> None:
    """They are reported, and nothing of another or a cut-off file is taken for them."""
    read(engine, content(1))
    before = state(engine)
    (engine.root / ACTIVE).rename(engine.folder / "elsewhere")
    if instead:
        engine.write(instead)
    outcome = retry(engine)
    assert (outcome.processed_count, len(outcome.unread)) == (0, 6)
    assert state(engine) == before


def test_a_record_that_was_rewritten_in_place_stays(engine: Engine) -> None:
    """Where one line was, there are two now; the others are retried."""
    read(engine, content(1))
    path = engine.root / ACTIVE
    path.write_bytes(path.read_bytes().replace(b"{broken ", b"{brok\nn "))
    outcome = retry(engine)
    assert (outcome.processed_count, outcome.rejected_count) == (4, 1)
    assert [each.letter.reason for each in outcome.unread] == ["malformed_json"]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def kill_at() -> Iterator[Any]:
    """Ends the process at the nth time that a step is reached, as far as we see."""

    def arm(step: str, occurrence: int) -> None:
        seen = 0

        def listener(reached: str) -> None:
            nonlocal seen
            seen += reached == step
            if reached == step and seen == occurrence:
                raise Killed

        steps.listen(listener)

    yield arm
    steps.listen(None)


@pytest.mark.parametrize("occurrence", [1, 2])
@pytest.mark.parametrize("step", steps.RETRY_NAMES)
def test_ended_anywhere_another_retry_doubles_nothing(
    engine: Engine, tmp_path: Path, kill_at: Any, step: str, occurrence: int
) -> None:
    """Each letter is either still there or its rows are."""
    read(engine, content(1))
    kill_at(step, occurrence)
    with pytest.raises(Killed):
        retry(engine)
    steps.listen(None)
    state(engine)
    retry(engine)
    assert state(engine) == expected(engine, tmp_path, content(1))


def test_a_retry_fences_a_run_under_way_and_is_fenced_by_a_newer_one(
    engine: Engine, tmp_path: Path
) -> None:
    """Neither does anything twice."""
    read(engine, content(1))
    mended = extractor(is_mended=True)

    def claim_again(batch: RecordBatch) -> Any:
        with (
            engine.store() as store,
            store.session(
                stage=STAGE, table=patterns, run_id="newer", history_count=20
            ) as session,
        ):
            session.claim(ACTIVE)
        return mended(batch)

    with engine.store() as store:
        limits = ReadLimits(
            max_records=9, max_batch_bytes=2**20, max_record_bytes=2**16
        )
        plan = RetryPlan(
            claim_again,
            partial(contribution, raw_bytes=2**16, dead_letter_raw_bytes=RAW_BYTES),
            Reading(engine.root, limits, NEVER),
            STAGE,
        )
        before = state(engine)
        with (
            store.session(
                stage=STAGE, table=patterns, run_id="retry", history_count=20
            ) as session,
            pytest.raises(FencedError),
        ):
            PartitionRetry(plan, store, ACTIVE).run(session)
    assert state(engine) == before
    retry(engine)
    assert state(engine) == expected(engine, tmp_path, content(1))
