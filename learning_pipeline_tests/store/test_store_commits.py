"""THE commit: atomic at each step, counted, in the history."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning_pipeline.errors import StageTableError
from learning_pipeline.model import BatchOutput, Counters, DeadLetter, Fingerprint
from learning_pipeline.store import Store
from learning_pipeline.store.kinds import MAX_KINDS, OTHER_KINDS
from learning_pipeline_tests.store import child
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

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from learning_pipeline.store import Claim, StageSession
    from learning_pipeline_tests.store.conftest import FailAt

COMMIT_STEPS = (
    "commit.begun",
    "commit.checkpoint_written",
    "commit.counts_written",
    "commit.rows_written",
)

_int64 = st.integers(min_value=0, max_value=2**63 - 1)
_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_fingerprints = st.builds(
    Fingerprint,
    st.integers(1, 2**31 - 1),
    st.binary(max_size=16),
    st.integers(0, 2**31 - 1),
    st.binary(max_size=16),
)
_counters = st.builds(
    Counters,
    record_count=_int64,
    event_count=_int64,
    row_count=_int64,
    quality_count=_int64,
    ignored_count=_int64,
    dead_letter_count=_int64,
    events_by_kind=st.dictionaries(_text, _int64, max_size=10),
    redactions_by_kind=st.dictionaries(_text, _int64, max_size=10),
    generation_change_count=_int64,
    lost_bytes=_int64,
)


class InjectedError(Exception):
    """Raised by these tests inside of transactions."""


@pytest.mark.parametrize("step", COMMIT_STEPS)
@pytest.mark.parametrize("error", [InjectedError(), KeyboardInterrupt()])
def test_an_error_at_any_step_of_a_commit_leaves_everything_as_it_was(
    store: Store, store_url: str, fail_at: FailAt, step: str, error: BaseException
) -> None:
    """Rows, checkpoint, history, counts and dead letters: all or nothing."""
    with open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 200)
        before = contents(store_url)
        fail_at(step, error)
        with pytest.raises(type(error)):
            commit_to(session, claim, 300)
        assert contents(store_url) == before


@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_a_session_goes_on_after_a_commit_that_failed(
    store: Store, fail_at: FailAt, step: str
) -> None:
    """The claim from before the failure is still good."""
    failures = [InjectedError()]
    with open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 200)
        fail_at(step, failures[0])
        with pytest.raises(InjectedError):
            commit_to(session, claim, 300)
        fail_at("nowhere", failures[0])
        claim = commit_to(session, claim, 300)
    assert store.checkpoints() == [claim.checkpoint]


def test_an_error_just_after_a_commit_leaves_it_whole(
    store: Store, fail_at: FailAt
) -> None:
    """What was committed is there, also when nobody heard of it."""
    with open_session(store) as session:
        claim = begin(session, session.claim(PARTITION))
        fail_at("commit.after", InjectedError())
        with pytest.raises(InjectedError):
            commit_to(session, claim, 100)
    [checkpoint] = store.checkpoints()
    assert checkpoint.offset == 100
    assert checkpoint.counters.row_count == len(list(store.iterate_patterns()))


@pytest.mark.parametrize(
    ("step", "stands_at"),
    [*((step, 100) for step in COMMIT_STEPS), ("commit.after", 200)],
)
def test_a_kill_at_any_step_of_a_commit_leaves_all_of_it_or_nothing(
    store: Store,
    store_url: str,
    processes: ForkServerContext,
    step: str,
    stands_at: int,
) -> None:
    """SIGKILL; then the next run makes of it what one undisturbed run makes."""
    running = processes.Process(
        target=child.process_and_die, args=(store_url, step, 2, 500)
    )
    running.start()
    running.join(timeout=60)
    assert running.exitcode == -signal.SIGKILL

    [checkpoint] = store.checkpoints()
    assert checkpoint.offset == stands_at
    expected = batch_output(0, stands_at)
    assert [row["offset"] for row in store.iterate_patterns()] == [
        row[0] for row in expected.rows
    ]
    assert [letter["start_offset"] for letter in store.iterate_dead_letters()] == [
        letter.start_offset for letter in expected.dead_letters
    ]
    assert checkpoint.counters.events_by_kind == expected.counters.events_by_kind
    assert [step.end_offset for step in store.history()] == list(
        range(0, stands_at + 1, 100)
    )

    process(store, 500)
    assert [row["offset"] for row in store.iterate_patterns()] == [
        row[0] for row in batch_output(0, 500).rows
    ]
    [checkpoint] = store.checkpoints()
    assert checkpoint.counters.event_count == batch_output(0, 500).counters.event_count


def test_counts_by_kind_are_those_of_all_commits(store: Store) -> None:
    """Each partition has its own."""
    process(store, 500)
    process(store, 300, partition="b.jsonl")
    by_partition = {
        each.partition: each.counters.events_by_kind for each in store.checkpoints()
    }
    assert by_partition == {
        PARTITION: batch_output(0, 500).counters.events_by_kind,
        "b.jsonl": batch_output(0, 300).counters.events_by_kind,
    }


def test_the_history_keeps_the_last_commits_and_every_generations_start(
    store: Store,
) -> None:
    """Pruned to `history_count`; where a generation begins is kept for ever."""
    with open_session(store, history_count=3) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 500)
        claim = begin(session, claim, generation=1)
        claim = commit_to(session, claim, 1000)
    steps = [
        (each.generation, each.end_offset, each.is_generation_start)
        for each in store.history(stage=STAGE, keys=[PARTITION])
    ]
    assert steps == [
        (0, 0, True),
        (1, 0, True),
        (1, 800, False),
        (1, 900, False),
        (1, 1000, False),
    ]
    assert claim.checkpoint.counters.generation_change_count == 1


def _commit_kinds(session: StageSession, claim: Claim, kinds: dict[str, int]) -> Claim:
    offset = claim.checkpoint.offset + 10
    return session.commit(
        claim,
        BatchOutput([], [], Counters(events_by_kind=kinds)),
        end_offset=offset,
        fingerprint=fingerprint_at(offset),
        size_bytes=1000,
    )


@pytest.mark.parametrize("kinds_per_commit", [1, 7, 254, 400])
def test_kinds_above_the_limit_are_counted_as_one_whatever_the_batches(
    store: Store, kinds_per_commit: int
) -> None:
    """A file of ever new kinds cannot grow the counts without bound."""
    names = [f"kind_{number}" for number in range(400)]
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        for start in range(0, len(names), kinds_per_commit):
            some = names[start : start + kinds_per_commit]
            # An old kind beside the new ones takes no room.
            claim = _commit_kinds(session, claim, dict.fromkeys([names[0], *some], 1))
    [checkpoint] = store.checkpoints()
    counts = dict(checkpoint.counters.events_by_kind)
    counts.pop(names[0])
    kept = dict.fromkeys(names[1 : MAX_KINDS - 1], 1)
    assert counts == {**kept, OTHER_KINDS: len(names) - len(kept) - 1}
    assert claim.checkpoint.counters.events_by_kind == {
        **counts,
        names[0]: checkpoint.counters.events_by_kind[names[0]],
    }


def test_a_kind_that_databases_cannot_hold_is_counted_all_the_same(
    store: Store,
) -> None:
    """NUL and half characters come from telemetry; the batch is not lost for them."""
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        claim = _commit_kinds(session, claim, {"a\0b": 1, "c\ud800": 2})
    [checkpoint] = store.checkpoints()
    assert checkpoint == claim.checkpoint
    assert sorted(checkpoint.counters.events_by_kind.values()) == [1, 2]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    partition=st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), max_size=200
    ),
    offset=st.integers(1, 2**63 - 1),
    size_bytes=_int64,
    seen_signature=st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), max_size=40
    ),
    fingerprint=_fingerprints,
    counters=_counters,
)
def test_a_checkpoint_reads_back_as_it_was_committed(  # noqa: PLR0913, PLR0917 - what it is made of
    store: Store,
    partition: str,
    offset: int,
    size_bytes: int,
    seen_signature: str,
    fingerprint: Fingerprint,
    counters: Counters,
) -> None:
    """For any partition key, offset, fingerprint and counts."""
    with open_session(store) as session:
        claim = session.claim(partition)
        if claim.checkpoint.sequence:
            store.clear(stage=STAGE, partition=partition)
            claim = session.claim(partition)
        claim = session.commit(
            claim,
            BatchOutput([], [], counters),
            end_offset=offset,
            fingerprint=fingerprint,
            size_bytes=size_bytes,
        )
        claim = session.finish_pass(
            claim, seen_signature=seen_signature, size_bytes=size_bytes
        )
        again = session.claim(partition)
    [stored] = store.checkpoints(keys=[partition])
    assert stored.fingerprint == fingerprint
    assert stored.counters == claim.checkpoint.counters
    assert (stored.offset, stored.size_bytes) == (offset, size_bytes)
    assert stored.seen_signature == seen_signature
    assert again.checkpoint == stored


def test_rows_with_the_same_key_are_refused_and_nothing_of_them_kept(
    store: Store, store_url: str
) -> None:
    """A stage that numbers its rows wrongly hears of it; no batch is half there."""
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        before = contents(store_url)
        output = BatchOutput([pattern_row(0), pattern_row(0)], [], Counters())
        with pytest.raises(StageTableError, match="'patterns'"):
            session.commit(
                claim,
                output,
                end_offset=10,
                fingerprint=fingerprint_at(10),
                size_bytes=10,
            )
        assert contents(store_url) == before


@pytest.mark.parametrize("text", ["secret-\ud800-text"])
def test_a_row_that_cannot_be_stored_is_refused_without_showing_its_text(
    store: Store, text: str
) -> None:
    """The error is the project's own, and text from telemetry stays out of it."""
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        output = BatchOutput([pattern_row(0, text=text)], [], Counters())
        with pytest.raises(StageTableError) as caught:
            session.commit(
                claim,
                output,
                end_offset=10,
                fingerprint=fingerprint_at(10),
                size_bytes=10,
            )
        assert "secret" not in str(caught.value)
        commit_to(session, claim, 100)


