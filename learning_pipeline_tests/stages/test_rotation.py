"""Files that are rotated, compressed, truncated, taken away and brought back."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from learning_pipeline.errors import (
    InvalidPartitionKeyError,
    TelemetryFileMissingError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.model import Progress
from learning_pipeline.stages.audit import range_problems
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import Engine

LINES = list(generate_lines(60, seed=11))
FIRST, SECOND, THIRD = LINES[:20], LINES[20:40], LINES[40:]
ACTIVE = "a.jsonl"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A stage over an empty folder, five records a commit."""
    return Engine(tmp_path, interval=5)


def content(lines: list[bytes]) -> bytes:
    """The lines as a file holds them."""
    return b"".join(lines)


def move(engine: Engine, source: str, target: str) -> None:
    """Rename a file below the telemetry root."""
    (engine.root / source).rename(engine.root / target)


def offsets(engine: Engine) -> list[tuple[int, int]]:
    """Generation and offset of every row."""
    return [(row["generation"], row["offset"]) for row in engine.rows()]


def expected(tmp_path: Path, *generations: list[bytes]) -> list[tuple[int, int]]:
    """Generation and offset of the rows of files with these lines."""
    found = []
    for number, lines in enumerate(generations):
        fresh = Engine(tmp_path / f"fresh-{number}")
        fresh.write(content(lines))
        fresh.drain()
        found += [(number, row["offset"]) for row in fresh.rows()]
    return found


def assert_read(engine: Engine, tmp_path: Path, *generations: list[bytes]) -> None:
    """Each line of each generation once, nothing lost, no gap, and nothing to do."""
    assert offsets(engine) == expected(tmp_path, *generations)
    again = engine.drain()
    assert again.run_event_count == 0
    assert again.counters.lost_bytes == 0
    assert again.counters.event_count == sum(map(len, generations))
    with engine.store() as store:
        assert range_problems(store.history(), store.checkpoints()) == []


