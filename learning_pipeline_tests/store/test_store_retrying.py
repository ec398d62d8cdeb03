"""Retried dead letters in the database: removed with what their records give now."""

from __future__ import annotations

import msgspec
import pytest

from learning_pipeline.errors import FencedError, StageTableError
from learning_pipeline.model import BatchOutput, Counters, DeadLetter
from learning_pipeline.store import Claim, Retry, StageSession, Store
from learning_pipeline.store.kinds import MAX_KINDS, OTHER_KINDS, limit_kinds
from learning_pipeline_tests.store.postgres_proxy import COMMIT, Cut, proxied
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    batch_output,
    begin,
    commit_to,
    contents,
    fingerprint_at,
    open_session,
    pattern_row,
    process,
)

WAS = Counters(record_count=1, dead_letter_count=1)
"""What each dead letter of the made-up file had added."""


def retries(store: Store, *, again: bool = False) -> list[Retry]:
    """All its dead letters, each giving a row now, or a dead letter again."""
    return [
        Retry(
            letter,
            WAS,
            BatchOutput(
                [],
                [
                    DeadLetter(
                        letter.start_offset, letter.end_offset, "new", "why", b"[", "k"
                    )
                ],
                Counters(
                    record_count=1,
                    dead_letter_count=1,
                    event_count=1,
                    events_by_kind={"k": 1},
                ),
            )
            if again
            else BatchOutput(
                [pattern_row(letter.start_offset)],
                [],
                Counters(
                    record_count=1,
                    event_count=1,
                    row_count=1,
                    quality_count=1,
                    events_by_kind={"mended": 1},
                ),
            ),
        )
        for letter in store.dead_letters(stage=STAGE, partition=PARTITION)
    ]


def counters(store: Store) -> Counters:
    """As they stand."""
    [checkpoint] = store.checkpoints()
    return checkpoint.counters


def test_a_retried_letter_becomes_its_rows_and_every_count_follows(
    store: Store,
) -> None:
    """Of the checkpoint, and of the steps at or behind it, not of those before."""
    process(store, 300)
    before = counters(store)
    found = retries(store)
    with open_session(store, run_id="retry") as session:
        claim = session.retry(session.claim(PARTITION), 0, found[1:])
    after = counters(store)
    assert claim.checkpoint.counters == after
    assert after == before + Counters(
        event_count=2,
        row_count=2,
        quality_count=2,
        dead_letter_count=-2,
        events_by_kind={"mended": 2},
    )
    assert [each.start_offset for each in _letters(store)] == [0]
    assert [step.counters.events_by_kind.get("mended", 0) for step in store.history()][
        -3:
    ] == [0, 1, 2]
    offsets = [row["offset"] for row in store.iterate_patterns()]
    assert offsets == sorted(offsets)
    assert {100, 200} <= set(offsets)
    assert list(store.contradictions()) == []


def test_a_rewind_restores_what_retries_made(store: Store) -> None:
    """The kinds too."""
    process(store, 300)
    with open_session(store) as session:
        session.retry(session.claim(PARTITION), 0, retries(store))
    store.rewind(stage=STAGE, partition=PARTITION, to_offset=200)
    assert counters(store).events_by_kind["mended"] == 2
    assert list(store.contradictions()) == []


def test_a_retry_that_was_done_already_does_nothing(
    store: Store, store_url: str
) -> None:
    """Each letter goes in the transaction that finds it as it was."""
    process(store, 300)
    found, again = retries(store), retries(store, again=True)
    with open_session(store) as session:
        claim = session.retry(session.claim(PARTITION), 0, found[:2])
        claim = session.retry(claim, 0, again[2:])
        before = contents(store_url)
        session.retry(claim, 0, found)
        session.retry(claim, 0, again)
    assert contents(store_url) == before


def test_a_record_that_is_rejected_again_stays_with_the_new_reason(
    store: Store,
) -> None:
    """It was no event before; now it is one, and stays a dead letter."""
    process(store, 300)
    before = counters(store)
    with open_session(store, run_id="retry") as session:
        session.retry(session.claim(PARTITION), 0, retries(store, again=True))
    letters = list(store.iterate_dead_letters())
    assert {
        (each["reason"], each["detail"], each["kind"], each["run_id"])
        for each in letters
    } == {("new", "why", "k", "retry")}
    assert counters(store) == before + Counters(event_count=3, events_by_kind={"k": 3})


