"""SIGKILL under a real `learning-pipeline dev`: it goes on by itself."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil
import pytest

from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.dagster_dev import (
    Dev,
    committed_bytes,
    lag_bytes,
    launch,
    run_worker,
    running_dev,
    unfinished,
    wait_for,
)
from learning_pipeline_tests.pipeline import (
    FIRST_STAGE_ONLY,
    Pipeline,
    assert_as_from_one_pass,
)

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(400)]

EVENT_COUNT = 30_000
SLOW = {"CHECKPOINT_INTERVAL": "1", "SENSOR_SECONDS": "2"}
"""A commit per event, so that the kill hits a run in the middle of its work."""


@pytest.fixture
def reference(tmp_path: Path) -> Pipeline:
    """One undisturbed pass over the same file."""
    pipeline = Pipeline(tmp_path / "reference")
    write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
    pipeline.process()
    return pipeline


def wait_until_done(dev: Dev, reference: Pipeline) -> None:
    """Wait, with nobody touching the UI, until all is committed and all runs over."""
    wait_for(lambda: lag_bytes(dev.pipeline) == 0, 180, "everything to be committed")
    wait_for(lambda: not unfinished(dev), 120, "no run to be left unfinished")
    assert_as_from_one_pass(dev.pipeline, reference)


def test_after_a_kill_of_the_run_the_retry_goes_on_by_itself(
    tmp_path: Path, reference: Pipeline
) -> None:
    """The step's process, which is the run's, is killed in mid-file."""
    pipeline = Pipeline(tmp_path / "killed", dict(SLOW))
    with running_dev(pipeline) as dev:
        write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
        wait_for(lambda: committed_bytes(pipeline) > 0, 60, "a first commit")
        run_worker(dev).send_signal(signal.SIGKILL)
        before = committed_bytes(pipeline)
        assert 0 < before < (pipeline.telemetry / "a.jsonl").stat().st_size
        wait_until_done(dev, reference)
        assert "FAILURE" in [run["status"] for run in dev.runs()]


def test_a_zombie_step_is_fenced_by_the_retry(tmp_path: Path) -> None:
    """Only the run's process is killed; its step goes on writing, until fenced."""
    pipeline = Pipeline(
        tmp_path / "killed",
        {**SLOW, "EXECUTOR": "multiprocess", "SENSOR_SECONDS": "3600"},
    )
    # What is launched is one asset.
    reference = Pipeline(tmp_path / "reference", dict(FIRST_STAGE_ONLY))
    write_telemetry(reference.telemetry / "a.jsonl", EVENT_COUNT)
    reference.process()
    pipeline.settings |= FIRST_STAGE_ONLY
    with running_dev(pipeline) as dev:
        write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
        launch(dev, "a.jsonl")
        wait_for(lambda: committed_bytes(pipeline) > 0, 90, "a first commit")
        worker = run_worker(dev)
        step = next(
            child
            for child in worker.children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        )
        dev.processes()
        worker.send_signal(signal.SIGKILL)
        before = committed_bytes(pipeline)
        wait_for(lambda: committed_bytes(pipeline) > before, 10, "the zombie to write")
        assert step.is_running()
        wait_until_done(dev, reference)
        with contextlib.suppress(psutil.NoSuchProcess):
            step.wait(60)
        runs = dev.runs()
        assert sorted(run["status"] for run in runs) == ["FAILURE", "SUCCESS"]


def test_after_a_kill_of_everything_a_fresh_start_goes_on_by_itself(
    tmp_path: Path, reference: Pipeline
) -> None:
    """Webserver, daemon, code server and run die at once; no run stays started."""
    pipeline = Pipeline(tmp_path / "killed", dict(SLOW))
    with running_dev(pipeline) as dev:
        write_telemetry(pipeline.telemetry / "a.jsonl", EVENT_COUNT)
        wait_for(lambda: committed_bytes(pipeline) > 0, 60, "a first commit")
        run_worker(dev)
        dev.kill_tree()
    before = committed_bytes(pipeline)
    assert 0 < before < (pipeline.telemetry / "a.jsonl").stat().st_size
    with running_dev(pipeline) as dev:
        wait_until_done(dev, reference)
        statuses = {run["status"] for run in dev.runs()}
        assert statuses <= {"SUCCESS", "FAILURE", "CANCELED"}
