"""SQLite's files are lost, forbidden or fail: said so, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from learning_pipeline.errors import (
    StateDamagedError,
    StoreUnavailableError,
)
from learning_pipeline.store import Store, log_mover
from learning_pipeline.store.second_look import SecondLook, look_again
from learning_pipeline_tests.store.samples import (
    PARTITION,
    batch_output,
    begin,
    commit_to,
    contents,
    open_session,
    process,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

NOBODY = 65_534
LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM patterns").fetchall()
connection.close()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the state database is: in a folder of its own."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "state.db"


def url_to(database: Path) -> str:
    """SQLAlchemy's URL."""
    return f"sqlite:///{database}"


def log_of(database: Path) -> Path:
    """The write-ahead log."""
    return database.with_name(database.name + "-wal")


def assert_exact(database: Path, end_offset: int) -> None:
    """Rows and offset are those of one undisturbed pass."""
    with Store(url_to(database)) as store:
        assert [each.offset for each in store.checkpoints()] == [end_offset]
        assert [row["offset"] for row in store.iterate_patterns()] == [
            row[0] for row in batch_output(0, end_offset).rows
        ]


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Not one more file can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def failing_writes(limit_bytes: int) -> Iterator[None]:
    """A write behind `limit_bytes` of any file fails; SQLite calls it an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may not enter the folder."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _unlink(database: Path) -> None:
    for each in database.parent.iterdir():
        each.unlink()


def _remove_folder(database: Path) -> None:
    shutil.rmtree(database.parent)


def _replace(database: Path) -> None:
    other = database.parent.parent / "other" / "state.db"
    other.parent.mkdir()
    with Store(url_to(other)) as store:
        process(store, 0)
    _unlink(database)
    other.rename(database)


@pytest.mark.parametrize("lose", [_unlink, _remove_folder, _replace])
def test_a_database_that_is_deleted_while_in_use_is_not_written_to(
    database: Path, lose: Callable[[Path], None]
) -> None:
    """Every way to write says so; the next run begins with what is there."""
    with Store(url_to(database)) as store:
        with open_session(store) as session:
            claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
            lose(database)
            writes: list[Callable[[], object]] = [
                lambda: commit_to(session, claim, 200),
                lambda: session.sync([claim]),
            ]
            if lose is not _replace:
                writes += [lambda: session.claim(PARTITION), store.checkpoints]
            for write in writes:
                with pytest.raises(StoreUnavailableError, match="run again"):
                    write()
            assert database.exists() == (lose is _replace)
        with Store(url_to(database)) as new:
            process(new, 300)
        # The same process, with the store that it had.
        assert [each.offset for each in store.checkpoints()] == [300]
        process(store, 400)
    assert_exact(database, 400)


def test_a_session_goes_on_with_a_database_that_was_moved_away_and_back(
    database: Path,
) -> None:
    """Nothing was committed meanwhile, so nothing is lost."""
    aside = database.parent.with_name("aside")
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        database.parent.rename(aside)
        with pytest.raises(StoreUnavailableError, match="No such file"):
            commit_to(session, claim, 200)
        aside.rename(database.parent)
        session.sync([commit_to(session, claim, 300)])
    assert_exact(database, 300)


def test_a_log_that_is_deleted_while_in_use_takes_nothing_with_it(
    database: Path,
) -> None:
    """The connection that still has it open moves it into the database and goes on."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        log_of(database).unlink()
        log_of(database).with_name("state.db-shm").unlink()
        with capture_logs() as logged:
            session.sync([commit_to(session, claim, 300)])
    assert [line["event"] for line in logged] == ["store_connection_lost"]
    assert_exact(database, 300)


def test_a_deleted_log_that_others_in_the_process_have_open_is_not_mixed_with_a_new_one(
    database: Path,
) -> None:
    """The last of them to close saves what is in it; until then nothing is written."""
    with (
        Store(url_to(database)) as store,
        Store(url_to(database)) as other,
        open_session(store) as session,
    ):
        with open_session(other):
            claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
            log_of(database).unlink()
            with pytest.raises(StoreUnavailableError, match="was deleted"):
                commit_to(session, claim, 200)
        other.close()
        session.sync([commit_to(session, claim, 300)])
    with Store(url_to(database)) as store:
        assert [row["offset"] for row in store.iterate_patterns()] == [
            row[0] for row in batch_output(0, 300).rows
        ]


def test_an_idle_connection_to_a_deleted_database_is_not_used_again(
    database: Path,
) -> None:
    """Nor is the database made anew, empty, by whoever looks into it."""
    with Store(url_to(database)) as store:
        process(store, 100)
        _unlink(database)
        with pytest.raises(StoreUnavailableError, match="No such file"):
            store.checkpoints()
        assert not database.exists()
        with Store(url_to(database)) as new:
            process(new, 200)
        assert [each.offset for each in store.checkpoints()] == [200]


@pytest.mark.parametrize(
    ("forbid", "cause"),
    [
        (few_descriptors, os.strerror(errno.EMFILE)),
        (as_nobody, os.strerror(errno.EACCES)),
    ],
)
def test_a_database_that_may_not_be_opened_says_why(
    database: Path, forbid: Callable[[], AbstractContextManager[None]], cause: str
) -> None:
    """A store, and a session of one; both work once they may."""
    with Store(url_to(database)) as store:
        process(store, 100)
        store.close()
        for use in (lambda: Store(url_to(database)), lambda: process(store, 200)):
            with forbid(), pytest.raises(StoreUnavailableError, match=cause):
                use()
        process(store, 200)
    assert_exact(database, 200)


