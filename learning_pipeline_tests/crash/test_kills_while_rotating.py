"""SIGKILL at random moments of two workers, while the files that they read rotate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from learning_pipeline_tests.crash import rotating
from learning_pipeline_tests.pipeline import PROJECT

SWEEP_KILLS = int(os.environ.get("LEARNING_PIPELINE_TEST_KILLS", "1000"))


def test_kills_of_two_workers_while_files_rotate_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    """A few kills: the bounded part of the sweep."""
    kill_while_rotating(tmp_path, kill_count=25, seed=1)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_a_thousand_kills_while_files_rotate_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    """As many kills as LEARNING_PIPELINE_TEST_KILLS says, 1,000 by default."""
    kill_while_rotating(tmp_path, kill_count=SWEEP_KILLS, seed=2)


def kill_while_rotating(folder: Path, *, kill_count: int, seed: int) -> None:
    """Let it run, and look at what is stored in the end."""
    log = folder / "log"
    with log.open("wb") as errors:
        completed = subprocess.run(
            [
                sys.executable,
                *("-m", rotating.__name__),
                *(str(folder), str(kill_count), str(seed)),
            ],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
    assert completed.returncode == 0, log.read_text()[-4000:]
    outcome = json.loads(completed.stdout.splitlines()[-1])
    print(outcome)
    assert (outcome["lost"], outcome["doubled"], outcome["unexpected"]) == ([], [], [])
    assert (outcome["lost_bytes"], outcome["dead_letters"]) == (0, 0)
    assert outcome["counted"] == outcome["written"] > kill_count
    assert outcome["problems"] == []
    assert outcome["working"] >= kill_count // 4, "too few kills hit a worker at work"
