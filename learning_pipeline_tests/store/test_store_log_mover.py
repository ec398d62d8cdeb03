"""The write-ahead log is moved beside the commits, and stays bounded."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline.store import Store, log_mover
from learning_pipeline_tests.store.samples import (
    PARTITION,
    begin,
    commit_to,
    open_session,
)

BATCH_BYTES = 1_000
COMMIT_COUNT = 400


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the state database is."""
    return tmp_path / "state.db"


def commit_many(database: Path) -> int:
    """Commit a lot; gives the size of the log in bytes before it is closed."""
    with (
        Store(f"sqlite:///{database}") as store,
        open_session(store) as session,
    ):
        claim = begin(session, session.claim(PARTITION))
        commit_to(session, claim, COMMIT_COUNT * BATCH_BYTES, step=BATCH_BYTES)
        return database.with_name("state.db-wal").stat().st_size


def rows_of(database: Path) -> list[dict[str, Any]]:
    """All patterns."""
    with Store(f"sqlite:///{database}") as store:
        return list(store.iterate_patterns())


def never_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log grow as long as it likes."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 2**60)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 2**61)


@pytest.fixture
def unmoved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, int]:
    """A database whose log was never moved, and how long that got, in bytes."""
    (tmp_path / "unmoved").mkdir()
    database = tmp_path / "unmoved" / "state.db"
    never_move(monkeypatch)
    return database, commit_many(database)


def test_a_log_that_grows_too_long_is_moved_by_the_commits(
    database: Path, unmoved: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the commits are, the log is bounded."""
    never_move(monkeypatch)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 40 * BATCH_BYTES)
    assert commit_many(database) < unmoved[1] / 3
    assert rows_of(database) == rows_of(unmoved[0])


def test_a_log_that_is_moved_meanwhile_loses_nothing(
    database: Path, unmoved: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are those of a database whose log was never moved; the thread ends."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 5 * BATCH_BYTES)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 2**61)
    commit_many(database)
    assert "sqlite-log-mover" not in {each.name for each in threading.enumerate()}
    assert rows_of(database) == rows_of(unmoved[0])


def test_a_log_that_cannot_be_moved_does_not_fail_the_commit(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with SQLite's own checkpoints, an error there is none of the commit's."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 5 * BATCH_BYTES)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 40 * BATCH_BYTES)
    monkeypatch.setattr(log_mover, "_MOVE", "PRAGMA no such pragma (")
    commit_many(database)
    with Store(f"sqlite:///{database}") as store:
        (checkpoint,) = store.checkpoints()
    assert checkpoint.offset == COMMIT_COUNT * BATCH_BYTES
