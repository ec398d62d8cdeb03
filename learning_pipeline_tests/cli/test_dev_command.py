"""`dev` before it becomes Dagster; the rest is tested under a real one, in `crash/`."""

from __future__ import annotations

import fcntl
import os

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline


def test_a_second_dev_on_the_same_state_is_refused(pipeline: Pipeline) -> None:
    """While the first one holds its lock; it is named with its process."""
    home = pipeline.state / "dagster_home"
    home.mkdir(parents=True)
    with (home / "dev.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        completed = run(pipeline, "dev")
    assert completed.code == 2
    assert f"(process {os.getpid()})" in completed.errors
    assert "LEARNING_PIPELINE_STATE_DIR" in completed.errors


def test_the_dagster_home_is_written_once(pipeline: Pipeline) -> None:
    """What its owner changed in it stays."""
    assert run(pipeline, "process", "a.jsonl").code == 0
    configuration = pipeline.state / "dagster_home" / "dagster.yaml"
    assert "run_retries" in configuration.read_text()
    configuration.write_text("telemetry:\n  enabled: false\n")
    assert run(pipeline, "process", "b.jsonl").code == 0
    assert configuration.read_text() == "telemetry:\n  enabled: false\n"
