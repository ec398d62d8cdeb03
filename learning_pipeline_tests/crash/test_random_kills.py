"""SIGKILL at random moments of a real `learning-pipeline process`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from learning_pipeline.store import Store
from learning_pipeline.testing.generator import generate_lines, write_telemetry
from learning_pipeline_tests.pipeline import (
    COMMAND,
    Pipeline,
    assert_as_from_one_pass,
)

EVENTS_PER_KILL = 1_500
COMMITTED_SHARE = 0.7
SWEEP_KILLS = int(os.environ.get("LEARNING_PIPELINE_TEST_KILLS", "200"))


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    """A few random kills over a growing file: the bounded part of the sweep."""
    kill_at_random(tmp_path, kill_count=6, seed=1)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_hundreds_of_kills_at_random_moments_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    """The sweep: as many kills as LEARNING_PIPELINE_TEST_KILLS says, 200 by default."""
    kill_at_random(tmp_path, kill_count=SWEEP_KILLS, seed=2)


def kill_at_random(folder: Path, *, kill_count: int, seed: int) -> None:
    """Kill run after run while files grow; then compare with one pass."""
    random_ = random.Random(seed)
    pipeline = Pipeline(folder / "killed", {"CHECKPOINT_INTERVAL": "5"})
    lines = list(generate_lines(EVENTS_PER_KILL * kill_count, seed=seed))
    path = pipeline.telemetry / "growing.jsonl"
    write_telemetry(pipeline.telemetry / "still.jsonl", 2_000, seed=seed + 1)
    written = 0
    kills = 0
    working = 0
    while kills < kill_count:
        # Grows by an uneven piece each time, often torn in the middle of a line.
        share = len(lines) // kill_count
        piece = b"".join(lines[written : written + share])
        written += share
        with path.open("ab") as file:
            file.write(piece)
        before = offsets(pipeline)
        killed = run_and_kill(pipeline, random_)
        kills += killed
        working += killed and offsets(pipeline) != before
    with path.open("ab") as file:
        file.write(b"".join(lines[written:]))
    completed = pipeline.run("process")
    assert completed.code == 0, completed.errors
    reference = Pipeline(folder / "reference")
    for source in pipeline.telemetry.iterdir():
        (reference.telemetry / source.name).write_bytes(source.read_bytes())
    reference.process()
    assert_as_from_one_pass(pipeline, reference)
    assert working >= kill_count // 4, "too few kills hit a run at work"


def run_and_kill(pipeline: Pipeline, random_: random.Random) -> bool:
    """Start the real command and kill it; False when it was faster."""
    process = subprocess.Popen(
        [COMMAND, "process"],
        env=pipeline.environment,
        cwd=pipeline.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    # Most of them after a commit; some between the claim and the first one.
    seen = offsets if random_.random() < COMMITTED_SHARE else standing
    wait_until_changed(pipeline, process, seen)
    time.sleep(random_.expovariate(1 / 0.15))
    process.kill()
    code = process.wait()
    process.stdout.close()
    assert code in {0, -signal.SIGKILL}
    return code == -signal.SIGKILL


def wait_until_changed(
    pipeline: Pipeline,
    process: subprocess.Popen[bytes],
    seen: Callable[[Pipeline], object],
) -> None:
    """Starting takes seconds in which nothing can go wrong: wait for work."""
    before = seen(pipeline)
    while process.poll() is None and seen(pipeline) == before:
        time.sleep(0.005)


def standing(pipeline: Pipeline) -> list[tuple[str, str, int, str]]:
    """Offset and last change of each stage's checkpoints."""
    if not (pipeline.state / "state.db").exists():
        return []
    with Store(pipeline.store_url) as store:
        return [
            (each.stage, each.partition, each.offset, each.updated_at)
            for each in store.checkpoints(with_kinds=False)
        ]


def offsets(pipeline: Pipeline) -> set[tuple[str, str, int]]:
    """Where the checkpoints of all stages stand, of those that left the start."""
    return {
        (stage, partition, offset)
        for stage, partition, offset, _ in standing(pipeline)
        if offset
    }
