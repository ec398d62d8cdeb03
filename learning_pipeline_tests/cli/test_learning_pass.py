"""`process` with all its stages: what was learned is there when it ends."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.defs.workbench import REAL_FILE, REAL_QUALITY
from learning_pipeline_tests.pipeline import COMMAND, Pipeline, assert_as_from_one_pass

STEPS = ("index.written", "derive.rows_written", "derive.after")


def with_copies(folder: Path, count: int) -> Pipeline:
    """The real file, so many times."""
    pipeline = Pipeline(folder)
    for number in range(count):
        path = pipeline.telemetry / f"{number}.jsonl"
        path.write_bytes(REAL_FILE.read_bytes())
    return pipeline


def test_a_file_that_fails_does_not_keep_the_others_from_being_learned(
    tmp_path: Path,
) -> None:
    """Dagster leaves the steps behind a failed one out; they come afterwards."""
    pipeline = with_copies(tmp_path, 3)
    assert run(pipeline, "process", "1.jsonl").code == 0
    (pipeline.telemetry / "1.jsonl").unlink()
    (pipeline.telemetry / "2.jsonl").write_bytes(
        b'{"event": "error_resolution", "error_description": "The disk of the build '
        b'machine is full", "solution": "Delete the old images, then try again"}\n'
    )
    completed = run(pipeline, "process", "0.jsonl", "1.jsonl", "2.jsonl")
    assert completed.code == 1
    assert "2 files processed, 1 failed" in completed.output
    assert len(pipeline.example_contents()) == REAL_QUALITY + 1
    assert pipeline.index_problems() == []
    found = run(pipeline, "search", "disk", "build", "machine", "--json").document
    assert found[0]["partition"] == "2.jsonl"


@pytest.mark.parametrize("step", STEPS)
def test_killed_and_rewound_again_and_again_it_ends_as_one_pass(
    tmp_path: Path, step: str
) -> None:
    """Between the index's write and its commit too; a rewind in between."""
    pipeline = with_copies(tmp_path / "killed", 2)
    for occurrence in (1, 2):
        code = pipeline.run_forked("process", crash_at=step, occurrence=occurrence)
        assert code == -signal.SIGKILL
        assert pipeline.run_forked("checkpoints", "rewind", "0.jsonl") == 0
    pipeline.process()
    reference = with_copies(tmp_path / "once", 2)
    reference.process()
    assert_as_from_one_pass(pipeline, reference)


def test_two_passes_at_once_wait_for_each_other_at_the_index(tmp_path: Path) -> None:
    """Both succeed; nothing is there twice."""
    pipeline = with_copies(tmp_path, 2)
    running = [
        subprocess.Popen(
            [COMMAND, "process", f"{number}.jsonl"],
            env=pipeline.environment,
            cwd=pipeline.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for number in range(2)
    ]
    assert [each.wait() for each in running] == [0, 0]
    pipeline.process()
    assert len(pipeline.example_contents()) == REAL_QUALITY
    assert pipeline.index_problems() == []
