"""Opening: created whole or not at all; what is no whole state database is refused."""

from __future__ import annotations

import signal
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from learning_pipeline.errors import (
    ConfigurationError,
    StateDamagedError,
    StateVersionError,
)
from learning_pipeline.store import Store
from learning_pipeline.store.schema import VERSION_TABLE, metadata
from learning_pipeline_tests.store import child
from learning_pipeline_tests.store.samples import contents, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext

WHOLE_BYTES = 65_536
"""The size of an empty state database of schema 0001."""


@pytest.fixture
def state_file(sqlite_url: str) -> Path:
    """A whole SQLite state database, closed."""
    with Store(sqlite_url) as store:
        process(store, 500)
    return Path(str(make_url(sqlite_url).database))


def _execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _assert_refused(
    path: Path, *, match: str, error: type[Exception] = StateDamagedError
) -> None:
    """Refused twice with the remedy, and the file as it was, byte for byte."""
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(error, match=match):
            Store(f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_a_new_database_is_one_file_that_only_its_owner_can_read(
    sqlite_url: str,
) -> None:
    """Telemetry is private; nothing else is left in its folder."""
    Store(sqlite_url).close()
    path = Path(str(make_url(sqlite_url).database))
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_threads_may_create_different_databases_at_once(tmp_path: Path) -> None:
    """Alembic keeps the one under way in a module; each still gets its tables."""
    count = 8
    start = threading.Barrier(count)

    def create(number: int) -> dict[str, list[tuple[Any, ...]]]:
        start.wait(timeout=60)
        url = f"sqlite:///{tmp_path / str(number)}/state.db"
        Store(url).close()
        return contents(url)

    with ThreadPoolExecutor(count) as threads:
        created = list(threads.map(create, range(count)))
    assert [set(each) for each in created] == [
        {*metadata.tables, VERSION_TABLE}
    ] * count


def test_a_database_is_the_same_when_it_is_opened_again(store_url: str) -> None:
    """Opening changes nothing."""
    with Store(store_url) as store:
        process(store, 500)
    before = contents(store_url)
    Store(store_url).close()
    assert contents(store_url) == before


@pytest.mark.parametrize("name", ["with space", "100%", "a?b", "ä", "a#b", "a&b=c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The file is created where the URL says."""
    path = tmp_path / name / "state.db"
    url = sa.URL.create("sqlite", database=str(path))
    Store(url.render_as_string(hide_password=False).replace("?", "%3F")).close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.exists()


def test_a_kill_while_creating_leaves_nothing_that_is_refused(
    store_url: str,
    processes: ForkServerContext,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Killed before every third statement or file change, until one gets through."""
    is_sqlite = "sqlite" in request.node.name
    kill_count = 0
    for fatal_step in range(1, 1000, 3):
        url = f"sqlite:///{tmp_path / str(fatal_step)}/state.db"
        url = url if is_sqlite else store_url
        running = processes.Process(target=child.create_and_die, args=(url, fatal_step))
        running.start()
        running.join(timeout=60)
        with Store(url) as store:
            process(store, 100)
        if running.exitcode == 0:
            break
        assert running.exitcode == -signal.SIGKILL
        kill_count += 1
        if not is_sqlite:
            _execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    assert kill_count > 5


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"no database at all", b"\0" * 8192, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty or garbage: never a fresh start over what may have been someone's work."""
    path = tmp_path / "state.db"
    path.write_bytes(content)
    _assert_refused(path, match="learning-pipeline rebuild")
    assert _files(tmp_path) == {"state.db": content}


@pytest.mark.parametrize(
    "length", [1, 15, 16, 99, 100, 101, 4095, 4096, 4097, 12_288, 40_000, -4096, -1]
)
def test_a_file_that_was_cut_off_is_refused(state_file: Path, length: int) -> None:
    """Also by a single byte of its last page, which SQLite would not notice."""
    content = state_file.read_bytes()
    assert len(content) >= WHOLE_BYTES
    state_file.write_bytes(content[:length])
    _assert_refused(state_file, match="learning-pipeline rebuild")
    assert [file.name for file in state_file.parent.iterdir()] == ["state.db"]


def test_a_page_of_garbage_is_refused(state_file: Path) -> None:
    """The schema cannot be read any more."""
    content = bytearray(state_file.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    state_file.write_bytes(content)
    _assert_refused(state_file, match="learning-pipeline rebuild")


def test_a_log_without_its_database_is_refused(state_file: Path) -> None:
    """Whoever moved the one away wants to hear of the other."""
    log = state_file.with_name("state.db-wal")
    log.write_bytes(b"frames")
    state_file.unlink()
    with pytest.raises(StateDamagedError, match="learning-pipeline rebuild"):
        Store(f"sqlite:///{state_file}")
    assert _files(state_file.parent) == {"state.db-wal": b"frames"}


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_another_programs_database_is_refused(
    tmp_path: Path, journal_mode: str
) -> None:
    """It is not even switched to another journal mode."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()
    _assert_refused(path, match="another program")


def test_a_database_without_any_table_is_refused(tmp_path: Path) -> None:
    """Ours are linked into place complete; someone emptied this one."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (b)")
    connection.execute("DROP TABLE a")
    connection.close()
    _assert_refused(path, match="schema version is missing")


def _change(url: str, *statements: str) -> Callable[[], object]:
    """Change a database, and give what tells whether it changed again."""
    _execute(url, *statements)
    if not url.startswith("sqlite"):
        return lambda: contents(url)
    path = Path(str(make_url(url).database))
    return path.read_bytes


@pytest.mark.parametrize(
    ("statement", "error", "match"),
    [
        (
            "UPDATE learning_pipeline_version SET version_num = '9999'",
            StateVersionError,
            "schema 9999.*pip install --upgrade",
        ),
        (
            "DROP TABLE learning_pipeline_version",
            StateDamagedError,
            "version is missing.*rebuild",
        ),
        (
            "DELETE FROM learning_pipeline_version",
            StateDamagedError,
            "version is missing.*rebuild",
        ),
        ("DROP TABLE patterns", StateDamagedError, "lacks the tables patterns"),
    ],
)
def test_a_database_of_no_known_version_is_refused(
    store_url: str, statement: str, error: type[Exception], match: str
) -> None:
    """Newer, of none, or with a part missing; with the remedy, and untouched."""
    with Store(store_url) as store:
        process(store, 500)
    look = _change(store_url, statement)
    before = look()
    for _ in range(2):
        with pytest.raises(error, match=match):
            Store(store_url)
        assert look() == before


def test_a_postgres_database_may_be_shared_with_other_programs(
    postgres_url: str,
) -> None:
    """Also with one that keeps its version in Alembic's table, as Dagster does."""
    _execute(
        postgres_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('29b539ebc72a')",
        "CREATE TABLE runs (id BIGINT)",
    )
    with Store(postgres_url) as store:
        process(store, 100)
    Store(postgres_url).close()
    assert contents(postgres_url)["alembic_version"] == [("29b539ebc72a",)]


def test_options_in_a_postgres_url_are_kept(postgres_url: str) -> None:
    """A schema of its own, for one; the store's own options are added."""
    _execute(postgres_url, "CREATE SCHEMA learning")
    url = make_url(postgres_url).update_query_dict(
        {"options": "-c search_path=learning"}
    )
    with Store(url.render_as_string(hide_password=False)) as store:
        process(store, 100)
    uri = make_url(postgres_url).set(drivername="postgresql")
    with psycopg.connect(uri.render_as_string(hide_password=False)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'learning'"
        ).fetchall()
    assert {*metadata.tables, VERSION_TABLE} == {name for (name,) in tables}


@pytest.mark.parametrize(
    "url", ["", "no url", "mysql://root@localhost/db", "postgresql+psycopg://h:port/d"]
)
def test_a_url_of_neither_store_is_a_configuration_error(url: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match="LEARNING_PIPELINE_STORE_URL"):
        Store(url)


def test_a_killed_writers_log_is_read_when_the_store_is_opened(
    sqlite_url: str, processes: ForkServerContext
) -> None:
    """The last commits of a killed run stand in the log alone."""
    Store(sqlite_url).close()
    running = processes.Process(
        target=child.process_and_die, args=(sqlite_url, "commit.after", 3, 500)
    )
    running.start()
    running.join(timeout=60)
    path = Path(str(make_url(sqlite_url).database))
    assert path.with_name("state.db-wal").stat().st_size > 0
    with Store(sqlite_url) as store:
        assert [each.offset for each in store.checkpoints()] == [300]
