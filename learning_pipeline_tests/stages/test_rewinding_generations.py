"""Rewinds over rotated files: to any step, and the next run makes it as it was."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learning_pipeline.model import Counters, Progress
from learning_pipeline.stages.audit import range_problems
from learning_pipeline.stages.learnable import unlearnable
from learning_pipeline.store import ToOffset, ToStep, ToTime
from learning_pipeline.telemetry import Listings, telemetry_matcher
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import STAGE, Engine

ACTIVE = "a.jsonl"
LINES = [
    b"{broken\n" if number % 7 == 3 else line
    for number, line in enumerate(generate_lines(200, seed=5))
]


@dataclass
class Fleet:
    """One file that grows and rotates, and a stage that reads it."""

    engine: Engine
    rotated: list[Path] = field(default_factory=list)
    lines: Any = field(default_factory=lambda: cycle(LINES))

    def append(self, count: int, path: Path | None = None) -> None:
        """Let the active file grow, or another."""
        with (path or self.engine.root / ACTIVE).open("ab") as file:
            file.writelines(next(self.lines) for _ in range(count))

    def rotate(self, *, compress: bool = False) -> None:
        """Put the active file away under the name of the next day."""
        source = self.engine.root / ACTIVE
        if not source.exists():
            return
        target = self.engine.root / f"{ACTIVE}-202601{len(self.rotated) + 10}"
        source.rename(target)
        if compress:
            packed = target.with_name(target.name + ".gz")
            packed.write_bytes(gzip.compress(target.read_bytes()))
            target.unlink()
            target = packed
        self.rotated.append(target)

    def append_late(self, count: int) -> None:
        """Let the newest rotated file grow after the stage has left it."""
        if self.rotated and self.rotated[-1].suffix != ".gz":
            self.append(count, self.rotated[-1])

    def drain(self) -> None:
        """Read all there is."""
        if any(self.engine.root.iterdir()):
            self.engine.drain()

    def state(self) -> tuple[Any, ...]:
        """Rows, counters, dead letters and where the stage stands."""
        with self.engine.store() as store:
            (checkpoint,) = store.checkpoints()
            letters = [
                {**each, "rejected_at": "", "run_id": ""}
                for each in store.iterate_dead_letters()
            ]
            place = (checkpoint.generation, checkpoint.offset)
            return list(store.iterate_patterns()), checkpoint.counters, letters, place

    def assert_sound(self) -> None:
        """Nothing contradicts itself, and each step counts what stands before it."""
        with self.engine.store() as store:
            assert list(store.contradictions()) == []
            steps, rows = store.history(), list(store.iterate_patterns())
            assert range_problems(steps, store.checkpoints()) == []
        for step in steps:
            end = (step.generation, step.end_offset)
            before = sum((row["generation"], row["offset"]) < end for row in rows)
            assert step.counters.row_count == before, step


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Nothing was written yet; five records a commit."""
    return Fleet(Engine(tmp_path, interval=5))


OPERATIONS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("append"), st.integers(3, 17)),
            st.tuples(st.just("append_late"), st.integers(3, 9)),
            st.tuples(st.just("rotate"), st.booleans()),
        ),
        st.booleans(),
    ),
    min_size=4,
    max_size=10,
)
"""What happens to the file, and whether a run follows."""


@settings(max_examples=20, deadline=None)
@example(
    operations=[
        (("rotate", False), True),
        (("append", 9), True),
        (("append_late", 8), True),
        (("append", 9), True),
    ],
    choices=[0, 3, 7],
)
@given(
    operations=OPERATIONS, choices=st.lists(st.integers(0, 99), min_size=1, max_size=3)
)
def test_after_a_rewind_to_any_step_the_next_run_makes_it_as_it_was(
    operations: list[tuple[tuple[str, Any], bool]], choices: list[int]
) -> None:
    """However files rotated and grew, late too; several rewinds in a row."""
    folder = Path(tempfile.mkdtemp(prefix="lp-rewinds-"))
    try:
        fleet = Fleet(Engine(folder, interval=5))
        fleet.append(6)
        for (name, argument), is_followed in operations:
            if name == "rotate":
                fleet.rotate(compress=argument)
            else:
                getattr(fleet, name)(argument)
            if is_followed:
                fleet.drain()
        fleet.append(2)
        fleet.drain()
        before = fleet.state()
        fleet.assert_sound()
        for choice in choices:
            with fleet.engine.store() as store:
                steps = store.history()
                to = ToStep(steps[choice % len(steps)].sequence)
                store.rewind_all(stages=[STAGE], partition=ACTIVE, to=to)
            fleet.assert_sound()
            if choice % 2:
                fleet.drain()
                assert fleet.state() == before
                fleet.assert_sound()
        fleet.drain()
        assert fleet.state() == before
    finally:
        shutil.rmtree(folder)


def test_what_was_read_late_stands_before_later_generations(fleet: Fleet) -> None:
    """A rewind to their first byte keeps it, and one before it takes them along."""
    fleet.append(10)
    fleet.drain()
    fleet.rotate()
    fleet.append(10)
    fleet.drain()
    fleet.append_late(5)
    fleet.append(5)
    fleet.drain()
    before = fleet.state()
    fleet.assert_sound()
    late_rows = [row for row in before[0] if row["generation"] == 0]
    with fleet.engine.store() as store:
        store.rewind_all(stages=[STAGE], partition=ACTIVE, to=ToOffset(0, 1))
    rows, counters, _, place = fleet.state()
    assert (rows, place) == (late_rows, (1, 0))
    with fleet.engine.store() as store:
        # Else nothing would seem to be new.
        assert [each.seen_signature for each in store.checkpoints()] == [None]
    assert counters.record_count == 15
    fleet.assert_sound()
    fleet.drain()
    assert fleet.state() == before


