"""The write-ahead log is moved beside the commits, and stays bounded."""

from __future__ import annotations

import threading
from pathlib import Path

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


def test_a_moved_log_stays_short_and_loses_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are those of a database whose log was never moved; the thread ends."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 2**60)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 2**61)
    unmoved = tmp_path / "unmoved" / "state.db"
    unmoved.parent.mkdir()
    unmoved_bytes = commit_many(unmoved)
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 5 * BATCH_BYTES)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 40 * BATCH_BYTES)
    moved_bytes = commit_many(database)
    assert moved_bytes < unmoved_bytes / 3
    assert "sqlite-log-mover" not in {each.name for each in threading.enumerate()}
    with (
        Store(f"sqlite:///{database}") as ours,
        Store(f"sqlite:///{unmoved}") as theirs,
    ):
        assert list(ours.iterate_patterns()) == list(theirs.iterate_patterns())


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
