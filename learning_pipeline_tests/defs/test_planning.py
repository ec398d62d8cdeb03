"""Which files need a run, and which have one under way."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from learning_pipeline.defs.planning import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MAX_ASKS,
    Ask,
    UnreadFile,
    choose,
    files_to_learn,
    files_with_unread,
    remember,
)
from learning_pipeline.model import Checkpoint, FileStatus, PhysicalFile
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.names import READING_STAGES, UPSTREAM_OF
from learning_pipeline.store import Store
from learning_pipeline.store.index_feed import add_changes
from learning_pipeline.telemetry import discover
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import STAGE, Workbench

KEY = "a.jsonl"


def unread(bench: Workbench) -> list[str]:
    """The files that the plan finds to be unread right now, in its order."""
    settings = load_settings()
    with Store(bench.pipeline.store_url) as store:
        found = files_with_unread(
            discover(
                settings.telemetry_dir, settings.patterns, store.known_partitions()
            ).files,
            store.checkpoints(stage=STAGE),
        )
    return [each.partition for each in found]


def test_a_file_is_unread_until_a_pass_and_again_when_it_grows(
    bench: Workbench,
) -> None:
    """New, read, grown."""
    lines = list(generate_lines(30))
    bench.write(KEY, b"".join(lines[:20]))
    bench.write("empty.jsonl", b"")
    assert unread(bench) == [KEY]
    assert bench.run([KEY]).success
    assert unread(bench) == []
    bench.append(KEY, lines[20])
    assert unread(bench) == [KEY]


def test_a_torn_tail_alone_is_not_asked_for_twice(bench: Workbench) -> None:
    """A run that saw it cannot read more; only more bytes can help."""
    line = next(generate_lines(1))
    bench.write(KEY, line + line[:40])
    assert bench.run([KEY]).success
    assert bench.checkpoint(KEY).offset == len(line)
    assert unread(bench) == []
    bench.append(KEY, line[40:])
    assert unread(bench) == [KEY]


def test_a_file_that_regrew_to_the_same_size_is_seen_by_its_age(
    bench: Workbench,
) -> None:
    """Truncated and rewritten between two looks: the size alone says nothing."""
    bench.write(KEY, b"".join(generate_lines(5, seed=1)))
    assert bench.run([KEY]).success
    path = bench.pipeline.telemetry / KEY
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    assert unread(bench) == [KEY]


def test_the_most_lag_comes_first(bench: Workbench) -> None:
    """What is behind the committed offset counts, not the size of the file."""
    lines = list(generate_lines(60))
    for name, count in (("a", 20), ("b", 40), ("c", 5)):
        bench.write(f"{name}.jsonl", b"".join(lines[:count]))
    assert unread(bench) == ["b.jsonl", "a.jsonl", "c.jsonl"]
    assert bench.run(["a.jsonl", "b.jsonl", "c.jsonl"]).success
    bench.append("c.jsonl", b"".join(lines[5:15]))
    bench.append("b.jsonl", lines[40])
    assert unread(bench) == ["c.jsonl", "b.jsonl"]


def found(
    key: str = KEY,
    *,
    size_bytes: int = 100,
    signature: str = "as it was",
    offset: int = 0,
    generation: int = 0,
) -> UnreadFile:
    """An unread file, and where the stage stands in it."""
    return UnreadFile(
        FileStatus(
            partition=key, size_bytes=size_bytes, mtime_ns=1, signature=signature
        ),
        Checkpoint(stage=STAGE, partition=key, offset=offset, generation=generation),
    )


def asked(
    file: UnreadFile, asks: Mapping[str, Ask], now: float, *, busy: bool = False
) -> tuple[bool, dict[str, Ask]]:
    """Whether the file is asked for now, and what is remembered."""
    chosen = choose(
        [file], asks, busy=frozenset({file.partition} if busy else ()), now=now
    )
    return chosen == [file], remember([file], chosen, asks, now=now)


def test_an_unchanged_failing_file_is_asked_for_with_doubling_pauses_for_ever() -> None:
    """A minute, two, four, at most an hour; never dropped."""
    asks: dict[str, Ask] = {}
    times = []
    for now in range(0, 24 * 3600, 10):
        is_asked, asks = asked(found(), asks, now)
        if is_asked:
            times.append(now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    expected = [FIRST_PAUSE_SECONDS * 2**power for power in range(6)]
    assert pauses[:6] == expected
    assert set(pauses[6:]) == {LONGEST_PAUSE_SECONDS}
    assert len(pauses) > 20


@pytest.mark.parametrize(
    "changed",
    [found(signature="changed"), found(offset=50), found(generation=1)],
    ids=["grown or rewritten", "partly read", "rotated away and drained"],
)
def test_a_file_that_changed_since_it_was_asked_for_is_asked_at_once(
    changed: UnreadFile,
) -> None:
    """The pause is for what failed and stays as it was; it also begins anew."""
    asks: dict[str, Ask] = {}
    for now in (0, 60, 180):
        is_asked, asks = asked(found(), asks, now)
        assert is_asked
    is_asked, asks = asked(changed, asks, 181)
    assert is_asked
    assert not asked(changed, asks, 181 + 59)[0]
    assert asked(changed, asks, 181 + 60)[0]


def test_a_large_file_is_asked_for_without_a_pause_while_its_runs_make_progress() -> (
    None
):
    """Each stops at the bound of a run; the rest does not wait as after a failure."""
    asks: dict[str, Ask] = {}
    for number in range(100):
        is_asked, asks = asked(found(size_bytes=1000, offset=10 * number), asks, number)
        assert is_asked


def test_a_file_with_a_run_under_way_is_not_asked_for_but_remembered() -> None:
    """What is remembered of it stays, to be compared when the run is over."""
    _, asks = asked(found(), {}, 0)
    assert asked(found(signature="grown"), asks, 1000, busy=True) == (False, asks)


def test_a_file_that_was_read_is_forgotten() -> None:
    """Only unread files take space in the cursor."""
    _, asks = asked(found(), {}, 0)
    assert remember([], [], asks, now=1.0) == {}


def test_only_the_latest_asks_are_remembered() -> None:
    """Dagster stores the cursor with every tick: it stays small in any fleet."""
    files = [found(f"{number}.jsonl") for number in range(MAX_ASKS + 10)]
    early = remember(files, files[:20], {}, now=1)
    asks = remember(files, files[20:], early, now=2)
    assert len(asks) == MAX_ASKS
    assert set(asks) > {file.partition for file in files[20:]}
    # A bound that is not small enough is none: this is written every 30 seconds.
    assert len(msgspec.json.encode(asks)) < 400_000


def lag_of(size_bytes: int, checkpoint: Checkpoint | None, *rotated_bytes: int) -> int:
    """The lag of a file that is so large, with rotated ones beside it."""
    files = [
        PhysicalFile(
            key=f"{KEY}.{number}",
            size_bytes=each,
            mtime_ns=1,
            inode=number,
            is_active=False,
        )
        for number, each in enumerate(rotated_bytes, 1)
    ]
    files.append(PhysicalFile(key=KEY, size_bytes=size_bytes, mtime_ns=1, inode=0))
    status = FileStatus(
        partition=KEY, size_bytes=size_bytes, mtime_ns=1, signature="", files=files
    )
    return UnreadFile(status, checkpoint).lag_bytes


def test_the_lag_includes_what_was_rotated_away_as_far_as_it_is_known() -> None:
    """All of it at first; later the unread end of the file that was being read."""
    read = Checkpoint(stage=STAGE, partition=KEY, offset=80, size_bytes=100)
    assert lag_of(100, None) == 100
    assert lag_of(100, None, 30, 5) == 135
    assert lag_of(100, read) == 20
    assert lag_of(10, read, 100) == 30


@pytest.mark.usefixtures("all_stages")
def test_files_to_learn_are_those_that_any_stage_is_behind_in(bench: Workbench) -> None:
    """Until the last one; also when the file itself is gone; also for changes alone."""
    bench.write(KEY, b"".join(generate_lines(20)))
    settings = load_settings()
    files = discover(settings.telemetry_dir, settings.patterns, ()).files

    def to_learn(found: Sequence[FileStatus]) -> list[tuple[str, bool]]:
        with bench.store() as store:
            return [
                (each.partition, each.is_read) for each in files_to_learn(found, store)
            ]

    assert to_learn(files) == [(KEY, False)]
    bench.run([KEY], stages=READING_STAGES)
    assert to_learn([]) == [(KEY, True)]
    bench.run([KEY], stages=list(UPSTREAM_OF))
    assert to_learn([]) == []
    with bench.store() as store:
        add_changes(store, [b"\0" * 32])
    assert to_learn([]) == [(KEY, True)]
    bench.run([KEY], stages=list(UPSTREAM_OF))
    assert to_learn([]) == []