def test_dead_letters_read_back_with_their_range_reason_and_bytes(
    store: Store,
) -> None:
    """Bytes that are no text come back escaped."""
    letter = DeadLetter(0, 10, "invalid_utf8", "byte 0", b"\xff{")
    with open_session(store) as session:
        session.commit(
            session.claim(PARTITION),
            BatchOutput([], [letter], Counters(dead_letter_count=1)),
            end_offset=10,
            fingerprint=fingerprint_at(10),
            size_bytes=10,
        )
    [found] = store.iterate_dead_letters()
    found.pop("rejected_at")
    assert found == {
        "partition": PARTITION,
        "generation": 0,
        "start_offset": 0,
        "end_offset": 10,
        "stage": STAGE,
        "reason": "invalid_utf8",
        "detail": "byte 0",
        "kind": None,
        "raw": "\\xff{",
        "run_id": "run-1",
    }


def test_the_last_commit_of_a_run_is_known_by_its_run(store: Store) -> None:
    """Who claimed a file last is the run that it belongs to."""
    process(store, 100, run_id="run-1")
    process(store, 100, partition="b.jsonl", run_id="run-2")
    process(store, 200, run_id="run-3")
    stored = {each.partition: each.updated_at for each in store.checkpoints()}
    assert store.last_commit_by_run(["run-1", "run-2", "run-3", "run-4"]) == {
        "run-2": stored["b.jsonl"],
        "run-3": stored[PARTITION],
    }
