"""Where Dagster keeps its history: made whole, or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from learning_pipeline.cli.home import dagster_instance
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import load_settings
from learning_pipeline_tests.forking import FORK_SERVER


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory without anything in it."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("LEARNING_PIPELINE_STATE_DIR", str(tmp_path))
    return tmp_path


def make_and_die(state: str, statement_number: int) -> None:
    """Open Dagster's home, and be killed before so many statements of SQL."""
    os.environ["LEARNING_PIPELINE_STATE_DIR"] = state
    os.environ.pop("DAGSTER_HOME", None)
    left = iter(range(statement_number))

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    with dagster_instance(load_settings()):
        pass


@pytest.mark.parametrize("statement_number", [0, 1, 20, 50, 78, 85, 92, 99, 101, 120])
def test_a_kill_while_it_is_made_costs_nothing(
    state: Path, statement_number: int
) -> None:
    """Dagster never completes a database that is there: it has to be made again."""
    process = FORK_SERVER.Process(
        target=make_and_die, args=(str(state), statement_number)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with dagster_instance(load_settings()) as instance:
        instance.add_dynamic_partitions("telemetry_files", ["a.jsonl"])
        assert instance.get_runs_count() == 0
    assert sorted(each.name for each in (state / "dagster_home").iterdir()) == [
        *("dagster.yaml", "history", "opening.lock", "schedules"),
    ]


def test_one_that_another_left_half_made_is_refused(state: Path) -> None:
    """With what to do; before anything runs."""
    with dagster_instance(load_settings()):
        pass
    path = state / "dagster_home" / "history" / "runs" / "index.db"
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE dynamic_partitions")
    database.close()
    with (
        pytest.raises(ConfigurationError, match="Dagster cannot use"),
        dagster_instance(load_settings()),
    ):
        pass
