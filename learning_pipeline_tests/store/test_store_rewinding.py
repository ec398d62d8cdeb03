"""Rewind, replay and clear: back to an earlier checkpoint, rows and counts with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from learning_pipeline.errors import StoreError
from learning_pipeline.model import BatchOutput, Counters
from learning_pipeline.store import (
    Store,
    ToOffset,
    ToStep,
    ToTime,
    patterns,
    stage_table,
)
from learning_pipeline.store.schema import tombstones
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    batch_output,
    begin,
    commit_to,
    contents,
    fingerprint_at,
    open_session,
    process,
)

if TYPE_CHECKING:
    from learning_pipeline.model import Checkpoint


def _checkpoint(store: Store) -> Checkpoint:
    [checkpoint] = store.checkpoints(stage=STAGE, keys=[PARTITION])
    return checkpoint


@pytest.mark.parametrize(
    ("to_offset", "goes_to"), [(500, 500), (499, 400), (300, 300), (299, 200), (0, 0)]
)
def test_a_rewind_goes_to_the_step_at_or_before_the_offset(
    store: Store, to_offset: int, goes_to: int
) -> None:
    """Rows, dead letters, counts and fingerprint are those of that step."""
    process(store, 500)
    rewound = store.rewind(stage=STAGE, partition=PARTITION, to_offset=to_offset)
    kept, removed = batch_output(0, goes_to), batch_output(goes_to, 500)
    assert (rewound.from_offset, rewound.to_offset) == (500, goes_to)
    assert rewound.row_count == len(removed.rows)
    assert rewound.dead_letter_count == len(removed.dead_letters)
    checkpoint = _checkpoint(store)
    assert checkpoint.offset == goes_to
    assert checkpoint.fingerprint == (fingerprint_at(goes_to) if goes_to else None)
    assert checkpoint.counters.row_count == len(kept.rows)
    assert checkpoint.counters.events_by_kind == kept.counters.events_by_kind
    assert (checkpoint.seen_signature, checkpoint.synced_offset) == (None, 0)
    assert [row["offset"] for row in store.iterate_patterns()] == [
        row[0] for row in kept.rows
    ]
    assert [each["start_offset"] for each in store.iterate_dead_letters()] == [
        each.start_offset for each in kept.dead_letters
    ]
    assert store.history()[-1].end_offset == goes_to


@pytest.mark.parametrize("history_count", [2, 20])
@pytest.mark.parametrize("to_offset", [0, 100, 450])
def test_the_same_commits_after_a_rewind_give_the_same_rows_and_counts(
    store: Store, history_count: int, to_offset: int
) -> None:
    """As if there had been no rewind, also when its step was pruned meanwhile."""
    process(store, 500, history_count=history_count)
    rows, counters = list(store.iterate_patterns()), _checkpoint(store).counters
    store.rewind(stage=STAGE, partition=PARTITION, to_offset=to_offset)
    process(store, 500, history_count=history_count)
    assert list(store.iterate_patterns()) == rows
    assert _checkpoint(store).counters == counters


def test_a_rewind_stays_in_the_current_generation(store: Store) -> None:
    """What earlier files gave cannot be read again, so it is kept."""
    with open_session(store, history_count=1) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 500)
        first_rows = list(store.iterate_patterns())
        claim = begin(session, claim, generation=1)
        at_start = claim.checkpoint.counters
        commit_to(session, claim, 300)
    rewound = store.rewind(stage=STAGE, partition=PARTITION, to_offset=0)
    assert (rewound.generation, rewound.from_offset) == (1, 300)
    assert list(store.iterate_patterns()) == first_rows
    assert _checkpoint(store).counters == at_start


@pytest.mark.parametrize("to_offset", [-1, 501, 2**40])
def test_a_rewind_to_where_the_stage_never_was_is_refused(
    store: Store, store_url: str, to_offset: int
) -> None:
    """The message says how far it can go."""
    process(store, 500)
    before = contents(store_url)
    with pytest.raises(StoreError, match="stands at offset 500"):
        store.rewind(stage=STAGE, partition=PARTITION, to_offset=to_offset)
    assert contents(store_url) == before


@pytest.mark.parametrize(
    ("stage", "partition"), [("unknown", PARTITION), (STAGE, "unknown"), ("", "")]
)
def test_what_has_no_checkpoint_cannot_be_taken_back(
    store: Store, stage: str, partition: str
) -> None:
    """The message says how to find what there is."""
    process(store, 100)
    with pytest.raises(StoreError, match="checkpoints show"):
        store.rewind(stage=stage, partition=partition, to_offset=0)
    with pytest.raises(StoreError, match="checkpoints show"):
        store.clear(stage=stage, partition=partition)
    assert store.replay(stage=stage, partition=partition, replayed_by="run-9") is None


def test_a_dry_run_counts_and_changes_nothing(store: Store, store_url: str) -> None:
    """Its counts are those of the real one."""
    process(store, 500)
    before = contents(store_url)
    rewound = store.rewind(
        stage=STAGE, partition=PARTITION, to_offset=200, dry_run=True
    )
    cleared = store.clear(stage=STAGE, partition=PARTITION, dry_run=True)
    assert contents(store_url) == before
    assert rewound == store.rewind(stage=STAGE, partition=PARTITION, to_offset=200)
    process(store, 500)
    assert cleared == store.clear(stage=STAGE, partition=PARTITION)


def test_a_clear_forgets_all_generations_and_nothing_of_other_files(
    store: Store,
) -> None:
    """Rows, dead letters, history and counts; the fence stays and has moved."""
    with open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 500)
        commit_to(session, begin(session, claim, generation=1), 300)
    process(store, 200, partition="b.jsonl")
    rows = batch_output(0, 500).rows, batch_output(0, 300).rows
    cleared = store.clear(stage=STAGE, partition=PARTITION)
    assert cleared.row_count == sum(map(len, rows))
    checkpoint = _checkpoint(store)
    assert (checkpoint.offset, checkpoint.counters) == (0, Counters())
    assert checkpoint.fingerprint is None
    assert store.history(keys=[PARTITION]) == []
    assert {row["partition"] for row in store.iterate_patterns()} == {"b.jsonl"}
    assert {each["partition"] for each in store.iterate_dead_letters()} == {"b.jsonl"}


def test_the_same_commits_after_a_clear_give_the_same_rows_and_counts(
    store: Store,
) -> None:
    """A cleared file is learned from again, from its start."""
    process(store, 500)
    rows, counters = list(store.iterate_patterns()), _checkpoint(store).counters
    store.clear(stage=STAGE, partition=PARTITION)
    process(store, 500)
    assert list(store.iterate_patterns()) == rows
    assert _checkpoint(store).counters == counters


def test_a_replay_is_done_once_for_each_run_that_asks(store: Store) -> None:
    """The retry of a replaying run goes on where that one stood."""
    process(store, 500)
    replayed = store.replay(stage=STAGE, partition=PARTITION, replayed_by="run-9")
    assert replayed is not None
    assert (replayed.from_offset, replayed.to_offset) == (500, 0)
    process(store, 200)
    assert store.replay(stage=STAGE, partition=PARTITION, replayed_by="run-9") is None
    assert _checkpoint(store).offset == 200
    assert store.replay(stage=STAGE, partition=PARTITION, replayed_by="run-10")
    assert _checkpoint(store).offset == 0


def test_rows_of_a_users_own_table_are_taken_back_too(store: Store) -> None:
    """Its name and columns are quoted: an SQL keyword will do."""
    table = stage_table(
        "order", sa.Column("group", sa.Text), sa.Column('a"b %s ?', sa.Text)
    )
    with open_session(store, stage="mine", table=table) as session:
        claim = session.claim(PARTITION)
        for end in (100, 200, 300):
            claim = session.commit(
                claim,
                BatchOutput([(end - 10, 0, "x", "y")], [], Counters(row_count=1)),
                end_offset=end,
                fingerprint=fingerprint_at(end),
                size_bytes=300,
            )
    process(store, 300)
    rewound = store.rewind(stage="mine", partition=PARTITION, to_offset=200)
    assert rewound.row_count == 1
    assert store.clear(stage="mine", partition=PARTITION).row_count == 2
    assert len(list(store.iterate_patterns())) == len(batch_output(0, 300).rows)


def _read_three(
    store: Store, *, stage: str = STAGE, table: sa.Table = patterns
) -> None:
    """Three generations, up to 300, 200 and 100, and 50 late ones of the first."""
    with open_session(store, stage=stage, table=table) as session:
        claim = session.claim(PARTITION)
        for generation, end in enumerate((300, 200, 100)):
            claim = commit_to(
                session, begin(session, claim, generation=generation), end
            )
        claim = begin(session, claim, generation=0)
        claim = session.commit(
            claim,
            batch_output(300, 350),
            end_offset=350,
            fingerprint=fingerprint_at(350),
            size_bytes=1000,
            is_late=True,
        )
        begin(session, claim, generation=2)


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 100])
def test_a_rewind_goes_back_over_generations(
    store: Store, generation: int, offset: int
) -> None:
    """Counts are those of all before it; where it stood elsewhere is kept or reset."""
    _read_three(store)
    (rewound,) = store.rewind_all(
        stages=[STAGE], partition=PARTITION, to=ToOffset(offset, generation)
    )
    checkpoint = _checkpoint(store)
    assert (checkpoint.generation, checkpoint.offset) == (generation, offset)
    assert list(store.contradictions()) == []
    ends = (350, 200, 100)
    before = [*ends[:generation], offset]
    expected = Counters()
    for end in before:
        expected += batch_output(0, end).counters
    assert checkpoint.counters.record_count == expected.record_count
    assert checkpoint.counters.events_by_kind == expected.events_by_kind
    assert checkpoint.counters.generation_change_count == 2
    assert [
        (each.generation, each.start_offset, each.end_offset)
        for each in rewound.taken_back
    ] == [
        (number, offset if number == generation else 0, ends[number])
        for number in range(generation, 3)
        if offset < ends[number] or number > generation
    ]
    state = store.partition_states([PARTITION])[PARTITION]
    assert {
        number: position.offset for (_, number), position in state.positions.items()
    } == {
        number: ends[number] if number < generation else 0
        for number in range(3)
        if number != generation
    }


def test_stages_go_back_together_or_not_at_all(store: Store, store_url: str) -> None:
    """One that cannot go there keeps the others; one not yet there stays."""
    columns = [sa.Column(each.name, each.type) for each in list(patterns.columns)[4:]]
    mine = stage_table("mine", *columns)
    _read_three(store)
    with open_session(store, stage="mine", table=mine) as session:
        commit_to(session, begin(session, session.claim(PARTITION)), 100)
    both = [STAGE, "mine"]
    before = contents(store_url)
    with pytest.raises(StoreError, match="different generations"):
        store.rewind_all(stages=both, partition=PARTITION, to=ToOffset(0))
    with pytest.raises(StoreError, match="no step"):
        store.rewind_all(stages=both, partition=PARTITION, to=ToTime("2020"))
    with pytest.raises(StoreError, match="no checkpoint"):
        store.rewind_all(stages=[STAGE, "x"], partition=PARTITION, to=ToOffset(0, 0))
    assert contents(store_url) == before
    (only,) = store.rewind_all(
        stages=both, partition=PARTITION, to=ToOffset(200, 0), dry_run=True
    )
    assert only.stage == STAGE
    rewound = store.rewind_all(stages=both, partition=PARTITION, to=ToOffset(0, 0))
    assert [each.stage for each in rewound] == both
    assert {each.offset for each in store.checkpoints()} == {0}
    assert list(store.iterate_patterns()) == []


def test_a_generation_that_retain_has_just_deleted_is_not_taken_back(
    store: Store, store_url: str
) -> None:
    """Between the look at the files and the transaction."""
    _read_three(store)
    engine = sa.create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tombstones).values(
                partition_id=1,
                generation=1,
                file_key="gone",
                size_bytes=200,
                start_offset=0,
                end_offset=200,
                digest=b"",
                action="delete",
                retired_at="2026",
            )
        )
    engine.dispose()
    before = contents(store_url)
    to = ToOffset(0, 1)
    with pytest.raises(StoreError, match="deletes generation 1"):
        store.rewind_all(stages=[STAGE], partition=PARTITION, to=to)
    assert contents(store_url) == before
    store.rewind_all(stages=[STAGE], partition=PARTITION, to=to, known_deleted=[1])
    assert _checkpoint(store).generation == 1


def test_the_history_keeps_as_many_steps_as_were_asked_for(store: Store) -> None:
    """And the start of each generation; twenty by default."""
    process(store, 900, history_count=3)
    assert [step.end_offset for step in store.history()] == [0, 700, 800, 900]
    with pytest.raises(StoreError, match="has no step 3 in its history; it has 1, 8"):
        store.rewind_all(stages=[STAGE], partition=PARTITION, to=ToStep(3))
