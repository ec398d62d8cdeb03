"""Retention: what goes, what is kept and why, and what a crash leaves."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from learning_pipeline import steps
from learning_pipeline.errors import StoreError
from learning_pipeline.model import BatchOutput, Counters, Progress, RecordBatch
from learning_pipeline.store import patterns, stage_table
from learning_pipeline.testing.crash_points import kill_at
from learning_pipeline_tests.forking import FORK_SERVER
from learning_pipeline_tests.stages.engine import STAGE, Engine
from learning_pipeline_tests.stages.rotated import (
    FIRST,
    SECOND,
    THIRD,
    age,
    listing,
    outcomes,
    retain,
    rotate,
    rotated_and_read,
    stored,
)

RunAt = Callable[[str, Callable[[], None]], None]
Act = Literal["compress", "delete"]
_other_table = stage_table("other_rows", sa.Column("note", sa.Text))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine with nothing read."""
    return Engine(tmp_path)


@pytest.fixture
def run_at() -> Iterator[RunAt]:
    """Calls a function when a step is reached for the first time."""

    def install(step: str, call: Callable[[], None]) -> None:
        def listener(reached: str) -> None:
            if reached == step:
                steps.listen(None)
                call()

        steps.listen(listener)

    yield install
    steps.listen(None)


def test_a_dry_run_says_what_would_go_and_changes_nothing(engine: Engine) -> None:
    """Not a file, not a row of the database."""
    rotated_and_read(engine)
    before = (listing(engine), stored(engine))
    for action in ("compress", "delete"):
        [decision] = retain(engine, action, execute=False)
        assert (decision.file, decision.generation) == ("a.jsonl.1", 0)
        assert decision.outcome == f"to {action}"
    with engine.store() as store:
        assert store.tombstones(["a.jsonl"]) == []
    assert (listing(engine), stored(engine)) == before


def test_a_deleted_generation_leaves_a_tombstone_and_loses_nothing(
    engine: Engine,
) -> None:
    """With size, range and digest; the next pass counts no byte as lost."""
    rotated_and_read(engine)
    before = stored(engine)
    [decision] = retain(engine)
    assert (decision.outcome, decision.freed_bytes) == ("deleted", len(FIRST))
    assert listing(engine) == ["a.jsonl"]
    with engine.store() as store:
        [tombstone] = store.tombstones(["a.jsonl"])
    assert (tombstone.generation, tombstone.file_key) == (0, "a.jsonl.1")
    assert (tombstone.start_offset, tombstone.end_offset) == (0, len(FIRST))
    assert (tombstone.size_bytes, tombstone.action) == (len(FIRST), "delete")
    assert tombstone.digest == sha256(FIRST).digest()
    assert engine.drain().run_event_count == 0
    assert stored(engine) == before


def test_a_deleted_generation_that_comes_back_is_not_read_again(engine: Engine) -> None:
    """Somebody restores it from a copy."""
    path = rotated_and_read(engine)
    before = stored(engine)
    retain(engine)
    path.write_bytes(FIRST)
    assert engine.drain().run_event_count == 0
    assert stored(engine) == before


def test_a_compressed_generation_is_the_same_one(engine: Engine) -> None:
    """Same content, age and mode; not read again, by an old stage or while looking."""
    path = rotated_and_read(engine)
    path.chmod(0o640)
    before, old = stored(engine), path.stat()
    [decision] = retain(engine, "compress")
    assert decision.outcome == "compressed"
    packed = engine.root / "a.jsonl.1.gz"
    assert listing(engine) == ["a.jsonl", packed.name]
    assert gzip.decompress(packed.read_bytes()) == FIRST
    new = packed.stat()
    assert (new.st_mtime_ns, new.st_mode) == (old.st_mtime_ns, old.st_mode)
    assert (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)
    assert decision.freed_bytes == len(FIRST) - new.st_size
    assert engine.drain().run_event_count == 0
    assert stored(engine) == before
    assert outcomes(retain(engine, "compress")) == {"a.jsonl.1.gz": "kept"}


