"""`process` on a state directory whose disk fills up; a real one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import (
    FIRST_STAGE_ONLY,
    Pipeline,
    assert_as_from_one_pass,
)

DISK_BYTES = 14_000_000
EVENT_COUNT = 20_000
SETTINGS = {
    "MIN_FREE_BYTES": "8000000",
    "CHECKPOINT_INTERVAL": "200",
    **FIRST_STAGE_ONLY,
}
SETTING = "LEARNING_PIPELINE_MIN_FREE_BYTES is 8,000,000"


def as_root(*command: str) -> None:
    """Run a command that takes a root user."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{done.stderr.strip()}: this test needs root, to mount a disk")


def mount(path: Path, options: str) -> None:
    """Mount a disk of its own there, or change the one that is there."""
    as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline whose state directory is a small disk; more to learn than fits."""
    pipeline = Pipeline(tmp_path, SETTINGS)
    write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
    pipeline.state.mkdir()
    mount(pipeline.state, f"size={DISK_BYTES}")
    try:
        yield pipeline
    finally:
        as_root("umount", "--lazy", str(pipeline.state))


def test_nothing_is_started_on_a_disk_that_is_nearly_full(
    small_state: Pipeline,
) -> None:
    """Exit 1 and what to do; not even Dagster's history is begun there."""
    ballast = small_state.state / "ballast"
    ballast.write_bytes(b"\0" * (DISK_BYTES - 7_000_000))
    completed = run(small_state, "process")
    assert completed.code == 1
    assert SETTING in completed.errors
    assert "free some space" in completed.errors
    assert list(small_state.state.iterdir()) == [ballast]


def test_a_run_stops_before_the_disk_is_full_and_goes_on_once_there_is_space(
    small_state: Pipeline, tmp_path: Path
) -> None:
    """At a commit, with space left for the rest of the system; then as in one pass."""
    completed = run(small_state, "process")
    assert completed.code == 1
    assert completed.errors.count(SETTING) == 1
    assert "Error: a.jsonl: " in completed.errors
    assert "0 files processed, 1 failed" in completed.output
    document = run(small_state, "checkpoints", "show", "--json").document
    (stopped_at,) = document["last_positions"].values()
    assert 0 < stopped_at < (small_state.telemetry / "a.jsonl").stat().st_size
    # Fuller still: said again, nothing moved.
    ballast = small_state.state / "ballast"
    ballast.write_bytes(b"\0" * (DISK_BYTES - 10_000_000))
    assert run(small_state, "process").code == 1
    document = run(small_state, "checkpoints", "show", "--json").document
    assert list(document["last_positions"].values()) == [stopped_at]
    mount(small_state.state, "remount,size=200000000")
    assert run(small_state, "process").code == 0
    reference = Pipeline(tmp_path / "once", FIRST_STAGE_ONLY)
    write_telemetry(reference.telemetry / "a.jsonl", EVENT_COUNT)
    reference.process()
    assert_as_from_one_pass(small_state, reference)