def test_a_session_needs_no_further_descriptor(database: Path) -> None:
    """One that is open goes on while none is left."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        with few_descriptors():
            session.sync([commit_to(session, claim, 200)])
    assert_exact(database, 200)


@pytest.mark.parametrize("spare_bytes", [0, 1_000, 4_096, 10_000])
def test_an_io_error_keeps_nothing_of_the_batch_and_the_session_goes_on(
    database: Path, spare_bytes: int
) -> None:
    """Wherever in the log it comes; twice the same; then the disk is well again."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        limit = log_of(database).stat().st_size + spare_bytes
        with failing_writes(limit):
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="I/O error"):  # noqa: PT012 - until it fails
                    while True:
                        claim = commit_to(session, claim, claim.checkpoint.offset + 100)
        end_offset = claim.checkpoint.offset
        assert [each.offset for each in store.checkpoints()] == [end_offset]
        session.sync([commit_to(session, claim, end_offset + 100)])
    assert_exact(database, end_offset + 100)


def test_a_failing_sync_is_reported_and_made_up_for(database: Path) -> None:
    """Not recorded as synced, until it is."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        before = contents(url_to(database))
        with (
            failing_writes(log_of(database).stat().st_size),
            pytest.raises(StoreUnavailableError, match="I/O error"),
        ):
            session.sync([claim])
        assert contents(url_to(database)) == before
        session.sync([claim])
        assert [each.synced_offset for each in store.checkpoints()] == [100]


def test_a_log_that_cannot_be_moved_is_logged_once(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the thread as well as by the commits; the commits go on."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 500)
    monkeypatch.setattr(log_mover, "WAIT_AFTER_BYTES", 2_000)
    with (
        capture_logs() as logged,
        Store(url_to(database)) as store,
        open_session(store) as session,
    ):
        claim = begin(session, session.claim(PARTITION))
        monkeypatch.setattr(log_mover, "_MOVE", "PRAGMA no such pragma (")
        claim = commit_to(session, claim, 10_000)
    assert [line["event"] for line in logged] == ["write_ahead_log_not_moved"]
    assert_exact(database, 10_000)


def test_a_log_mover_that_cannot_connect_is_logged(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commits move the log themselves then."""
    monkeypatch.setattr(log_mover, "MOVE_AFTER_BYTES", 500)
    with (
        capture_logs() as logged,
        Store(url_to(database)) as store,
        open_session(store) as session,
    ):
        claim = begin(session, session.claim(PARTITION))
        store.close()
        with few_descriptors():
            claim = commit_to(session, claim, 1_000)
            for thread in threading.enumerate():
                if thread.name == "sqlite-log-mover":
                    thread.join(10)
        commit_to(session, claim, 2_000)
    assert [line["event"] for line in logged] == ["write_ahead_log_not_moved"]
    assert os.strerror(errno.EMFILE) in logged[0]["error"]
    assert_exact(database, 2_000)


def test_a_deleted_database_whose_log_is_left_is_refused(database: Path) -> None:
    """It is no fresh start: the log holds commits."""
    with Store(url_to(database)) as store, open_session(store) as session:
        commit_to(session, begin(session, session.claim(PARTITION)), 100)
        database.unlink()
        with pytest.raises(StateDamagedError, match="-wal is there"):
            Store(url_to(database))


def test_a_second_store_in_the_process_does_not_take_the_locks_of_the_first(
    database: Path,
) -> None:
    """Else another process, believing to be the last, deletes the log in use."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        Store(url_to(database)).close()
        with few_descriptors(), pytest.raises(StoreUnavailableError):
            Store(url_to(database))
        subprocess.run(
            [sys.executable, "-c", LOOK, str(database)],
            check=True,
        )
        assert log_of(database).exists()
        commit_to(session, claim, 200)
    assert_exact(database, 200)


def test_a_second_look_at_a_database_in_use_takes_no_lock_away(database: Path) -> None:
    """Or who looks at it next believes to be the last, and deletes the log."""
    with Store(url_to(database)) as store, open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 100)
        assert look_again(database) == SecondLook(is_sound=True)
        subprocess.run([sys.executable, "-c", LOOK, str(database)], check=True)
        assert log_of(database).exists()
        commit_to(session, claim, 200)
    assert_exact(database, 200)


def test_a_second_look_says_what_cannot_be_read_and_changes_nothing(
    database: Path,
) -> None:
    """What is damaged stays so; what is not there, or no file, is named."""
    with Store(url_to(database)) as store:
        process(store, 100)
    content = database.read_bytes()
    assert look_again(database) == SecondLook(is_sound=True)
    assert [each.name for each in database.parent.iterdir()] == [database.name]
    database.write_bytes(content[:8192] + bytes(4096) + content[12288:])
    assert look_again(database) == SecondLook(is_sound=False)
    is_folder = os.strerror(errno.EISDIR)
    assert look_again(database.parent) == SecondLook(
        is_sound=False, unreadable=is_folder
    )