def test_a_compressed_generation_is_read_by_a_stage_that_comes_later(
    engine: Engine,
) -> None:
    """It was compressed before that stage was there."""
    rotated_and_read(engine)
    before = stored(engine)[0]
    retain(engine, "compress")
    with engine.store() as store:
        store.clear(stage=STAGE, partition="a.jsonl")
    engine.drain()
    assert stored(engine)[0] == before


def test_a_compressed_generation_can_be_deleted_later(engine: Engine) -> None:
    """The tombstone then says so, with the digest of the content."""
    rotated_and_read(engine)
    retain(engine, "compress")
    assert outcomes(retain(engine)) == {"a.jsonl.1.gz": "deleted"}
    with engine.store() as store:
        [tombstone] = store.tombstones(["a.jsonl"])
    assert (tombstone.action, tombstone.digest) == ("delete", sha256(FIRST).digest())
    assert tombstone.end_offset == len(FIRST) > tombstone.size_bytes


def test_several_generations_go_and_the_present_one_stays(engine: Engine) -> None:
    """Also when the present one was rotated away, with no active file there."""
    rotated_and_read(engine)
    (engine.root / "a.jsonl.1").rename(engine.root / "a.jsonl.2")
    rotate(engine, "a.jsonl.1", days=35)
    engine.write(THIRD)
    engine.drain()
    rotate(engine, "a.jsonl.0", days=33)
    decisions = retain(engine)
    assert outcomes(decisions) == {
        "a.jsonl.2": "deleted",
        "a.jsonl.1": "deleted",
        "a.jsonl.0": "kept",
    }
    assert decisions[-1].reason == f"{STAGE} stands in it"
    assert listing(engine) == ["a.jsonl.0"]


def test_what_was_not_synced_is_kept(engine: Engine) -> None:
    """A power cut could take the rows back, and the file would be gone."""
    engine.write(FIRST)
    with (
        engine.store() as store,
        store.session(
            stage=STAGE, table=patterns, run_id="run", history_count=20
        ) as session,
    ):
        engine.drain_into(session, "a.jsonl")
        rotate(engine, "a.jsonl.1", days=40)
        engine.write(SECOND)
        claim, _ = engine.drain_into(session, "a.jsonl")
        [decision] = retain(engine)
        assert decision.outcome == "kept"
        assert "not known to be on stable storage" in decision.reason
        session.sync([claim])
    assert outcomes(retain(engine)) == {"a.jsonl.1": "deleted"}


def test_every_stage_has_to_have_passed(engine: Engine) -> None:
    """One that is behind, and one that never read the partition, both keep it."""
    rotated_and_read(engine)
    engine.write(FIRST, "b.jsonl")
    engine.transform = _no_rows
    engine.drain("b.jsonl", stage="other", table=_other_table)
    [decision] = retain(engine)
    assert decision.reason == "other has not read this partition"
    with pytest.raises(KeyboardInterrupt):
        engine.drain(stage="other", table=_other_table, on_commit=_stop)
    [decision] = retain(engine)
    assert decision.reason == "other stands in it"
    engine.drain(stage="other", table=_other_table)
    assert outcomes(retain(engine)) == {"a.jsonl.1": "deleted"}


def test_a_file_that_was_not_read_to_its_end_is_kept(engine: Engine) -> None:
    """It grew after it was left; once that is read and old, it goes."""
    path = rotated_and_read(engine)
    with path.open("ab") as file:
        file.write(THIRD)
    age(path, 40)
    [decision] = retain(engine)
    assert decision.reason == (
        f"{STAGE} has read {len(FIRST)} of {len(FIRST + THIRD)} bytes"
    )
    engine.drain()
    engine.drain()
    assert outcomes(retain(engine)) == {"a.jsonl.1": "deleted"}


def test_a_young_file_is_kept(engine: Engine) -> None:
    """Age is the time since it was written to; so is one from the future."""
    path = rotated_and_read(engine)
    assert outcomes(retain(engine, older_than_days=41)) == {"a.jsonl.1": "kept"}
    age(path, -1)
    assert outcomes(retain(engine, older_than_days=0)) == {"a.jsonl.1": "kept"}
    assert path.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(THIRD, "holds nothing that", id="never-read"),
        pytest.param(FIRST[:3000], "only the beginning", id="cut-off"),
        pytest.param(
            FIRST[:2000] + b"x" + FIRST[2001:], "differs", id="changed-in-the-middle"
        ),
        pytest.param(b"", "is empty", id="empty"),
    ],
)
def test_what_a_file_holds_decides_not_its_name(
    engine: Engine, content: bytes, said: str
) -> None:
    """Another content under a name whose generation was read."""
    path = rotated_and_read(engine)
    path.write_bytes(content)
    age(path, 40)
    [decision] = retain(engine)
    assert decision.outcome == "kept"
    assert said in decision.reason
    assert path.read_bytes() == content


