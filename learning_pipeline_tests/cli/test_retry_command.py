"""`dead-letters retry`: after a fix, each record once, killed at any step or not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from learning_pipeline import steps
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.extraction.poisonous import install
from learning_pipeline_tests.pipeline import (
    PROJECT,
    Pipeline,
    assert_as_from_one_pass,
)

SETTINGS = {
    "CHECKPOINT_INTERVAL": "7",
    # A retry mends the first of these, and with it what follows from its rows.
    "LEARN_STAGES": "interaction_patterns|finetuning_examples|pattern_index",
}
LIMIT_BYTES = 1024
LINES = [
    line[:-1].ljust(LIMIT_BYTES + 1) + b"\n" if number % 3 == 0 else line
    for number, line in enumerate(generate_lines(40, seed=6))
]
"""Every third is too long until the limit is raised."""

NOTES = """\
import os
from learning_pipeline.extraction import PatternDraft
class Notes:
    kinds = {"note"}
    def extract(self, event):
        if event["n"] % 3 == 0:
            ACT
        return PatternDraft(f"note {event['n']}, what is it?", "A note, I think.")
"""
"""A user's extractor, which acts on every third event."""


def fill(pipeline: Pipeline) -> Pipeline:
    """Two files, one of them rotated once, with some broken lines."""
    lines = [*LINES[:20], b"{broken\n", *LINES[20:]]
    (pipeline.telemetry / "a.jsonl").write_bytes(b"".join(lines))
    (pipeline.telemetry / "b.jsonl.1").write_bytes(b"".join(lines[:15]))
    (pipeline.telemetry / "b.jsonl").write_bytes(b"".join(lines[15:]))
    return pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """One that has rejected a dozen records of each file, and would no longer."""
    made = fill(
        Pipeline(
            tmp_path / "one",
            {**SETTINGS, "MAX_RECORD_BYTES": str(LIMIT_BYTES)},
        )
    )
    made.process()
    made.settings["MAX_RECORD_BYTES"] = str(2**20)
    return made


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """What one pass with the higher limit gives."""
    made = fill(Pipeline(tmp_path_factory.mktemp("ref"), dict(SETTINGS)))
    made.process()
    return made


def test_a_retry_comes_to_what_one_pass_after_the_fix_would(
    pipeline: Pipeline, reference: Pipeline
) -> None:
    """Dry first, then one file, then all; what is still broken stays."""
    before = pipeline.export()
    dry = run(pipeline, "dead-letters", "retry", "--dry-run")
    assert (dry.code, pipeline.export()) == (0, before)
    one = run(pipeline, "dead-letters", "retry", "a.jsonl")
    assert one.output == dry.output.splitlines()[0].replace("would be ", "") + "\n"
    rest = run(pipeline, "dead-letters", "retry", "--reason", "record_too_long")
    assert (rest.code, rest.output.split(":")[0]) == (0, "b.jsonl")
    # The next run brings the index what came late.
    pipeline.process()
    assert_as_from_one_pass(pipeline, reference)
    assert "nothing new" in run(pipeline, "process").output
    assert run(pipeline, "doctor").code == 0
    again = run(pipeline, "dead-letters", "retry", "--reason", "record_too_long")
    assert again.output == "No dead letters to retry.\n"


@pytest.mark.parametrize("step", ["claim.after", *steps.RETRY_NAMES, "sync.before"])
def test_killed_at_any_step_another_retry_goes_on(
    pipeline: Pipeline, reference: Pipeline, step: str
) -> None:
    """SIGKILL; nothing is lost and nothing is doubled."""
    retry = ("dead-letters", "retry")
    assert pipeline.run_forked(*retry, crash_at=step) == -signal.SIGKILL
    pipeline.run_forked(*retry, crash_at=step, occurrence=2)
    assert pipeline.run_forked(*retry) == 0
    # The next run brings the index what came late.
    pipeline.process()
    assert_as_from_one_pass(pipeline, reference)


def test_a_letter_whose_file_is_gone_stays_and_is_reported(
    pipeline: Pipeline,
) -> None:
    """The others are retried; the exit code is 1."""
    (pipeline.telemetry / "b.jsonl.1").unlink()
    completed = run(pipeline, "dead-letters", "retry")
    assert completed.code == 1
    assert "no file holds generation 0 any more" in completed.output
    left = [
        (each["partition"], each["generation"])
        for each in pipeline.dead_letters()
        if each["reason"] == "record_too_long"
    ]
    assert left
    assert set(left) == {("b.jsonl", 0)}


def test_a_stage_of_the_users_own_is_told_what_to_do_instead(
    pipeline: Pipeline,
) -> None:
    """Its function is known to its asset only."""
    completed = run(pipeline, "dead-letters", "retry", "--stage", "mine")
    assert completed.code == 2
    assert "checkpoints rewind --stage" in completed.errors


def test_a_mended_extractor_processes_what_it_crashed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own, which took its process down."""
    site = tmp_path / "site"
    install(site, "notes:Notes")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(site)]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    notes = b"".join(b'{"event": "note", "n": %d}\n' % number for number in range(6))
    made = []
    for name, act in (("broken", "os._exit(3)"), ("mended", "pass")):
        (site / "notes.py").write_text(NOTES.replace("ACT", act))
        made.append(Pipeline(tmp_path / name))
        (made[-1].telemetry / "a.jsonl").write_bytes(notes)
        assert made[-1].run("process").code == 0
    broken, mended = made
    assert [each["reason"] for each in broken.dead_letters()] == [
        "extractor_crashed"
    ] * 2
    done = broken.run("dead-letters", "retry", "--reason", "extractor_crashed")
    assert (done.code, done.output) == (
        0,
        "a.jsonl: 2 processed, giving 2 rows; 0 rejected again; 0 not read\n",
    )
    assert_as_from_one_pass(broken, mended)
