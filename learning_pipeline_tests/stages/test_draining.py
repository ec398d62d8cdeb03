"""Draining a file: resuming, and noticing that it is another one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_pipeline.errors import TelemetryFileMissingError
from learning_pipeline.model import Progress
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import Engine

LINES = list(generate_lines(60, seed=5))
CONTENT = b"".join(LINES)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine with nothing read."""
    return Engine(tmp_path)


def test_a_second_pass_over_the_same_file_does_nothing(engine: Engine) -> None:
    """A pass without new bytes commits nothing and changes no row."""
    engine.write(CONTENT)
    first = engine.drain()
    rows = engine.rows()
    second = engine.drain()
    assert first.run_event_count == len(LINES)
    assert (second.run_event_count, second.commit_count) == (0, 0)
    assert second.resumed_from_offset == len(CONTENT)
    assert engine.rows() == rows


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5),
    interval=st.integers(1, 30),
)
def test_growing_in_any_steps_gives_the_rows_of_one_pass(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], interval: int
) -> None:
    """Cut at any byte, read after each piece: the same rows, contiguous ranges."""
    whole = Engine(tmp_path_factory.mktemp("whole"))
    whole.write(CONTENT)
    whole.drain()
    grown = Engine(tmp_path_factory.mktemp("grown"), interval=interval)
    grown.write(b"")
    for start, end in itertools.pairwise([0, *sorted(cuts), len(CONTENT)]):
        grown.append(CONTENT[start:end])
        grown.drain()
    assert grown.rows() == whole.rows()


def test_a_torn_tail_is_left_until_its_newline_arrives(engine: Engine) -> None:
    """The half line is neither a record nor a dead letter."""
    engine.write(CONTENT[:-20])
    progress = engine.drain()
    assert progress.offset == len(CONTENT) - len(LINES[-1])
    assert progress.counters.dead_letter_count == 0
    engine.append(CONTENT[-20:])
    assert engine.drain().counters.event_count == len(LINES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"".join(LINES[:10]), "truncated", id="truncated"),
        pytest.param(
            b"".join(generate_lines(80, seed=6)), "replaced", id="replaced-by-longer"
        ),
        pytest.param(
            b"".join(LINES[:20]) + b"".join(generate_lines(80, seed=6)),
            "rewritten",
            id="truncated-and-regrown-with-equal-prefix",
        ),
    ],
)
def test_another_file_begins_a_generation_at_its_start(
    engine: Engine, content: bytes, reason: str
) -> None:
    """It is read from offset 0, the rows of the old one stay, and it is counted."""
    engine.write(CONTENT)
    engine.drain()
    old_rows = engine.rows()
    engine.write(content)
    progress = engine.drain()
    assert (progress.generation, progress.offset) == (1, len(content))
    assert progress.counters.generation_change_count == 1
    rows = engine.rows()
    assert [row for row in rows if row["generation"] == 0] == old_rows
    fresh = Engine(engine.folder / "fresh")
    fresh.write(content)
    fresh.drain()
    expected = [dict(row, generation=1) for row in fresh.rows()]
    assert [row for row in rows if row["generation"] == 1] == expected, reason


def test_an_emptied_file_begins_a_generation_with_its_first_byte(
    engine: Engine,
) -> None:
    """Until then there is nothing to know it by, and nothing to read."""
    engine.write(CONTENT)
    engine.drain()
    engine.write(b"")
    assert engine.drain().run_event_count == 0
    engine.append(LINES[3])
    progress = engine.drain()
    assert (progress.generation, progress.offset) == (1, len(LINES[3]))
    assert progress.counters.lost_bytes == 0


def test_unread_bytes_that_a_replacement_took_away_are_counted(engine: Engine) -> None:
    """What was seen of the old file and never read is lost, and said to be."""
    engine.write(CONTENT)

    def stop(progress: Progress) -> None:
        if progress.commit_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.drain(on_commit=stop)
    committed = len(b"".join(LINES[:20]))
    engine.write(b"".join(generate_lines(5, seed=7)))
    progress = engine.drain()
    assert progress.counters.lost_bytes == len(CONTENT) - committed


def test_what_a_listener_raises_ends_the_pass_at_a_batch_boundary(
    engine: Engine,
) -> None:
    """Everything before it is committed, and the next pass goes on behind it."""
    engine.write(CONTENT)

    def stop(progress: Progress) -> None:
        if progress.commit_count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.drain(on_commit=stop)
    with engine.store() as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.counters.event_count == 30
    assert engine.drain().run_event_count == 30


def test_a_file_that_vanished_and_came_back_is_not_read_twice(engine: Engine) -> None:
    """The same bytes are the same generation."""
    engine.write(CONTENT)
    engine.drain()
    (engine.root / "a.jsonl").rename(engine.folder / "away")
    with pytest.raises(TelemetryFileMissingError):
        engine.drain()
    (engine.folder / "away").rename(engine.root / "a.jsonl")
    progress = engine.drain()
    assert (progress.generation, progress.run_event_count) == (0, 0)


def test_two_files_that_begin_alike_are_not_confused(engine: Engine) -> None:
    """Each partition has a checkpoint and generations of its own."""
    engine.write(CONTENT)
    engine.write(CONTENT + LINES[0], partition="b.jsonl")
    engine.drain()
    assert engine.drain("b.jsonl").run_event_count == len(LINES) + 1
    assert engine.drain().run_event_count == 0


def test_stages_agree_on_the_generation_that_a_file_is(engine: Engine) -> None:
    """One that comes later joins the generation that another one noticed."""
    engine.write(CONTENT)
    engine.drain()
    engine.write(b"".join(generate_lines(30, seed=8)))
    engine.drain()
    with engine.store() as store:
        (ours,) = store.checkpoints()
    assert ours.generation == 1
    with engine.store() as store:
        store.clear(stage=ours.stage, partition=ours.partition)
    again = engine.drain()
    assert (again.generation, again.run_event_count) == (1, 30)