def test_a_kind_that_nothing_is_left_of_is_gone(store: Store) -> None:
    """As in a pass that never met it."""
    process(store, 100)
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        session.retry(claim, 0, retries(store, again=True))
        mended = [
            msgspec.structs.replace(
                each,
                contribution=WAS + Counters(event_count=1, events_by_kind={"k": 1}),
            )
            for each in retries(store)
        ]
        session.retry(claim, 0, mended)
    assert "k" not in counters(store).events_by_kind
    assert "k" not in store.history()[-1].counters.events_by_kind
    assert counters(store).events_by_kind["mended"] == 1


def test_kinds_that_are_not_counted_one_by_one_stay_so(store: Store) -> None:
    """What was counted among the others is taken from there."""
    names = {f"kind {number}": 1 for number in range(MAX_KINDS - 1)}
    with open_session(store) as session:
        claim = begin(session, session.claim(PARTITION))
        letter = DeadLetter(0, 10, "stage_error", "", b"", "one too many")
        claim = session.commit(
            claim,
            BatchOutput(
                [],
                [letter],
                Counters(
                    record_count=1,
                    dead_letter_count=1,
                    event_count=len(names) + 2,
                    events_by_kind=names | {"one too many": 1, "another": 1},
                ),
            ),
            end_offset=10,
            fingerprint=fingerprint_at(10),
            size_bytes=10,
        )
        [found] = retries(store)
        kept = msgspec.structs.replace(
            found,
            contribution=WAS
            + Counters(event_count=1, events_by_kind={"one too many": 1}),
        )
        session.retry(claim, 0, [kept])
    # One went, and "mended" came.
    assert counters(store).events_by_kind == names | {OTHER_KINDS: 2}


def test_what_goes_of_a_kind_that_has_no_count_goes_from_the_others() -> None:
    """Also when there is room for it by now."""
    total = Counters(events_by_kind={"named": 1, OTHER_KINDS: 2})
    delta = Counters(events_by_kind={"unnamed": -1, "named": -1})
    assert limit_kinds(total, delta).events_by_kind == {"named": -1, OTHER_KINDS: -1}


def test_a_retry_that_was_fenced_writes_nothing(store: Store, store_url: str) -> None:
    """And says so."""
    process(store, 300)
    with open_session(store) as session, open_session(store) as other:
        claim = session.claim(PARTITION)
        other.claim(PARTITION)
        before = contents(store_url)
        with pytest.raises(FencedError):
            session.retry(claim, 0, retries(store))
    assert contents(store_url) == before


def test_a_run_under_way_is_fenced_by_a_retry(store: Store) -> None:
    """It has read what the counts were."""

    def retry_meanwhile(session: StageSession) -> Claim:
        return session.retry(session.claim(PARTITION), 0, retries(store))

    with open_session(store) as session, open_session(store) as retrying:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        retry_meanwhile(retrying)
        with pytest.raises(FencedError):
            commit_to(session, claim, 200)
    assert list(store.contradictions()) == []
    assert batch_output(0, 100).dead_letters
    assert list(store.iterate_dead_letters()) == []


def test_rows_that_do_not_fit_leave_every_letter_where_it_was(
    store: Store, store_url: str
) -> None:
    """Letters, rows and counts are of one transaction."""
    process(store, 300)
    found = retries(store)
    row = pattern_row(7)
    twice = msgspec.structs.replace(found[0].output, rows=[row, row])
    unfit = msgspec.structs.replace(found[0], output=twice)
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        before = contents(store_url)
        with pytest.raises(StageTableError):
            session.retry(claim, 0, [unfit, *found[1:]])
    assert contents(store_url) == before


@pytest.mark.parametrize("where", list(Cut))
def test_a_retry_that_is_cut_in_its_commit_is_done_once(
    postgres_url: str, where: Cut
) -> None:
    """Repeated over a new connection, it finds what it did, or not."""
    with Store(postgres_url) as store, proxied(postgres_url) as (cutter, through):
        process(store, 300)
        before = counters(store)
        found = retries(store)
        with Store(through) as cut, open_session(cut) as session:
            claim = session.claim(PARTITION)
            cutter.cut_once(where, COMMIT)
            claim = session.retry(claim, 0, found)
        assert counters(store) == claim.checkpoint.counters
        assert counters(store).row_count == before.row_count + 3
        assert list(store.contradictions()) == []


def _letters(store: Store) -> list[DeadLetter]:
    return [
        DeadLetter(each.start_offset, each.end_offset, each.reason, "", b"")
        for each in store.dead_letters(stage=STAGE, partition=PARTITION)
    ]
