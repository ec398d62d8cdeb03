"""SIGKILL at every named step of load, commit and report, then a rerun."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from learning_pipeline import steps
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.pipeline import Pipeline, assert_as_from_one_pass

SETTINGS = {"CHECKPOINT_INTERVAL": "20", "PROGRESS_SECONDS": "0.1"}


def fill(pipeline: Pipeline, *, rotated: bool = False) -> None:
    """Three files: one with bad records, one torn; optionally one replaced."""
    first = list(generate_lines(150, seed=1))
    first[40:40] = [b"{broken\n", b'["no object"]\n']
    (pipeline.telemetry / "a.jsonl").write_bytes(b"".join(first))
    torn = b"".join(generate_lines(90, seed=2))
    (pipeline.telemetry / "b.jsonl").write_bytes(torn[:-30])
    third = generate_lines(60, seed=4 if rotated else 3)
    (pipeline.telemetry / "c.jsonl").write_bytes(b"".join(third))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """What one undisturbed pass over the same bytes gives."""
    pipeline = Pipeline(tmp_path_factory.mktemp("reference"), dict(SETTINGS))
    fill(pipeline)
    pipeline.process()
    return pipeline


@pytest.fixture(scope="module")
def replaced_reference(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The same, with one file replaced between two passes."""
    pipeline = Pipeline(tmp_path_factory.mktemp("replaced"), dict(SETTINGS))
    fill(pipeline)
    pipeline.process()
    fill(pipeline, rotated=True)
    pipeline.process()
    return pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A pipeline that has not begun."""
    return Pipeline(tmp_path, dict(SETTINGS))


@pytest.mark.parametrize(
    "step", [*steps.NAMES, *steps.DERIVING_NAMES, *steps.INDEX_NAMES]
)
def test_a_kill_at_any_step_costs_nothing(
    step: str, pipeline: Pipeline, reference: Pipeline
) -> None:
    """Killed at a step, in the next run later on again: the rows are of one pass."""
    fill(pipeline)
    code = pipeline.run_forked("process", crash_at=step)
    assert code == -signal.SIGKILL, f"{step} was not reached: exit code {code}"
    pipeline.run_forked("process", crash_at=step, occurrence=3)
    pipeline.process()
    assert_as_from_one_pass(pipeline, reference)


@pytest.mark.parametrize("step", ["generation.before", "generation.after"])
def test_a_kill_while_a_generation_begins_costs_nothing(
    step: str, pipeline: Pipeline, replaced_reference: Pipeline
) -> None:
    """Killed where a replaced file is noticed, no byte is skipped or read twice."""
    fill(pipeline)
    pipeline.process()
    fill(pipeline, rotated=True)
    assert pipeline.run_forked("process", crash_at=step) == -signal.SIGKILL
    pipeline.process()
    assert_as_from_one_pass(pipeline, replaced_reference)


def test_a_kill_at_every_commit_in_a_row_still_gets_to_the_end(
    pipeline: Pipeline, reference: Pipeline
) -> None:
    """Killed after each single commit, every run goes on where the last one stood."""
    fill(pipeline)
    runs = 0
    while pipeline.run_forked("process", crash_at="commit.after") == -signal.SIGKILL:
        runs += 1
        assert runs < 100
    assert runs > 10
    assert_as_from_one_pass(pipeline, reference)
