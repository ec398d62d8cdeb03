"""Tombstones: recorded, synced, only where every stage has passed; on both stores."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa

from learning_pipeline.model import Checkpoint, Position, Sighting
from learning_pipeline.store import (
    PartitionState,
    Store,
    Tombstone,
    stage_table,
    why_not_passed,
)
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    begin,
    commit_to,
    open_session,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

TOMBSTONE = Tombstone(
    partition=PARTITION,
    generation=0,
    file_key="agents/a.jsonl.1",
    size_bytes=400,
    start_offset=0,
    end_offset=1000,
    digest=b"\x01" * 32,
    action="compress",
    retired_at="2026-11-01T00:00:00.000000+00:00",
)
other_table = stage_table("other_rows", sa.Column("note", sa.Text))


def pass_first_generation(store: Store, *, sync: bool = True) -> None:
    """Read a generation of 1,000 bytes to its end, and begin the next."""
    with open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 1000)
        claim = begin(session, claim, generation=1)
        if sync:
            session.sync([claim])


def test_a_tombstone_is_kept_as_it_was_recorded(store: Store) -> None:
    """A later one of the generation takes its place."""
    pass_first_generation(store)
    assert store.record_tombstone(TOMBSTONE) is None
    assert store.tombstones([PARTITION]) == [TOMBSTONE]
    assert store.tombstones(["another.jsonl"]) == []
    later = msgspec.structs.replace(TOMBSTONE, action="delete", size_bytes=40)
    assert store.record_tombstone(later) is None
    assert store.tombstones([PARTITION]) == [later]


def test_a_tombstone_that_is_taken_back_leaves_the_one_before(store: Store) -> None:
    """Or none."""
    pass_first_generation(store)
    store.record_tombstone(TOMBSTONE)
    later = msgspec.structs.replace(TOMBSTONE, action="delete")
    store.record_tombstone(later)
    store.take_back_tombstone(later, TOMBSTONE)
    assert store.tombstones([PARTITION]) == [TOMBSTONE]
    store.take_back_tombstone(TOMBSTONE, None)
    assert store.tombstones([PARTITION]) == []


def test_none_is_recorded_of_what_is_not_synced(store: Store) -> None:
    """A power cut could take the rows back."""
    pass_first_generation(store, sync=False)
    why = store.record_tombstone(TOMBSTONE)
    assert why is not None
    assert "stable storage" in why
    assert store.tombstones([PARTITION]) == []


def test_none_is_recorded_before_a_stage_that_is_behind(store: Store) -> None:
    """Nor of an unknown partition."""
    pass_first_generation(store)
    with open_session(store, stage="other", table=other_table) as session:
        session.claim("b.jsonl")
    assert store.record_tombstone(TOMBSTONE) == "other has not read this partition"
    unknown = msgspec.structs.replace(TOMBSTONE, partition="nowhere.jsonl")
    assert store.record_tombstone(unknown) is not None


@pytest.mark.parametrize(
    ("checkpoint", "position", "said"),
    [
        pytest.param(None, None, "not read this partition", id="never-claimed"),
        pytest.param((0, 0, 0), None, "not read this partition", id="only-claimed"),
        pytest.param((0, 9, 1000), None, "stands in it", id="present"),
        pytest.param((1, 9, 0), None, "read 0 of 1000", id="skipped"),
        pytest.param((1, 9, 0), (999, 999, 1000), "read 999 of 1000", id="behind"),
        pytest.param((1, 9, 0), (1001, 1001, 1001), "only the beginning", id="copy"),
        pytest.param((1, 9, 0), (1000, 999, 1000), "stable storage", id="unsynced"),
        pytest.param((1, 9, 0), (1000, 1000, 1007), "7 bytes were cut", id="cut-off"),
        pytest.param((1, 9, 0), (1000, 1000, 1000), None, id="passed"),
    ],
)
def test_what_keeps_a_generation_is_said(
    checkpoint: tuple[int, int, int] | None,
    position: tuple[int, int, int] | None,
    said: str | None,
) -> None:
    """For one stage; offsets, and what of them is synced, decide."""
    state = PartitionState()
    if checkpoint is not None:
        generation, sequence, offset = checkpoint
        state.checkpoints[STAGE] = Checkpoint(
            stage=STAGE,
            partition=PARTITION,
            generation=generation,
            sequence=sequence,
            offset=offset,
            synced_offset=offset,
        )
    if position is not None:
        offset, synced_offset, size_bytes = position
        state.positions[STAGE, 0] = Position(
            offset=offset, synced_offset=synced_offset, size_bytes=size_bytes
        )
    why = why_not_passed(state, [STAGE], 0, 1000)
    assert (why is None) == (said is None)
    assert (said or "") in (why or "")


def test_without_any_stage_nothing_goes() -> None:
    """Nobody has read anything."""
    assert why_not_passed(PartitionState(), [], 0, 0) is not None


def test_the_commit_of_a_tombstone_is_synced(store: Store) -> None:
    """As it stands inside of its transaction: before any file goes."""
    pass_first_generation(store)
    seen: list[object] = []
    is_sqlite = store._engine.dialect.name == "sqlite"
    ask = "PRAGMA synchronous" if is_sqlite else "SHOW synchronous_commit"

    def look(connection: Connection, _: Any, statement: str, *__: object) -> None:
        if statement.startswith("INSERT INTO tombstones"):
            driver: Any = connection.connection.driver_connection
            seen.append(driver.execute(ask).fetchone()[0])

    sa.event.listen(store._engine, "before_cursor_execute", look)
    store.record_tombstone(TOMBSTONE)
    assert seen == [2 if is_sqlite else "on"]


def test_a_commit_waits_for_a_tombstone_that_is_being_recorded(store: Store) -> None:
    """So what the tombstone's transaction has looked at holds until its end."""
    pass_first_generation(store)
    order: list[str] = []

    def claim() -> None:
        with open_session(store, run_id="run-2") as session:
            session.claim(PARTITION)
        order.append("claimed")

    other = threading.Thread(target=claim)

    def begin_to_claim(*_: object) -> None:
        if not other.ident:
            other.start()
            other.join(0.3)
            order.append("recorded")

    def look(connection: Connection, _: Any, statement: str, *__: object) -> None:
        if statement.startswith("INSERT INTO tombstones"):
            begin_to_claim(connection)

    sa.event.listen(store._engine, "before_cursor_execute", look)
    assert store.record_tombstone(TOMBSTONE) is None
    other.join(30)
    assert order == ["recorded", "claimed"]