def test_what_is_read_late_after_a_rewind_is_counted_where_it_stands(
    fleet: Fleet,
) -> None:
    """The generations behind it were entered again, and begun once."""
    fleet.append(10)
    fleet.drain()
    fleet.rotate()
    fleet.append(10)
    fleet.drain()
    with fleet.engine.store() as store:
        store.rewind_all(stages=[STAGE], partition=ACTIVE, to=ToOffset(0, 0))
    fleet.drain()
    fleet.append_late(5)
    fleet.append(5)
    fleet.drain()
    fleet.assert_sound()
    assert fleet.state()[1].generation_change_count == 1


def test_a_rewind_to_a_time_takes_back_all_that_was_committed_later(
    fleet: Fleet,
) -> None:
    """Also what was read late, before bytes that were committed earlier."""
    fleet.append(10)
    fleet.drain()
    fleet.rotate()
    fleet.append(10)
    fleet.drain()
    with fleet.engine.store() as store:
        at = store.history()[-1].committed_at
    rows = fleet.state()[0]
    fleet.append_late(5)
    fleet.append(5)
    fleet.drain()
    before = fleet.state()
    with fleet.engine.store() as store:
        (rewound,) = store.rewind_all(stages=[STAGE], partition=ACTIVE, to=ToTime(at))
    assert [each.generation for each in rewound.taken_back] == [0, 1]
    assert fleet.state()[0] == [row for row in rows if row["generation"] == 0]
    fleet.drain()
    assert fleet.state() == before


def test_bytes_that_vanish_after_a_rewind_are_counted_as_lost(fleet: Fleet) -> None:
    """Of every generation that was to be read again; found again, they are not."""
    for _ in range(3):
        fleet.append(10)
        fleet.drain()
        fleet.rotate()
    fleet.append(10)
    fleet.drain()
    before = fleet.state()
    with fleet.engine.store() as store:
        (rewound,) = store.rewind_all(
            stages=[STAGE], partition=ACTIVE, to=ToOffset(0, 1)
        )
    gone = fleet.rotated[1:]
    lost_bytes = sum(path.stat().st_size for path in gone)
    for path in gone:
        path.rename(fleet.engine.folder / path.name)
    fleet.drain()
    assert fleet.state()[1].lost_bytes == lost_bytes
    with fleet.engine.store() as store:
        store.rewind_all(stages=[STAGE], partition=ACTIVE, to=ToOffset(0, 3))
    assert fleet.state()[1].lost_bytes == lost_bytes
    assert [each.end_offset for each in rewound.taken_back[:2]] == [
        (fleet.engine.folder / path.name).stat().st_size for path in gone
    ]
    for path in gone:
        (fleet.engine.folder / path.name).rename(path)
    fleet.drain()
    assert fleet.state() == before


def test_a_cleared_file_is_read_again_in_all_its_generations(fleet: Fleet) -> None:
    """Those whose files are still there, under the same numbers."""
    for _ in range(2):
        fleet.append(10)
        fleet.drain()
        fleet.rotate(compress=True)
    fleet.append(10)
    fleet.drain()
    before = fleet.state()
    with fleet.engine.store() as store:
        cleared = store.clear(stage=STAGE, partition=ACTIVE)
        (checkpoint,) = store.checkpoints()
    assert [each.generation for each in cleared.taken_back] == [0, 1, 2]
    assert (checkpoint.sequence, checkpoint.counters) == (0, Counters())
    fleet.drain()
    assert fleet.state() == before
    fleet.assert_sound()


@pytest.mark.parametrize("generation", [0, 1])
def test_a_generation_that_is_gone_is_named_before_a_rewind(
    fleet: Fleet, generation: int
) -> None:
    """And one that was cut off; those that are there in full are not named."""
    for _ in range(2):
        fleet.append(10)
        fleet.drain()
        fleet.rotate()
    fleet.append(10)
    fleet.drain()
    path = fleet.rotated[generation]
    if generation:
        os.truncate(path, path.stat().st_size - 10)
    else:
        path.unlink()
    with fleet.engine.store() as store:
        rewound = store.rewind_all(
            stages=[STAGE], partition=ACTIVE, to=ToOffset(0, 0), dry_run=True
        )
        found = list(
            unlearnable(
                rewound,
                store.partition_states([ACTIVE])[ACTIVE],
                store.tombstones([ACTIVE]),
                telemetry_root=fleet.engine.root,
                listings=Listings(fleet.engine.root, telemetry_matcher(["*.jsonl"])),
                known_keys=store.known_partitions,
            )
        )
    assert [(each.stage, each.generation) for each in found] == [(STAGE, generation)]


def test_a_replay_reads_the_newest_generation_again(fleet: Fleet) -> None:
    """Also when a run was ended while it read what was late."""
    fleet.append(10)
    fleet.drain()
    fleet.rotate()
    fleet.append(10)
    fleet.drain()
    fleet.append_late(9)
    before = fleet.state()

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.engine.drain(on_commit=stop)
    assert fleet.state()[3][0] == 0
    with fleet.engine.store() as store:
        replayed = store.replay(stage=STAGE, partition=ACTIVE, replayed_by="run-9")
    assert replayed is not None
    assert [each.generation for each in replayed.taken_back] == [1]
    fleet.drain()
    fleet.assert_sound()
    assert [row for row in fleet.state()[0] if row["generation"]] == [
        row for row in before[0] if row["generation"]
    ]
