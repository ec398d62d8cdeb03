"""Backups: whole, of one moment, in place at once, and restored as they were."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from learning_pipeline.errors import (
    ConfigurationError,
    StateDamagedError,
    StateVersionError,
    StoreError,
)
from learning_pipeline.store import Store, backup
from learning_pipeline.store.backup import (
    pg_dump_command,
    verify_backup,
    write_backup,
)
from learning_pipeline.store.read_only import url_of
from learning_pipeline_tests.store.samples import contents, process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state database with some work in it, closed."""
    database = tmp_path / "state" / "state.db"
    with Store(url_of(database)) as store:
        process(store, 500)
    return database


def test_a_backup_is_the_database(path: Path) -> None:
    """Every row of every table; one file that only its owner can read."""
    out = path.parent / "backups" / "copy.db"
    made = write_backup(path, out)
    assert contents(url_of(out)) == contents(url_of(path))
    assert sum(made.row_counts.values()) > 30
    assert [file.name for file in out.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_what_is_no_file_is_not_replaced(path: Path, tmp_path: Path) -> None:
    """Not even by force: it may be a device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match="is no file that could be replaced"):
        write_backup(path, pipe, replace=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_backup_can_be_gone_on_from(path: Path) -> None:
    """Rows and checkpoints in it belong together."""
    out = path.with_name("copy.db")
    write_backup(path, out)
    for database in (path, out):
        with Store(url_of(database)) as store:
            process(store, 1000)
    with Store(url_of(path)) as one, Store(url_of(out)) as other:
        assert list(other.iterate_patterns()) == list(one.iterate_patterns())
        assert other.contradictions() == []


def test_a_backup_while_a_run_commits_is_of_one_moment(path: Path) -> None:
    """Neither waits for the other; in each copy nothing contradicts itself."""
    ended = threading.Event()

    def run() -> None:
        with Store(url_of(path)) as store:
            for end in range(600, 6000, 100):
                process(store, end)
        ended.set()

    writer = threading.Thread(target=run)
    writer.start()
    offsets = set()
    for number in range(1000):
        out = path.with_name(f"copy{number}.db")
        write_backup(path, out)
        with Store(url_of(out)) as store:
            assert store.contradictions() == []
            offsets |= {each.offset for each in store.checkpoints()}
        out.unlink()
        if ended.is_set():
            break
    writer.join()
    assert len(offsets) > 1


def test_a_file_that_is_there_is_left_alone(path: Path) -> None:
    """Unless it is to be replaced; then it is, at once."""
    out = path.with_name("copy.db")
    out.write_bytes(b"dear to somebody")
    with pytest.raises(ConfigurationError, match="--force"):
        write_backup(path, out)
    assert out.read_bytes() == b"dear to somebody"
    write_backup(path, out, replace=True)
    assert verify_backup(out)


def test_a_damaged_database_is_not_backed_up(path: Path) -> None:
    """A copy of damage in the place of a good copy would be worse than none."""
    content = path.read_bytes()
    path.write_bytes(content[:20480] + bytes(4096) + content[24576:])
    out = path.with_name("copy.db")
    with pytest.raises(StateDamagedError):
        write_backup(path, out, replace=True)
    assert not out.exists()


def test_a_copy_with_other_rows_is_not_put_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is counted again, apart from the database."""
    counted = backup._row_counts
    calls = []

    def one_too_many(connection: sqlite3.Connection) -> dict[str, int]:
        calls.append(connection)
        counts = counted(connection)
        return counts | {"patterns": counts["patterns"] + len(calls)}

    monkeypatch.setattr(backup, "_row_counts", one_too_many)
    out = path.with_name("copy.db")
    with pytest.raises(StateDamagedError, match="other rows"):
        write_backup(path, out)
    assert sorted(file.name for file in path.parent.glob("[.c]*")) == []


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    """It lies below a file, as root may write anywhere else."""
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_backup(path, path / "below" / "copy.db")


@pytest.mark.parametrize("damage", ["cut", "zeroed", "text", "newer", "missing"])
def test_what_is_no_backup_is_refused(path: Path, damage: str) -> None:
    """And not changed by being looked at."""
    out = path.with_name("copy.db")
    write_backup(path, out)
    content = out.read_bytes()
    match damage:
        case "cut":
            out.write_bytes(content[:-1])
        case "zeroed":
            out.write_bytes(content[:20480] + bytes(4096) + content[24576:])
        case "text":
            out.write_bytes(b"no database at all")
        case "newer":
            connection = sqlite3.connect(out)
            connection.execute("UPDATE learning_pipeline_version SET version_num='9'")
            connection.commit()
            connection.close()
        case "missing":
            out.unlink()
    before = out.read_bytes() if out.exists() else None
    with pytest.raises((StoreError, ConfigurationError)) as refused:
        verify_backup(out)
    assert isinstance(refused.value, StateVersionError) == (damage == "newer")
    assert (out.read_bytes() if out.exists() else None) == before
    assert not list(path.parent.glob("copy.db-*"))


def test_the_command_for_postgres_shows_no_password() -> None:
    """It is complete but for that, and safe to paste into a shell."""
    url = "postgresql+psycopg://me:s%20ecret@db.example:5433/learned?password=other"
    command = pg_dump_command(url, "my copy.dump")
    assert command == (
        "pg_dump --format=custom '--file=my copy.dump' --host=db.example --port=5433 "
        "--username=me --dbname=learned"
    )
