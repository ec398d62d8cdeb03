"""Locked, full, read-only, gone: said so, nothing half there, and it works again."""

from __future__ import annotations

import os
import sqlite3
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from learning_pipeline.errors import (
    StateDamagedError,
    StoreError,
    StoreUnavailableError,
)
from learning_pipeline.model import BatchOutput, Counters
from learning_pipeline.store import Store
from learning_pipeline_tests.conftest import administered, running_postgres, url_of
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    batch_output,
    commit_to,
    contents,
    fingerprint_at,
    open_session,
    pattern_row,
    process,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from learning_pipeline.store import Claim, StageSession
    from learning_pipeline_tests.store.conftest import SmallDisk


@contextmanager
def _locked(url: str) -> Iterator[None]:
    """Another program has the database in a writing transaction."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("LOCK TABLE checkpoints, stages, partitions")
        yield


@pytest.mark.usefixtures("short_waits")
def test_a_locked_database_is_waited_for_and_then_reported(store_url: str) -> None:
    """Every way to write; all work again when the lock is gone."""
    with Store(store_url) as store, open_session(store) as session:
        claim = commit_to(session, session.claim(PARTITION), 100)
        before = contents(store_url)
        writes: list[Callable[[], object]] = [
            lambda: commit_to(session, claim, 200),
            lambda: session.claim(PARTITION),
            lambda: session.sync([claim]),
            lambda: session.finish_pass(claim, seen_signature="", size_bytes=1),
            lambda: store.rewind(stage=STAGE, partition=PARTITION, to_offset=0),
            lambda: store.clear(stage=STAGE, partition=PARTITION),
        ]
        with _locked(store_url):
            for write in writes:
                with pytest.raises(StoreUnavailableError, match="run again"):
                    write()
        assert contents(store_url) == before
        claim = commit_to(session, claim, 300)
        session.sync([claim])
        store.rewind(stage=STAGE, partition=PARTITION, to_offset=0)


def _commit_large(session: StageSession, claim: Claim) -> Claim:
    offset = claim.checkpoint.offset
    return session.commit(
        claim,
        BatchOutput([pattern_row(offset, text="x" * 50_000)], [], Counters()),
        end_offset=offset + 10,
        fingerprint=fingerprint_at(offset + 10),
        size_bytes=1000,
    )


def test_a_full_disk_rolls_the_batch_back_and_the_store_works_again(
    small_disk: SmallDisk,
) -> None:
    """With the same store and the same session, once there is space again."""
    ballast = small_disk.path / "ballast"
    ballast.write_bytes(b"\0" * 1_000_000)
    with Store(f"sqlite:///{small_disk.path / 'state.db'}") as store:
        with open_session(store) as session:
            claim = session.claim(PARTITION)
            with pytest.raises(StoreUnavailableError, match="full"):  # noqa: PT012 - until it is full
                for _ in range(100):
                    claim = _commit_large(session, claim)
            assert [each.offset for each in store.checkpoints()] == [
                claim.checkpoint.offset
            ]
            assert claim.checkpoint.offset == 10 * len(list(store.iterate_patterns()))
            ballast.unlink()
            claim = _commit_large(session, claim)
            session.sync([claim])
        with open_session(store) as session:
            claim = _commit_large(session, session.claim(PARTITION))
        assert claim.checkpoint.offset == 10 * len(list(store.iterate_patterns()))


@pytest.mark.parametrize("free_bytes", [0, 4_096, 20_000, 40_000])
def test_a_full_disk_is_called_full_also_by_who_only_looks(
    small_disk: SmallDisk, free_bytes: int
) -> None:
    """Not a broken one, and no batch is spoken of; it works again with space."""
    url = f"sqlite:///{small_disk.path / 'state.db'}"
    with Store(url) as store:
        process(store, 100)
    ballast = small_disk.path / "ballast"
    disk = os.statvfs(small_disk.path)
    ballast.write_bytes(b"\0" * (disk.f_bavail * disk.f_frsize - free_bytes))
    with (
        pytest.raises(StoreUnavailableError, match="disk is full, with") as caught,
        Store(url) as store,
    ):
        process(store, 200)
    assert "free some space" in str(caught.value)
    assert "batch" not in str(caught.value)
    ballast.unlink()
    with Store(url) as store:
        process(store, 200)


@pytest.mark.parametrize("free_bytes", [0, 4_096, 40_000, 80_000, 120_000])
def test_a_disk_that_is_too_full_to_create_on_leaves_nothing(
    small_disk: SmallDisk, free_bytes: int
) -> None:
    """No half database that the next run would refuse, and no litter."""
    ballast = small_disk.path / "ballast"
    ballast.write_bytes(b"\0" * (2 * 1024 * 1024 - free_bytes))
    url = f"sqlite:///{small_disk.path / 'state.db'}"
    with pytest.raises(StoreUnavailableError, match=r"full|No space"):
        Store(url)
    assert [file.name for file in small_disk.path.iterdir()] == ["ballast"]
    ballast.unlink()
    with Store(url) as store:
        process(store, 100)


def test_a_read_only_disk_is_reported_and_the_store_works_again(
    small_disk: SmallDisk,
) -> None:
    """Reading, writing and opening; with the same store once it can be written."""
    url = f"sqlite:///{small_disk.path / 'state.db'}"
    with Store(url) as store:
        process(store, 200)
        before = contents(url)
        store.close()
        small_disk.set_read_only(read_only=True)
        for use in (
            lambda: process(store, 300),
            store.checkpoints,
            lambda: list(store.iterate_patterns()),
            lambda: Store(url),
            lambda: Store(f"sqlite:///{small_disk.path / 'new.db'}"),
        ):
            with pytest.raises(StoreUnavailableError):
                use()
        small_disk.set_read_only(read_only=False)
        assert contents(url) == before
        process(store, 300)
        assert [each.offset for each in store.checkpoints()] == [300]


@pytest.mark.parametrize("what", ["folder is a file", "file is a folder"])
def test_a_path_that_cannot_be_a_database_is_reported(
    tmp_path: Path, what: str
) -> None:
    """With the setting to change."""
    path = tmp_path / "state" / "state.db"
    if what == "folder is a file":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    with pytest.raises(StoreUnavailableError, match="LEARNING_PIPELINE_STATE_DIR"):
        Store(f"sqlite:///{path}")


@pytest.mark.usefixtures("few_tries")
def test_a_postgres_that_is_gone_is_reported_and_the_store_works_again() -> None:
    """Stopped in the middle of a run; the same store goes on when it is back."""
    with running_postgres() as server:
        url = url_of(server, "postgres").render_as_string(hide_password=False)
        with Store(url) as store:
            session = open_session(store)
            claim = commit_to(session, session.claim(PARTITION), 100)
            session.sync([claim])
            export = store.iterate_patterns()
            assert next(export)["offset"] == 20
            server.stop()
            for use in (
                lambda: commit_to(session, claim, 200),
                lambda: session.claim(PARTITION),
                lambda: session.sync([claim]),
                store.checkpoints,
                lambda: open_session(store),
                lambda: store.rewind(stage=STAGE, partition=PARTITION, to_offset=0),
                lambda: list(store.iterate_patterns()),
                lambda: list(export),
                lambda: Store(url),
            ):
                with pytest.raises(StoreUnavailableError, match="run again"):
                    use()
            server.ensure_postgres_running()
            claim = commit_to(session, claim, 200)
            session.__exit__()
            process(store, 300)
            assert [each.offset for each in store.checkpoints()] == [300]
            assert [row["offset"] for row in store.iterate_patterns()] == [
                row[0] for row in batch_output(0, 300).rows
            ]


def _cut_connections(server: Any) -> None:
    with administered(server) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = 'store'"
        )


def test_an_export_over_a_connection_that_is_cut_is_reported(
    postgres_url: str,
    postgres_server: Any,
) -> None:
    """It ends with an error, not as if it were complete."""
    with Store(postgres_url) as store:
        with open_session(store) as session:
            session.commit(
                session.claim(PARTITION),
                BatchOutput([pattern_row(n) for n in range(3000)], [], Counters()),
                end_offset=3000,
                fingerprint=fingerprint_at(3000),
                size_bytes=3000,
            )
        export = store.iterate_patterns()
        next(export)
        _cut_connections(postgres_server)
        with pytest.raises(StoreUnavailableError):
            list(export)
        assert len(list(store.iterate_patterns())) == 3000


def test_a_database_that_is_damaged_while_in_use_is_reported(
    sqlite_url: str,
) -> None:
    """As damaged, with the way out."""
    with Store(sqlite_url) as store:
        process(store, 500)
    path = Path(str(make_url(sqlite_url).database))
    with Store(sqlite_url) as store:
        connection = sqlite3.connect(path)
        [(page,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'patterns'"
        )
        connection.close()
        store.close()
        content = bytearray(path.read_bytes())
        content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        path.write_bytes(content)
        with pytest.raises(StateDamagedError, match="learning-pipeline rebuild"):
            list(store.iterate_patterns())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret-pw@/db?host=/nonexistent",
        "postgresql+psycopg://me@/db?host=/nonexistent&password=s3cret-pw",
        "postgresql+psycopg://me:s3cret-pw@localhost:1/db?connect_timeout=2",
        "postgresql+psycopg://me:s3cret-pw@localhost:1/db?sslmode=s3cret-pw",
        "postgresql+psycopg://me:pw@localhost:s3cret-pw/db",
        "oracle://me:s3cret-pw@localhost/db",
    ],
)
def test_an_error_never_shows_a_password(url: str) -> None:
    """Neither its message nor the causes that a traceback prints."""
    with pytest.raises(Exception, match=r"state database|STORE_URL") as caught:
        Store(url)
    shown = "".join(
        f"{each}" for each in traceback.format_exception(caught.value, limit=0)
    )
    assert "s3cret-pw" not in shown


def test_a_read_only_postgres_is_unavailable(postgres_url: str) -> None:
    """A standby, say: it may be made writable again."""
    with Store(postgres_url) as store:
        process(store, 100)
    uri = make_url(postgres_url).update_query_dict(
        {"options": "-c default_transaction_read_only=on"}
    )
    with Store(uri.render_as_string(hide_password=False)) as store:
        assert len(store.checkpoints()) == 1
        with pytest.raises(StoreUnavailableError, match="read-only"):
            process(store, 200)


def test_values_that_a_query_cannot_carry_are_an_error_of_this_project(
    store: Store,
) -> None:
    """Half a character fits no database."""
    with pytest.raises(StoreError), open_session(store) as session:
        session.claim("\ud800")
    with pytest.raises(StoreError):
        store.checkpoints(keys=["\ud800"])


def test_postgres_errors_are_shown_without_the_values_they_quote(
    postgres_url: str,
) -> None:
    """A unique key's DETAIL, say."""
    with Store(postgres_url) as store, open_session(store) as session:
        letters = [*batch_output(0, 10).dead_letters] * 2
        with pytest.raises(StoreError) as caught:
            session.commit(
                session.claim(PARTITION),
                BatchOutput([], letters, Counters()),
                end_offset=10,
                fingerprint=fingerprint_at(10),
                size_bytes=10,
            )
    assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
    assert "DETAIL" not in str(caught.value)
