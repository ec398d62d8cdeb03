"""Ending the runs whose processes are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil
import pytest

from learning_pipeline.defs.liveness import PROCESS_TAG, process_tag
from learning_pipeline.defs.settling import settle_lost_runs
from learning_pipeline_tests.defs.workbench import Workbench

STARTED = dg.DagsterRunStatus.STARTED
KEY = {"dagster/partition": "a.jsonl"}


def dead_process_tag() -> str:
    """What a process that is gone called itself."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(process.pid).create_time()
    process.communicate(b"\n")
    return f"{socket.gethostname()}/{process.pid}/{started:.2f}"


def status(bench: Workbench, run_id: str) -> str:
    """A run's status now."""
    run = bench.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("STARTED", "FAILURE"),
        ("STARTING", "FAILURE"),
        ("NOT_STARTED", "FAILURE"),
        ("CANCELING", "CANCELED"),
        ("QUEUED", "QUEUED"),
        ("SUCCESS", "SUCCESS"),
    ],
)
def test_runs_without_a_process_are_ended(
    bench: Workbench, before: str, after: str
) -> None:
    """What is queued stays for the daemon, what is over stays as it is."""
    run_id = bench.record_run(dg.DagsterRunStatus(before), KEY)
    settled = settle_lost_runs(bench.instance)
    assert status(bench, run_id) == after
    assert settled == ([] if before == after else [run_id])


def test_a_run_whose_process_lives_is_kept(bench: Workbench) -> None:
    """Such as of `learning-pipeline process` beside a new `dev`."""
    run_id = bench.record_run(STARTED, {**KEY, PROCESS_TAG: process_tag()})
    assert settle_lost_runs(bench.instance) == []
    assert status(bench, run_id) == "STARTED"


def test_a_run_on_another_host_is_kept(bench: Workbench) -> None:
    """Its process cannot be looked at from here."""
    bench.record_run(STARTED, {**KEY, PROCESS_TAG: "elsewhere/1/1.00"})
    assert settle_lost_runs(bench.instance) == []


@pytest.mark.parametrize("kind", ["dead", "number used again", "nonsense"])
def test_a_run_whose_process_died_is_ended(bench: Workbench, kind: str) -> None:
    """Told by number and start time: numbers come back."""
    tags = {
        "dead": dead_process_tag(),
        "number used again": f"{socket.gethostname()}/{os.getpid()}/1.00",
        "nonsense": "nonsense",
    }
    run_id = bench.record_run(STARTED, {**KEY, PROCESS_TAG: tags[kind]})
    assert settle_lost_runs(bench.instance, only_tagged=True) == [run_id]
    assert status(bench, run_id) == "FAILURE"


def test_beside_a_launcher_only_runs_that_name_their_process_are_ended(
    bench: Workbench,
) -> None:
    """The others may live under it."""
    untagged = bench.record_run(STARTED, KEY)
    # Re-executed in the UI, a run has the tags of the one before it.
    again = bench.instance.add_run(
        dg.DagsterRun(
            job_name="learn",
            status=STARTED,
            tags={**KEY, PROCESS_TAG: dead_process_tag()},
            parent_run_id=untagged,
            root_run_id=untagged,
        )
    )
    assert settle_lost_runs(bench.instance, only_tagged=True) == []
    assert status(bench, untagged) == status(bench, again.run_id) == "STARTED"


def test_a_settled_run_no_longer_keeps_its_file_from_being_asked_for(
    bench: Workbench, tmp_path: Path
) -> None:
    """After a fresh start nothing is blocked."""
    assert tmp_path.is_dir()
    run_id = bench.record_run(STARTED, KEY)
    settle_lost_runs(bench.instance)
    run = bench.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_finished
