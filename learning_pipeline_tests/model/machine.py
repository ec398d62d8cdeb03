"""The state machine: files change, passes run and are disturbed, and all is compared.

THE oracle, after every pass: the stored rows and dead letters are those of the bytes
that the model expects to be read, each once, by generation and offset; the counters
agree with them; what is lost is what the model lost; committed ranges are contiguous.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from learning_pipeline import steps
from learning_pipeline.errors import (
    FencedError,
    StoreUnavailableError,
    TelemetryFileMissingError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.stages.audit import range_problems
from learning_pipeline_tests.model.lines import good_line
from learning_pipeline_tests.model.reader import Reader, Seen, seen_in
from learning_pipeline_tests.model.subject import (
    STAGES,
    Subject,
    listening,
    new_database,
)
from learning_pipeline_tests.model.world import CHANGES, NAMINGS, World

STEMS = ("a", "b")
HEADERS = (b"", b"", good_line("the same"), good_line("the same", padding=200))

stages = st.sampled_from(sorted(STAGES))
stems = st.sampled_from(STEMS)
numbers = st.integers(0, 99)
changes = st.sampled_from(CHANGES)
step_names = st.sampled_from([name for name in steps.NAMES if "report" not in name])

OUTSIDE_TRANSACTIONS = (
    *("load.before", "load.after", "extract.after", "commit.after"),
    *("generation.before", "generation.after", "finish.before", "sync.before"),
)


class Crash(BaseException):
    """The process ends here, as far as the pass can tell."""


class Telemetry(RuleBasedStateMachine):
    """Two partitions, two stages, and everything that happens to them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lp-model-"))
        self.subject = Subject(self.folder)
        self.readers = {(name, stem): Reader() for name in STAGES for stem in STEMS}
        self.worlds: dict[str, World] = {}

    def teardown(self) -> None:
        """Whatever happened, in the end one whole pass gives everything."""
        try:
            if self.worlds and sys.exc_info() == (None, None, None):
                for stem in STEMS:
                    for name in STAGES:
                        self.run(name, stem)
                        self.run(name, stem)
        finally:
            self.subject.close()
            shutil.rmtree(self.folder)

    @initialize(
        interval=st.integers(1, 3),
        small=st.booleans(),
        namings=st.tuples(st.sampled_from(NAMINGS), st.sampled_from(NAMINGS)),
        header=st.sampled_from(HEADERS),
    )
    def begin(self, interval: int, small: bool, namings: tuple, header: bytes) -> None:  # type: ignore[type-arg]  # noqa: FBT001
        """Both partitions' files begin with the same bytes."""
        self.subject.interval = interval
        self.subject.chunk_bytes = 64 if small else 2**18
        self.subject.root.mkdir()
        new_database(self.folder.parent / "lp-model-template.db", self.folder)
        for stem, naming in zip(STEMS, namings, strict=True):
            world = World(self.subject.root, stem, naming, header)
            world.append(interval, 0)
            self.worlds[stem] = world

    # What happens to files.

    @rule(stem=stems, change=changes, x=numbers, y=numbers)
    def change(self, stem: str, change: str, x: int, y: int) -> None:
        """One change."""
        if not getattr(self.worlds[stem], change)(x, y):
            self.worlds[stem].append(x, y)

    # Passes.

    @rule(name=stages, stem=stems)
    def run(self, name: str, stem: str) -> None:
        """A whole pass."""
        world, reader = self.worlds[stem], self.readers[name, stem]
        files = seen_in(world)
        self._require_skipping_is_safe(name, stem, files)
        before = self.subject.stored(name, world.partition)
        taken = self._numbers_taken(stem)
        if world.files():
            assert self.subject.drain(name, world.partition).is_complete
        else:
            with pytest.raises(TelemetryFileMissingError):
                self.subject.drain(name, world.partition)
        stored = self.subject.stored(name, world.partition)
        # A number that another stage gave says nothing of the order of this one.
        in_order = not (set(stored) - set(before)) & taken
        reader.whole_pass(files, stored, in_order=in_order)
        self._compare(name, stem)

    @rule(stem=stems)
    def run_both(self, stem: str) -> None:
        """A whole pass of each stage."""
        for name in STAGES:
            self.run(name, stem)

    @rule(name=stages, stem=stems, limit=st.integers(1, 600))
    def run_on_budget(self, name: str, stem: str, limit: int) -> None:
        """A pass that may read only so much."""
        world, reader = self.worlds[stem], self.readers[name, stem]
        files = seen_in(world)
        if not files:
            return
        is_complete = self.subject.drain(
            name, world.partition, max_bytes=limit
        ).is_complete
        stored = self.subject.stored(name, world.partition)
        note(f"complete: {is_complete}")
        if is_complete:
            reader.whole_pass(files, stored, in_order=False)
        else:
            reader.disturbed_pass(files, stored)
        self._compare(name, stem, is_whole=is_complete)

    @rule(
        name=stages,
        stem=stems,
        step=step_names,
        at=st.integers(1, 6),
        chance=st.integers(0, 9),
    )
    def crash(self, name: str, stem: str, step: str, at: int, chance: int) -> None:
        """A pass ends at a step; one in ten is killed, the others only give up."""

        def crash() -> None:
            raise Crash

        if chance == 9:
            partition = self.worlds[stem].partition
            self.subject.drain_and_die(name, partition, step, at)
        else:
            try:
                self._disturb(name, stem, step, at, crash)
            except (Crash, TelemetryFileMissingError) as error:
                note(type(error).__name__)
        self._after_disturbance(name, stem)

    @rule(name=stages, stem=stems, pages=st.integers(0, 2))
    def run_on_full_disk(self, name: str, stem: str, pages: int) -> None:
        """The database cannot grow any more."""
        world = self.worlds[stem]
        try:
            self.subject.drain(name, world.partition, free_pages=pages)
        except (StoreUnavailableError, TelemetryFileMissingError) as error:
            note(type(error).__name__)
        self._after_disturbance(name, stem)

    @rule(
        name=stages,
        stem=stems,
        step=st.sampled_from(OUTSIDE_TRANSACTIONS),
        at=st.integers(1, 4),
        change=changes,
        x=numbers,
        y=numbers,
    )
    def change_meanwhile(  # noqa: PLR0913, PLR0917 - drawn by name
        self, name: str, stem: str, step: str, at: int, change: str, x: int, y: int
    ) -> None:
        """Files change while a pass stands at a step."""
        world, reader = self.worlds[stem], self.readers[name, stem]
        before: list[Seen] = []

        def change_now() -> None:
            note(f"{change} now")
            before.extend(seen_in(world))
            reader.disturbed_pass(before, self.subject.stored(name, world.partition))
            if not getattr(world, change)(x, y):
                world.append(x, y)

        try:
            self._disturb(name, stem, step, at, change_now)
        except (TelemetryFileMissingError, TelemetryFileUnreadableError) as error:
            note(type(error).__name__)
        self._after_disturbance(name, stem, before)

    @rule(
        name=stages,
        stem=stems,
        step=st.sampled_from(OUTSIDE_TRANSACTIONS),
        at=st.integers(1, 4),
        other=stages,
    )
    def run_meanwhile(
        self, name: str, stem: str, step: str, at: int, other: str
    ) -> None:
        """Another run makes a whole pass; one of the same stage fences this one."""
        has_run = False

        def run_now() -> None:
            nonlocal has_run
            has_run = True
            self._before_other_run(name, stem)
            self.run(other, stem)

        try:
            self._disturb(name, stem, step, at, run_now)
        except FencedError:
            assert has_run
            assert name == other
            self._compare(name, stem, is_whole=False)
            return
        except TelemetryFileMissingError:
            pass
        else:
            late = step in {"load.before", "sync.before"}
            assert not (has_run and name == other) or late
        self._after_disturbance(name, stem)

    # What operators do.

    @rule(name=stages, stem=stems, share=st.floats(0, 1))
    def rewind(self, name: str, stem: str, share: float) -> None:
        """Back to an offset."""
        partition = self.worlds[stem].partition
        checkpoint = self.subject.checkpoint(name, partition)
        if checkpoint is None:
            return
        to_offset = int(checkpoint.offset * share)
        rewound = self.subject.store.rewind(
            stage=name, partition=partition, to_offset=to_offset
        )
        note(f"{rewound}")
        assert rewound.to_offset <= to_offset
        self.readers[name, stem].rewound(self.subject.stored(name, partition))
        self._compare(name, stem, is_whole=False)

    @rule(name=stages, stem=stems)
    def clear(self, name: str, stem: str) -> None:
        """All of a stage's work on a partition is forgotten."""
        partition = self.worlds[stem].partition
        if self.subject.checkpoint(name, partition) is None:
            return
        self.subject.store.clear(stage=name, partition=partition)
        stored = self.subject.stored(name, partition)
        assert not any(each.offset for each in stored.values())
        self.readers[name, stem] = Reader()
        self._compare(name, stem)

    def _disturb(
        self, name: str, stem: str, step: str, at: int, act: Callable[[], None]
    ) -> None:
        """One pass; `act` once, when a step is reached for the `at`-th time."""
        count = 0

        def listener(reached: str) -> None:
            nonlocal count
            if reached == step:
                count += 1
                if count == at:
                    steps.listen(None)
                    act()

        with listening(listener):
            self.subject.drain(name, self.worlds[stem].partition)

    def _before_other_run(self, name: str, stem: str) -> None:
        world = self.worlds[stem]
        self.readers[name, stem].disturbed_pass(
            seen_in(world), self.subject.stored(name, world.partition)
        )

    def _after_disturbance(
        self, name: str, stem: str, before: Sequence[Seen] = ()
    ) -> None:
        world, reader = self.worlds[stem], self.readers[name, stem]
        reader.disturbed_pass(
            seen_in(world),
            self.subject.stored(name, world.partition),
            before=before,
        )
        self._compare(name, stem, is_whole=False)

    def _numbers_taken(self, stem: str) -> set[int]:
        partition = self.worlds[stem].partition
        return {
            number for name in STAGES for number in self.subject.stored(name, partition)
        }

    def _require_skipping_is_safe(
        self, name: str, stem: str, files: list[Seen]
    ) -> None:
        """What a sensor would not ask for may hold nothing unread."""
        world = self.worlds[stem]
        checkpoint = self.subject.checkpoint(name, world.partition)
        if checkpoint is None or checkpoint.seen_signature is None:
            return
        if checkpoint.seen_signature == self.subject.signature(world.partition):
            assert self.readers[name, stem].may_skip(files)

    def _compare(self, name: str, stem: str, *, is_whole: bool = True) -> None:
        partition = self.worlds[stem].partition
        reader, checkpoint = (
            self.readers[name, stem],
            self.subject.checkpoint(name, partition),
        )
        if checkpoint is None:
            return
        history = self.subject.store.history(stage=name, keys=[partition])
        assert range_problems(history, [checkpoint]) == []
        stored = self.subject.stored(name, partition).values()
        counters = checkpoint.counters
        row_count = sum(len(each.outcome.rows) for each in stored)
        letter_count = sum(len(each.outcome.dead_letters) for each in stored)
        assert counters.row_count == row_count
        assert counters.dead_letter_count == letter_count
        assert counters.record_count == row_count + letter_count
        assert counters.event_count == row_count
        if reader.is_exact and is_whole:
            assert counters.lost_bytes == reader.lost_bytes, (
                f"{counters.lost_bytes} bytes lost, expected {reader.lost_bytes}"
            )
        assert counters.lost_bytes >= 0
