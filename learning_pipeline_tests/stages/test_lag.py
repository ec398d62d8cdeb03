"""Lag over all physical files of a partition, told without opening any."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from learning_pipeline.model import Progress
from learning_pipeline.stages.lag import PartitionLag, lag_of
from learning_pipeline.telemetry import discover
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import STAGE, Engine
from learning_pipeline_tests.stages.rotated import (
    FIRST,
    SECOND,
    THIRD,
    age,
    retain,
    rotate,
    rotated_and_read,
)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine with nothing read."""
    return Engine(tmp_path)


def lag(engine: Engine, stage: str = STAGE) -> PartitionLag:
    """Of the partition `a.jsonl`."""
    with engine.store() as store:
        known = store.known_partitions()
        [status] = discover(engine.root, ["**/*.jsonl"], known).files
        states = store.partition_states(["a.jsonl"])
    if "a.jsonl" not in states:
        return lag_of(status)
    return lag_of(status, states["a.jsonl"], stage)


def test_nothing_is_unread_after_a_pass(engine: Engine) -> None:
    """Over the active file and the rotated one."""
    rotated_and_read(engine)
    assert lag(engine) == PartitionLag(0)


def test_all_is_unread_before_the_first_pass(engine: Engine) -> None:
    """And for a stage that has read nothing."""
    engine.write(FIRST)
    rotate(engine, "a.jsonl.1", days=1)
    engine.write(SECOND)
    assert lag(engine) == PartitionLag(len(FIRST + SECOND))
    engine.drain()
    assert lag(engine, "another") == PartitionLag(len(FIRST + SECOND))


def test_what_both_files_gained_is_unread(engine: Engine) -> None:
    """The rotated one grew after it was left."""
    path = rotated_and_read(engine)
    with path.open("ab") as file:
        file.write(THIRD)
    engine.append(b"torn")
    assert lag(engine) == PartitionLag(len(THIRD) + 4)


def test_a_rotation_that_no_pass_has_seen_is_followed(engine: Engine) -> None:
    """The rotated file is known by its inode, and the active one is all new."""
    engine.write(FIRST)

    def stop(progress: Progress) -> None:
        if progress.commit_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.drain(on_commit=stop)
    with engine.store() as store:
        [checkpoint] = store.checkpoints()
    assert 0 < checkpoint.offset < len(FIRST)
    rest_bytes = len(FIRST) - checkpoint.offset
    assert lag(engine) == PartitionLag(rest_bytes)
    engine.drain()
    engine.append(SECOND)
    rotate(engine, "a.jsonl.1", days=0)
    engine.write(THIRD)
    assert lag(engine) == PartitionLag(len(SECOND + THIRD))


@pytest.mark.parametrize("is_compressed", [False, True])
def test_files_that_move_on_by_one_name_stay_known(
    engine: Engine, *, is_compressed: bool
) -> None:
    """Round after round each takes the name of the one before it."""
    end = ".gz" if is_compressed else ""
    for number in range(7):
        for older in range(number - 1, 0, -1):
            before = engine.root / f"a.jsonl.{older}{end}"
            before.rename(engine.root / f"a.jsonl.{older + 1}{end}")
        if number:
            path = rotate(engine, "a.jsonl.1", days=9 - number)
            if is_compressed:
                made = path.with_name(f"{path.name}.gz")
                made.write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
                age(made, 9 - number)
        engine.write(b"".join(generate_lines(5, seed=number)))
        engine.drain()
        assert lag(engine) == PartitionLag(0)


def test_a_file_that_shrank_is_all_unread(engine: Engine) -> None:
    """It holds something new."""
    engine.write(FIRST)
    engine.drain()
    engine.write(THIRD)
    assert lag(engine) == PartitionLag(len(THIRD))


def test_a_compressed_file_that_nobody_looked_into_counts_at_least(
    engine: Engine,
) -> None:
    """With its size as it stands there; after a pass exactly."""
    engine.write(SECOND)
    engine.drain()
    packed = engine.root / "a.jsonl-20260101.gz"
    packed.write_bytes(gzip.compress(FIRST))
    assert lag(engine) == PartitionLag(packed.stat().st_size, is_at_least=True)
    engine.drain()
    assert lag(engine) == PartitionLag(0)


def test_a_file_that_retention_compressed_is_not_unread(engine: Engine) -> None:
    """Not even before the next pass."""
    rotated_and_read(engine)
    retain(engine, "compress")
    assert lag(engine) == PartitionLag(0)
