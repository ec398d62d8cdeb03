"""`index rebuild` and `index verify`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline


@pytest.fixture
def learned(learned_once: Pipeline, tmp_path: Path) -> Pipeline:
    """Two files, and a third of the same contents as one of them, learned."""
    shutil.copytree(learned_once.folder, tmp_path, dirs_exist_ok=True)
    made = Pipeline(tmp_path, dict(learned_once.settings))
    content = (made.telemetry / "a.jsonl").read_bytes()
    (made.telemetry / "c.jsonl").write_bytes(content + b"\n")
    assert run(made, "process").code == 0
    return made


def test_a_rebuilt_index_has_a_point_per_example(learned: Pipeline) -> None:
    """Of one that is gone too; duplicates are no points."""
    count = len(learned.example_contents())
    for _ in range(2):
        shutil.rmtree(learned.state / "index")
        gone = run(learned, "index", "verify")
        assert gone.code == 1
        assert "`learning-pipeline index rebuild` makes it again" in gone.errors
        completed = run(learned, "index", "rebuild")
        assert completed.code == 0
        assert f"{count} examples indexed in {learned.state}" in completed.output
    verified = run(learned, "index", "verify")
    assert verified.code == 0
    assert f"{count} examples, {count} points, 0 examples wait" in verified.output


def test_before_anything_is_indexed_there_is_nothing_to_compare(
    processed: Pipeline,
) -> None:
    """It is no error, and said."""
    verified = run(processed, "index", "verify", "--json")
    assert (verified.code, verified.document) == (0, None)
    assert "Note: " in verified.errors
