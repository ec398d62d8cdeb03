"""Fixtures of the command's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import FIRST_STAGE_ONLY, Pipeline

ALL_STAGES_SETTINGS = {"CHECKPOINT_INTERVAL": "20"}
SETTINGS = {**ALL_STAGES_SETTINGS, **FIRST_STAGE_ONLY}


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A pipeline with two files, nothing done yet."""
    return with_two_files(tmp_path)


@pytest.fixture(scope="session")
def processed_once(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The same, processed; to be copied only."""
    made = with_two_files(tmp_path_factory.mktemp("processed"))
    assert run(made, "process").code == 0
    return made


@pytest.fixture
def processed(processed_once: Pipeline, tmp_path: Path) -> Pipeline:
    """A processed pipeline of the test's own."""
    # With the files' ages, which tell whether there is anything new.
    shutil.copytree(processed_once.folder, tmp_path, dirs_exist_ok=True)
    return Pipeline(tmp_path, SETTINGS)


@pytest.fixture(scope="session")
def learned_once(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Processed by all stages; to be read or copied only."""
    made = with_two_files(tmp_path_factory.mktemp("learned"), ALL_STAGES_SETTINGS)
    assert run(made, "process").code == 0
    return made


def with_two_files(folder: Path, settings: dict[str, str] = SETTINGS) -> Pipeline:
    """A pipeline with `a.jsonl` and `b.jsonl`."""
    made = Pipeline(folder, dict(settings))
    for name in ("a.jsonl", "b.jsonl"):
        content = b"".join(generate_lines(50, seed=ord(name[0])))
        (made.telemetry / name).write_bytes(content)
    return made