def test_states_hold_what_all_stages_have_stored(store: Store) -> None:
    """Of the partitions asked for; also for more than a statement takes."""
    pass_first_generation(store)
    with open_session(store, stage="other", table=other_table) as session:
        session.claim(PARTITION)
    sighting = Sighting(
        file_key="agents/a.jsonl.1",
        inode=7,
        size_bytes=400,
        mtime_ns=1,
        noted_at_ns=2,
        generation=0,
        content_bytes=1000,
        end_digest=b"\x02" * 16,
    )
    for size_bytes in (1, 400):
        store.note_sighting(
            PARTITION, msgspec.structs.replace(sighting, size_bytes=size_bytes)
        )
    many = [f"{number}.jsonl" for number in range(1200)]
    states = store.partition_states([*many, PARTITION, PARTITION])
    assert list(states) == [PARTITION]
    state = states[PARTITION]
    assert set(state.checkpoints) == {STAGE, "other"}
    assert set(state.generations) == {0, 1}
    assert state.sightings == [sighting]
    position = state.position(STAGE, 0)
    assert position is not None
    assert (position.offset, position.synced_offset) == (1000, 1000)
    present = state.position(STAGE, 1)
    assert present is not None
    assert present.offset == 0
    assert state.position("other", 0) is None
    assert store.stages() == [STAGE, "other"]


def test_states_are_asked_for_in_few_queries(sqlite_url: str) -> None:
    """Four for each five hundred partitions, however many those have."""
    with Store(sqlite_url) as store:
        pass_first_generation(store)
        queries: list[str] = []

        def count(_: object, __: object, statement: str, *___: object) -> None:
            queries.append(statement)

        sa.event.listen(store._engine, "before_cursor_execute", count)
        store.partition_states([f"{number}.jsonl" for number in range(2000)])
        selects = [each for each in queries if each.startswith("SELECT")]
    assert len(selects) == 16