def test_a_stale_sighting_alone_lets_nothing_go(engine: Engine) -> None:
    """Inode, size and time as noted, but other bytes: kept."""
    path = rotated_and_read(engine)
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"y" * len(FIRST))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert outcomes(retain(engine)) == {"a.jsonl.1": "kept"}


def test_only_the_partitions_asked_for(engine: Engine) -> None:
    """Others stay; an unknown one is refused."""
    rotated_and_read(engine)
    engine.write(THIRD, "b.jsonl")
    engine.drain("b.jsonl")
    assert retain(engine, keys=["b.jsonl"]) == []
    assert outcomes(retain(engine, keys=["a.jsonl"])) == {"a.jsonl.1": "deleted"}
    with pytest.raises(StoreError, match=r"c\.jsonl"):
        retain(engine, keys=["c.jsonl"])


def test_a_partition_that_was_never_read_keeps_everything(engine: Engine) -> None:
    """There is nothing to know its files by."""
    engine.write(FIRST)
    rotate(engine, "a.jsonl.1", days=40)
    engine.write(SECOND)
    [decision] = retain(engine)
    assert decision.reason == "no stage has read this partition"


def test_a_rewind_while_the_file_is_read_keeps_it(
    engine: Engine, run_at: RunAt
) -> None:
    """The transaction of the tombstone looks once more."""
    path = rotated_and_read(engine)

    def clear() -> None:
        with engine.store() as store:
            store.clear(stage=STAGE, partition="a.jsonl")

    run_at("retain.written", clear)
    [decision] = retain(engine, "compress")
    assert decision.outcome == "kept"
    assert listing(engine) == ["a.jsonl", "a.jsonl.1"]
    assert path.read_bytes() == FIRST
    with engine.store() as store:
        assert store.tombstones(["a.jsonl"]) == []


