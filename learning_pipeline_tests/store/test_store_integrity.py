"""Damage that SQLite would only find when it reads it, or never, is found before."""

from __future__ import annotations

import sqlite3
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from learning_pipeline.errors import StateDamagedError
from learning_pipeline.store import Store, integrity, patterns
from learning_pipeline.store.read_only import url_of
from learning_pipeline_tests.store.samples import PARTITION, STAGE, process

PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state database with some work in it, closed."""
    database = tmp_path / "state" / "state.db"
    with Store(url_of(database)) as store:
        process(store, 500)
    return database


def _page_of(path: Path, name: str) -> int:
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
    ).fetchone()
    connection.close()
    path.with_name("state.db-wal").unlink(missing_ok=True)
    path.with_name("state.db-shm").unlink(missing_ok=True)
    return int(page)


def _answer(path: Path, pragma: str) -> str:
    connection = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)
    try:
        return str(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()


def test_an_index_that_disagrees_with_its_table_is_refused(path: Path) -> None:
    """One changed key: an export by that index would leave a row out."""
    whole = path.read_bytes()
    page = _page_of(path, "sqlite_autoindex_patterns_1")
    for position in reversed(range((page - 1) * PAGE_BYTES, page * PAGE_BYTES)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        if _answer(path, "quick_check") == "ok" != _answer(path, "integrity_check"):
            break
    else:
        pytest.fail("no such byte")
    with pytest.raises(StateDamagedError, match="index"):
        Store(url_of(path))
    assert path.read_bytes() == changed


@pytest.mark.parametrize("table", ["checkpoints", "partitions", "generations"])
def test_a_large_database_is_checked_for_where_the_work_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Not for all of its rows at each open, but always for these; it says what."""
    monkeypatch.setattr(integrity, "WHOLE_CHECK_BYTES", 0)
    first_cell = (_page_of(path, table) - 1) * PAGE_BYTES + 8
    content = path.read_bytes()
    path.write_bytes(content[:first_cell] + b"\xff\xff" + content[first_cell + 2 :])
    with pytest.raises(StateDamagedError, match=r"damaged \([^*]"):
        Store(url_of(path))


def test_a_large_database_is_not_read_whole_at_each_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no open touches there is found by `doctor`."""
    end = _page_of(path, "dead_letters") * PAGE_BYTES
    content = path.read_bytes()
    path.write_bytes(content[: end - PAGE_BYTES] + bytes(PAGE_BYTES) + content[end:])
    with pytest.raises(StateDamagedError):
        Store(url_of(path))
    monkeypatch.setattr(integrity, "WHOLE_CHECK_BYTES", 0)
    Store(url_of(path)).close()


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE checkpoints SET "offset" = "offset" - 100',
        'UPDATE checkpoints SET "offset" = 0',
        "UPDATE checkpoints SET generation = 1",
        "UPDATE checkpoints SET guard_digest = prefix_digest",
        "DELETE FROM checkpoints",
        "DELETE FROM checkpoint_history",
        'UPDATE patterns SET "offset" = "offset" + 1000',
        "UPDATE dead_letters SET start_offset = start_offset + 1000",
        "UPDATE checkpoints SET counters = '{'",
    ],
)
def test_a_checkpoint_that_something_contradicts_is_not_claimed(
    store_url: str, change: str
) -> None:
    """It says where to read on; rows and history say where it stood."""
    with Store(store_url) as store:
        process(store, 500)
    engine = sa.create_engine(store_url, poolclass=NullPool)
    with engine.begin() as connection:
        assert connection.exec_driver_sql(change).rowcount > 0
    with (
        Store(store_url) as store,
        store.session(
            stage=STAGE, table=patterns, run_id="run", history_count=20
        ) as session,
        pytest.raises(StateDamagedError, match="learning-pipeline rebuild"),
    ):
        session.claim(PARTITION)


def test_a_stored_text_that_is_none_any_more_is_not_quoted(path: Path) -> None:
    """SQLite would put the rest of it into the error, and so into a log."""
    content = path.read_bytes()
    text = b"prompt of 20"
    assert text in content
    path.write_bytes(content.replace(text, b"prompt o\xff 20"))
    with (
        Store(url_of(path)) as store,
        pytest.raises(StateDamagedError, match="column 'prompt'") as refused,
    ):
        list(store.iterate_patterns())
    told = "".join(traceback.format_exception(refused.value))
    assert "prompt o" not in told


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ('UPDATE checkpoints SET "offset" = "offset" - 100', "not where its last"),
        ("DELETE FROM checkpoints", "rows, but no checkpoint"),
        ("DELETE FROM checkpoint_history", "has no history"),
        ("DELETE FROM partitions", "which has no key"),
        ('UPDATE patterns SET "offset" = "offset" + 1000', "the checkpoint is at"),
        ("DELETE FROM dead_letters", "0 dead letters are stored, 5 were counted"),
    ],
)
def test_what_contradicts_itself_is_listed(
    store_url: str, change: str, match: str
) -> None:
    """For `doctor`, which claims nothing."""
    with Store(store_url) as store:
        process(store, 500)
        assert store.contradictions() == []
    engine = sa.create_engine(store_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(change)
    with Store(store_url) as store:
        assert any(match in each for each in store.contradictions())
