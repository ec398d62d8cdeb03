"""Whole passes over the made-up file, and what they must have left."""

from __future__ import annotations

from learning_pipeline.store import Claim, Store
from learning_pipeline_tests.store.samples import (
    PARTITION,
    batch_output,
    begin,
    commit_to,
    open_session,
)

END_OFFSET = 300


def one_pass(store: Store, end_offset: int = END_OFFSET) -> Claim:
    """Claim, begin, commit batch by batch, and sync, as a run does."""
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        if claim.checkpoint.sequence == 0:
            claim = begin(session, claim)
        claim = commit_to(session, claim, end_offset)
        session.sync([claim])
        return claim


def assert_exact(url: str, end_offset: int = END_OFFSET) -> None:
    """Rows, letters, counters and history are those of one undisturbed pass."""
    expected = batch_output(0, end_offset)
    with Store(url) as store:
        assert [row["offset"] for row in store.iterate_patterns()] == [
            row[0] for row in expected.rows
        ]
        assert [each["start_offset"] for each in store.iterate_dead_letters()] == [
            letter.start_offset for letter in expected.dead_letters
        ]
        (checkpoint,) = store.checkpoints()
        assert checkpoint.offset == end_offset
        assert checkpoint.counters.record_count == expected.counters.record_count
        assert checkpoint.counters.events_by_kind == expected.counters.events_by_kind
        steps = store.history()
        assert [step.sequence for step in steps] == list(range(1, len(steps) + 1))