@pytest.mark.parametrize("action", ["compress", "delete"])
@pytest.mark.parametrize("step", ["retain.before", "retain.recorded", "retain.aside"])
def test_a_file_that_is_written_to_meanwhile_is_kept(
    engine: Engine, run_at: RunAt, action: Act, step: str
) -> None:
    """Nothing of it is lost, and no tombstone says that it is gone."""
    path = rotated_and_read(engine)
    inode = path.stat().st_ino

    def write() -> None:
        [now] = [each for each in engine.root.iterdir() if each.stat().st_ino == inode]
        # The mode of the file is no hindrance; its lease makes a writer wait.
        descriptor = os.open(now, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        os.write(descriptor, THIRD)
        os.close(descriptor)

    def write_too_late() -> None:
        with pytest.raises(BlockingIOError):
            write()

    run_at(step, write_too_late if step == "retain.aside" else write)
    [decision] = retain(engine, action)
    assert decision.outcome == "kept"
    assert listing(engine) == ["a.jsonl", "a.jsonl.1"]
    expected = FIRST if step == "retain.aside" else FIRST + THIRD
    assert path.read_bytes() == expected
    with engine.store() as store:
        assert store.tombstones(["a.jsonl"]) == []


def test_a_file_that_a_writer_still_has_open_is_kept(engine: Engine) -> None:
    """However old its last byte is."""
    path = rotated_and_read(engine)
    with path.open("ab"):
        [decision] = retain(engine)
    assert (decision.outcome, decision.reason) == (
        "kept",
        "somebody has it open for writing",
    )
    assert outcomes(retain(engine)) == {"a.jsonl.1": "deleted"}


@pytest.mark.parametrize("action", ["compress", "delete"])
@pytest.mark.parametrize("step", ["retain.before", "retain.recorded"])
def test_a_rotation_meanwhile_takes_no_other_file_with_it(
    engine: Engine, run_at: RunAt, step: str, action: Act
) -> None:
    """The name is another file's by the time that it would go."""
    rotated_and_read(engine)

    def rotate_again() -> None:
        (engine.root / "a.jsonl.1").rename(engine.root / "a.jsonl.2")
        (engine.root / "a.jsonl").rename(engine.root / "a.jsonl.1")

    run_at(step, rotate_again)
    [decision] = retain(engine, action)
    assert decision.outcome == "kept"
    assert listing(engine) == ["a.jsonl.1", "a.jsonl.2"]
    assert (engine.root / "a.jsonl.1").read_bytes() == SECOND
    assert (engine.root / "a.jsonl.2").read_bytes() == FIRST


@pytest.mark.parametrize("action", ["compress", "delete"])
def test_a_file_that_is_not_the_one_any_more_is_not_even_moved(
    engine: Engine, action: Act
) -> None:
    """Others would miss it for that moment."""
    path = rotated_and_read(engine)
    seen: list[str] = []

    def listener(step: str) -> None:
        seen.append(step)
        if step == "retain.recorded":
            path.rename(engine.root / "a.jsonl.2")
            path.write_bytes(THIRD)

    steps.listen(listener)
    try:
        [decision] = retain(engine, action)
    finally:
        steps.listen(None)
    assert decision.outcome == "kept"
    assert "retain.recorded" in seen
    assert "retain.aside" not in seen


def test_another_file_that_was_moved_aside_is_put_back(
    engine: Engine, run_at: RunAt
) -> None:
    """The rotation came between the last look and the move."""
    rotated_and_read(engine)
    aside = engine.root / ".retain-aside.a.jsonl.1"

    def swap() -> None:
        aside.rename(engine.root / "a.jsonl.2")
        (engine.root / "a.jsonl").rename(aside)

    run_at("retain.aside", swap)
    [decision] = retain(engine)
    assert decision.outcome == "kept"
    assert listing(engine) == ["a.jsonl.1", "a.jsonl.2"]
    assert (engine.root / "a.jsonl.1").read_bytes() == SECOND


@pytest.mark.parametrize(
    ("action", "step"),
    [
        (action, step)
        for action in ("compress", "delete")
        for step in steps.RETENTION_NAMES
        if (action, step) != ("delete", "retain.placed")
    ],
)
def test_a_kill_at_any_step_is_completed_by_the_next_run(
    engine: Engine, action: Act, step: str
) -> None:
    """Nothing lost, nothing doubled, nothing left lying about."""
    rotated_and_read(engine)
    before = stored(engine)
    kill_while_retaining(engine, action, step)
    # A run in between finds each byte, or nothing of it missing.
    assert engine.drain().run_event_count == 0
    assert stored(engine) == before
    retain(engine, action)
    left = ["a.jsonl"] + (["a.jsonl.1.gz"] if action == "compress" else [])
    assert listing(engine) == left
    if action == "compress":
        packed = (engine.root / "a.jsonl.1.gz").read_bytes()
        assert gzip.decompress(packed) == FIRST
    with engine.store() as store:
        [tombstone] = store.tombstones(["a.jsonl"])
    assert (tombstone.action, tombstone.digest) == (action, sha256(FIRST).digest())
    assert engine.drain().run_event_count == 0
    assert stored(engine) == before


def test_a_file_aside_is_put_back_when_its_name_is_taken(engine: Engine) -> None:
    """With a number behind, so it still is one of the partition; then it goes."""
    path = rotated_and_read(engine)
    path.rename(engine.root / ".retain-aside.a.jsonl.1")
    path.write_bytes(THIRD)
    age(path, 20)
    decisions = retain(engine, older_than_days=100)
    assert set(outcomes(decisions)) == {"a.jsonl.1", "a.jsonl.1.1"}
    assert (engine.root / "a.jsonl.1.1").read_bytes() == FIRST
    assert path.read_bytes() == THIRD


def test_a_dry_run_leaves_what_a_crash_left(engine: Engine) -> None:
    """It changes nothing at all."""
    rotated_and_read(engine)
    (engine.root / ".retain-part.0123456789abcdef.part").write_bytes(b"half")
    before = listing(engine)
    retain(engine, execute=False)
    assert listing(engine) == before
    retain(engine, older_than_days=100)
    assert listing(engine) == ["a.jsonl", "a.jsonl.1"]


def test_a_file_that_grew_after_a_crash_has_no_tombstone(engine: Engine) -> None:
    """It was recorded as deleted, and then it was not."""
    path = rotated_and_read(engine)
    kill_while_retaining(engine, "delete", "retain.recorded")
    with engine.store() as store:
        assert len(store.tombstones(["a.jsonl"])) == 1
    with path.open("ab") as file:
        file.write(THIRD)
    age(path, 40)
    assert outcomes(retain(engine)) == {"a.jsonl.1": "kept"}
    with engine.store() as store:
        assert store.tombstones(["a.jsonl"]) == []


def test_a_compressed_twin_of_another_content_is_not_overwritten(
    engine: Engine,
) -> None:
    """Somebody's `gzip` is at work there, or numbers were shifted."""
    path = rotated_and_read(engine)
    twin = engine.root / "a.jsonl.1.gz"
    for content in (gzip.compress(SECOND), gzip.compress(FIRST)[:-9]):
        twin.write_bytes(content)
        decision = next(
            each for each in retain(engine, "compress") if each.file == "a.jsonl.1"
        )
        assert decision.outcome == "kept"
        assert "another content" in decision.reason
        assert twin.read_bytes() == content
        assert path.read_bytes() == FIRST


def test_a_link_is_not_followed(engine: Engine, tmp_path: Path) -> None:
    """Neither a rotated name that is a link, nor one that was swapped in."""
    path = rotated_and_read(engine)
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    assert retain(engine) == []
    assert outside.read_bytes() == FIRST


def test_a_link_that_is_swapped_in_is_not_followed(
    engine: Engine, run_at: RunAt, tmp_path: Path
) -> None:
    """Between looking and deleting."""
    path = rotated_and_read(engine)
    outside = tmp_path / "outside"

    def swap() -> None:
        path.rename(outside)
        path.symlink_to(outside)

    run_at("retain.recorded", swap)
    [decision] = retain(engine)
    assert decision.outcome == "kept"
    assert outside.read_bytes() == FIRST
    assert path.is_symlink()


def test_patterns_that_match_hidden_names_keep_everything(engine: Engine) -> None:
    """A file that is aside would be taken for telemetry."""
    path = rotated_and_read(engine)
    [decision] = retain(engine, patterns=["**/*.jsonl", "**/.*"])
    assert decision.outcome == "failed"
    assert "begin with a dot" in decision.reason
    assert path.read_bytes() == FIRST


def test_a_damaged_compressed_file_is_named_and_the_others_go(engine: Engine) -> None:
    """It fails; that is for somebody to look after."""
    rotated_and_read(engine)
    (engine.root / "a.jsonl.1").rename(engine.root / "a.jsonl.3")
    damaged = engine.root / "a.jsonl.2.gz"
    damaged.write_bytes(gzip.compress(SECOND)[:-20])
    age(damaged, 40)
    decisions = retain(engine)
    assert outcomes(decisions) == {"a.jsonl.3": "deleted", "a.jsonl.2.gz": "failed"}


def test_a_full_disk_keeps_the_file(engine: Engine, run_at: RunAt) -> None:
    """What was written of the compressed one goes again."""
    path = rotated_and_read(engine)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run_at(
        "retain.before",
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard)),
    )
    try:
        [decision] = retain(engine, "compress")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert decision.outcome == "failed"
    assert "cannot be compressed: File too large" in decision.reason
    assert listing(engine) == ["a.jsonl", "a.jsonl.1"]
    assert path.read_bytes() == FIRST


def kill_while_retaining(engine: Engine, action: Act, step: str) -> None:
    """Retain in a process of its own, which is killed at a step."""
    process = FORK_SERVER.Process(
        target=_retain_and_die, args=(engine.folder, action, step)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, f"{step} was not reached"


def _retain_and_die(folder: Path, action: Act, step: str) -> None:
    kill_at(step, 1)
    retain(Engine(folder), action)


def _no_rows(batch: RecordBatch) -> BatchOutput:
    return BatchOutput([], [], Counters(record_count=len(batch.records)))


def _stop(_: Progress) -> None:
    raise KeyboardInterrupt