def compress_gzip(path: Path) -> None:
    """As gzip does: a new file beside it, then the old one goes."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def compress_zstandard(path: Path) -> None:
    """As zstd --rm does."""
    packed = zstandard.ZstdCompressor().compress(path.read_bytes())
    path.with_name(path.name + ".zst").write_bytes(packed)
    path.unlink()


ROTATED_NAMES = [
    "a.jsonl.1",
    "a.1.jsonl",
    "a-20260109T120000.jsonl",
    "a.jsonl-20260109",
    "a.jsonl.2026-01-09_12-00-00",
    "a-2026-01-09T12-00-00.000.jsonl",
    "a.jsonl-20260109-1767960000",
]


@pytest.mark.parametrize("name", ROTATED_NAMES)
def test_the_unread_rest_of_a_renamed_file_is_read_before_the_next(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    """Whatever it is called now, and its last line also without a newline."""
    engine.write(content(FIRST[:10]))
    engine.drain()
    engine.append(content(FIRST[10:])[:-1])
    move(engine, ACTIVE, name)
    engine.write(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


@pytest.mark.parametrize("compress", [compress_gzip, compress_zstandard])
@pytest.mark.parametrize("name", ["a.jsonl.1", "a-20260109T120000.jsonl", ACTIVE])
def test_the_unread_rest_of_a_compressed_file_is_read(
    engine: Engine, tmp_path: Path, name: str, compress: Callable[[Path], None]
) -> None:
    """Also compressed after it was renamed, and known again afterwards."""
    engine.write(content(FIRST[:10]))
    engine.drain()
    engine.append(content(FIRST[10:])[:-1])
    if name != ACTIVE:
        move(engine, ACTIVE, name)
    compress(engine.root / name)
    engine.write(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_compressing_what_was_read_reads_nothing_again(
    engine: Engine, tmp_path: Path
) -> None:
    """Its content says which generation it is."""
    engine.write(content(FIRST))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    engine.write(content(SECOND))
    engine.drain()
    compress_gzip(engine.root / "a.jsonl.1")
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_a_chain_of_rotations_between_two_runs_is_read_in_order(
    engine: Engine, tmp_path: Path
) -> None:
    """Oldest first, however often the numbers moved on."""
    engine.write(content(FIRST[:7]))
    engine.drain()
    engine.append(content(FIRST[7:]))
    move(engine, ACTIVE, "a.jsonl.1")
    engine.write(content(SECOND))
    move(engine, "a.jsonl.1", "a.jsonl.2")
    compress_gzip(engine.root / "a.jsonl.2")
    move(engine, ACTIVE, "a.jsonl.1")
    engine.write(content(THIRD))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND, THIRD)


def test_what_was_rotated_before_the_first_run_is_read_too(
    engine: Engine, tmp_path: Path
) -> None:
    """Numbers count down, dates count up; all of one partition."""
    engine.write(content(FIRST), "a.jsonl.2")
    engine.write(content(SECOND), "a.jsonl.1")
    engine.write(content(THIRD))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND, THIRD)


@pytest.mark.parametrize("unread", [0, 8])
def test_copy_and_truncate_loses_and_doubles_nothing(
    engine: Engine, tmp_path: Path, unread: int
) -> None:
    """The copy holds what was not read yet; the file begins anew, under one inode."""
    engine.write(content(FIRST[: 20 - unread]))
    engine.drain()
    engine.append(content(FIRST[20 - unread :]))
    shutil.copyfile(engine.root / ACTIVE, engine.root / "a.jsonl.1")
    os.truncate(engine.root / ACTIVE, 0)
    engine.append(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_a_copy_that_is_seen_before_the_truncation_is_not_read_twice(
    engine: Engine, tmp_path: Path
) -> None:
    """Also when more was appended and read after the copy was made."""
    engine.write(content(FIRST[:10]))
    engine.drain()
    shutil.copyfile(engine.root / ACTIVE, engine.root / "a.jsonl.1")
    engine.drain()
    engine.append(content(FIRST[10:]))
    engine.drain()
    os.truncate(engine.root / ACTIVE, 0)
    engine.append(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


@pytest.mark.parametrize("read_before", [0, 10])
def test_a_copy_that_ends_in_half_a_line_waits_for_the_truncation(
    engine: Engine, tmp_path: Path, read_before: int
) -> None:
    """The writer goes on with that line in the file itself."""
    if read_before:
        engine.write(content(FIRST[:read_before]))
        engine.drain()
    engine.write(content(FIRST[:15])[:-100])
    shutil.copyfile(engine.root / ACTIVE, engine.root / "a.jsonl.1")
    engine.drain()
    engine.append(content(FIRST)[len(content(FIRST[:15])) - 100 :])
    progress = engine.drain()
    assert progress.counters.dead_letter_count == 0
    (engine.root / "a.jsonl.1").write_bytes(content(FIRST))
    os.truncate(engine.root / ACTIVE, 0)
    engine.append(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_a_file_that_regrew_beyond_the_old_offset_is_noticed(
    engine: Engine, tmp_path: Path
) -> None:
    """Also behind an equal beginning, by the guard before the offset."""
    engine.write(content(FIRST))
    engine.drain()
    engine.write(content([*FIRST[:5], *SECOND, *THIRD]))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, [*FIRST[:5], *SECOND, *THIRD])


def test_a_generation_that_comes_back_is_not_read_twice(
    engine: Engine, tmp_path: Path
) -> None:
    """Nor what it was replaced by; what it grew by meanwhile is read."""
    engine.write(content(FIRST[:15]))
    engine.drain()
    move(engine, ACTIVE, "kept")
    engine.write(content(SECOND))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    move(engine, "kept", ACTIVE)
    engine.append(content(FIRST[15:]))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_what_is_written_late_to_a_rotated_file_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    """A writer may hold the old file open for a while."""
    engine.write(content(FIRST[:15]))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    engine.write(content(SECOND[:5]))
    engine.drain()
    engine.append(content(FIRST[15:]), "a.jsonl.1")
    engine.append(content(SECOND[5:]))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_lost_bytes_are_counted_until_they_are_found_again(
    engine: Engine, tmp_path: Path
) -> None:
    """What was seen of a file and not read, once the file is gone."""
    engine.write(content(FIRST))

    def stop(progress: Progress) -> None:
        if progress.commit_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.drain(on_commit=stop)
    move(engine, ACTIVE, "elsewhere")
    engine.write(content(SECOND))
    progress = engine.drain()
    assert progress.counters.lost_bytes == len(content(FIRST[10:]))
    move(engine, "elsewhere", "a.jsonl.1")
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_the_unread_rest_of_a_file_that_is_gone_is_counted(engine: Engine) -> None:
    """The partition fails, and says what is missing, until the file is back."""
    engine.write(content(FIRST)[:-1])
    engine.drain()
    move(engine, ACTIVE, "elsewhere")
    with pytest.raises(TelemetryFileMissingError):
        engine.drain()
    with engine.store() as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.counters.lost_bytes == len(FIRST[-1]) - 1
    move(engine, "elsewhere", ACTIVE)
    assert engine.drain().counters.lost_bytes == 0


def test_between_two_files_the_rest_of_the_old_one_is_read(engine: Engine) -> None:
    """A whole object is taken without its newline; half of one waits."""
    engine.write(content(FIRST[:10]))
    engine.drain()
    engine.append(content(FIRST[10:])[:-30])
    move(engine, ACTIVE, "a.jsonl.1")
    progress = engine.drain()
    assert progress.counters.event_count == 19
    assert progress.counters.dead_letter_count == 0
    engine.append(FIRST[-1][-30:-1], "a.jsonl.1")
    assert engine.drain().counters.event_count == 20


def test_a_damaged_rotated_file_fails_the_partition_after_the_others(
    engine: Engine, tmp_path: Path
) -> None:
    """Nothing is counted as lost; it is read once it is whole again."""
    engine.write(content(FIRST[:10]))
    engine.drain()
    engine.append(content(FIRST[10:]))
    move(engine, ACTIVE, "a.jsonl.1")
    compress_gzip(engine.root / "a.jsonl.1")
    packed = engine.root / "a.jsonl.1.gz"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-20])
    engine.write(content(SECOND))
    with pytest.raises(TelemetryFileUnreadableError, match=r"a\.jsonl\.1\.gz"):
        engine.drain()
    with engine.store() as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.counters.event_count == 10 + len(SECOND)
    assert checkpoint.counters.lost_bytes == 0
    packed.write_bytes(whole)
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_a_copy_that_is_being_compressed_is_left_alone(
    engine: Engine, tmp_path: Path
) -> None:
    """The file itself is still there."""
    engine.write(content(FIRST))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    packed = gzip.compress(content(FIRST))
    (engine.root / "a.jsonl.1.gz").write_bytes(packed[: len(packed) // 2])
    engine.write(content(SECOND))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)


def test_a_compressed_file_beside_another_of_its_name_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    """Numbers may move on and leave what was compressed where it is."""
    engine.write(content(FIRST), "a.jsonl.1")
    os.utime(engine.root / "a.jsonl.1", ns=(0, 1))
    compress_gzip(engine.root / "a.jsonl.1")
    os.utime(engine.root / "a.jsonl.1.gz", ns=(0, 1))
    engine.write(content(SECOND), "a.jsonl.1")
    engine.write(content(THIRD))
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND, THIRD)


def test_a_rotated_file_is_no_partition_of_its_own(engine: Engine) -> None:
    """The message names the partition that it is read with."""
    engine.write(content(FIRST))
    engine.drain()
    move(engine, ACTIVE, "a-20260109T120000.jsonl")
    engine.write(content(SECOND))
    with pytest.raises(InvalidPartitionKeyError, match=r"rotated file of 'a\.jsonl'"):
        engine.drain("a-20260109T120000.jsonl")


def test_a_run_that_stops_in_a_rotated_file_is_resumed_there(
    engine: Engine, tmp_path: Path
) -> None:
    """At every commit of the whole chain."""
    engine.write(content(FIRST), "a.jsonl.2")
    engine.write(content(SECOND), "a.jsonl.1")
    engine.write(content(THIRD))

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    for _ in range(len(LINES) // 5):
        with pytest.raises(KeyboardInterrupt):
            engine.drain(on_commit=stop)
    assert_read(engine, tmp_path, FIRST, SECOND, THIRD)


def test_a_stage_that_comes_later_reads_the_same_generations(
    engine: Engine, tmp_path: Path
) -> None:
    """Whatever was renamed meanwhile: what a file holds says its number."""
    engine.write(content(FIRST))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    engine.write(content(SECOND))
    engine.drain()
    before = offsets(engine)
    with engine.store() as store:
        store.clear(stage="interaction_patterns", partition=ACTIVE)
    move(engine, "a.jsonl.1", "a.jsonl.7")
    engine.drain()
    assert offsets(engine) == before == expected(tmp_path, FIRST, SECOND)


def test_a_cut_off_copy_of_what_cannot_be_read_is_not_begun(
    engine: Engine, tmp_path: Path
) -> None:
    """The damaged file might be the one it is a copy of: first that is mended."""
    engine.write(content(FIRST))
    engine.drain()
    move(engine, ACTIVE, "a.jsonl.1")
    compress_gzip(engine.root / "a.jsonl.1")
    packed = engine.root / "a.jsonl.1.gz"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-9])
    engine.write(content(FIRST[:15]), "a.jsonl.2")
    engine.write(content(SECOND))
    with pytest.raises(TelemetryFileUnreadableError, match=r"a\.jsonl\.1\.gz"):
        engine.drain()
    packed.write_bytes(whole)
    engine.drain()
    assert_read(engine, tmp_path, FIRST, SECOND)
