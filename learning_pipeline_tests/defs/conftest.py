"""Fixtures of the tests of what Dagster sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from learning_pipeline import steps
from learning_pipeline.cli.home import dagster_home
from learning_pipeline.settings import load_settings
from learning_pipeline_tests.defs.workbench import Workbench
from learning_pipeline_tests.pipeline import Pipeline

SETTINGS = {"run_retries": {"enabled": True, "max_retries": 3}}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """An empty pipeline that this process's settings point to."""
    made = Pipeline(
        tmp_path,
        {
            "CHECKPOINT_INTERVAL": "20",
            "PROGRESS_SECONDS": "0.1",
            # What most tests are about; `all_stages` takes twice the time.
            "LEARN_STAGES": "interaction_patterns",
        },
    )
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for name, value in made.environment.items():
        if name.startswith("LEARNING_PIPELINE_"):
            monkeypatch.setenv(name, value)
    yield made
    steps.listen(None)


@pytest.fixture
def all_stages(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `learn` have all its stages; for `usefixtures`, which comes first."""
    pipeline.settings["LEARN_STAGES"] = "all"
    monkeypatch.setenv("LEARNING_PIPELINE_LEARN_STAGES", "all")


@pytest.fixture
def instance(pipeline: Pipeline) -> Iterator[dg.DagsterInstance]:
    """Dagster's own storage, in memory: six times as fast as in files."""
    assert pipeline.telemetry.is_dir()
    with dg.DagsterInstance.ephemeral(settings=SETTINGS) as opened:
        yield opened


@pytest.fixture
def bench(pipeline: Pipeline, instance: dg.DagsterInstance) -> Workbench:
    """Both, ready to run."""
    return Workbench(pipeline, instance)


@pytest.fixture
def home_bench(pipeline: Pipeline) -> Iterator[Workbench]:
    """The same on a Dagster home in files, as `process` and `dev` have it."""
    home = str(dagster_home(load_settings()))
    with dg.DagsterInstance.from_config(home) as opened:
        yield Workbench(pipeline, opened)
