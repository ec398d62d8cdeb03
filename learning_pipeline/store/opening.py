"""Opening the state database: create, migrate, refuse what is damaged or newer."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import URL

from learning_pipeline.errors import StateVersionError, StoreUnavailableError
from learning_pipeline.store import moved_file, schema
from learning_pipeline.store.engine import create_engine
from learning_pipeline.store.failures import damaged, explained, foreign, shown_url
from learning_pipeline.store.integrity import refuse_broken
from learning_pipeline.store.read_only import read_only_engine, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine

_MIGRATION_LOCK = 0x6C705F6D
"""Any constant: the advisory lock under which Postgres is migrated."""

_SQLITE_MAGIC = b"SQLite format 3\0"
_SQLITE_HEADER_BYTES = 100

_alembic_lock = threading.Lock()
"""Alembic keeps the migration under way in a module; threads take turns."""


def prepare(engine: Engine) -> None:
    """Create the database if there is none, bring its schema to this version.

    Raises:
        StateDamagedError: What is there is not a whole state database.
        StateVersionError: It was written by a newer version.
        StoreUnavailableError: It cannot be opened or written.
    """
    url = engine.url.render_as_string(hide_password=False)
    database = engine.url.database
    if engine.dialect.name == "sqlite" and database and database != ":memory:":
        _prepare_sqlite_file(Path(database), url)
    with explained(url):
        _migrate(engine)


def _prepare_sqlite_file(path: Path, url: str) -> None:
    shown = shown_url(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not moved_file.is_open_here(path):
                _refuse_cut_off(path, shown)
        else:
            if _is_logged(path):
                raise damaged(shown, f"{path.name}-wal is there, {path.name} is not")
            _create_sqlite_file(path, url)
            return
    except OSError as error:
        message = (
            f"the state database {path} cannot be used: {error.strerror}. Make its "
            "folder writable and free some space, or set LEARNING_PIPELINE_STATE_DIR "
            "to another."
        )
        raise StoreUnavailableError(message) from error
    with explained(url):
        _refuse_before_writing(path, url)


def _refuse_cut_off(path: Path, shown: str) -> None:
    """Refuse what SQLite itself would take for an empty database, or mend silently."""
    with path.open("rb") as file:
        header = file.read(_SQLITE_HEADER_BYTES)
        size_bytes = os.fstat(file.fileno()).st_size
    if not header:
        # We only ever link a complete file into place, so this one was emptied.
        raise damaged(shown, "the file is empty")
    if not header.startswith(_SQLITE_MAGIC) or len(header) < _SQLITE_HEADER_BYTES:
        raise damaged(shown, "the file is not a database")
    # Fields of the header: https://www.sqlite.org/fileformat2.html#the_database_header
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    page_count_is_valid = header[24:28] == header[92:96]
    page_count = int.from_bytes(header[28:32], "big") if page_count_is_valid else 0
    is_short = size_bytes < page_count * page_bytes
    # While a log is being copied into the file, that may be short: the log has it all.
    if (is_short or size_bytes % (page_bytes or 1)) and not _is_logged(path):
        raise damaged(shown, "the file is cut off")


def _is_logged(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def examine(path: Path, *, immutable: bool = False, whole: bool = False) -> None:
    """Look at a SQLite database that is there, over a connection that cannot write.

    Args:
        path: The database.
        immutable: See `open_read_only`.
        whole: Look at all of it, however large.

    Raises:
        StateDamagedError: It is not a whole state database.
        StateVersionError: It was written by a newer version.
        StoreUnavailableError: It cannot be read.
    """
    url = url_of(path)
    try:
        _refuse_cut_off(path, shown_url(url))
    except OSError as error:
        message = f"the state database {path} cannot be read: {error.strerror}"
        raise StoreUnavailableError(message) from error
    engine = read_only_engine(path, immutable=immutable)
    with explained(url), engine.connect() as connection:
        _checked_revision(connection, is_new=False)
        refuse_broken(connection, whole=whole)


def _refuse_before_writing(path: Path, url: str) -> None:
    """Look at an existing file over a connection that cannot change it."""
    try:
        engine = read_only_engine(path)
        with engine.connect() as connection:
            _checked_revision(connection, is_new=False)
            refuse_broken(connection)
            return
    except sa.exc.OperationalError as error:
        # A transaction that was cut off has to be rolled back first, which takes a
        # connection that may write; that one is checked again before it migrates.
        name = getattr(error.orig, "sqlite_errorname", "")
        if name not in {"SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY"}:
            raise
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            _checked_revision(connection, is_new=False)
            refuse_broken(connection)
    finally:
        engine.dispose()


def _create_sqlite_file(path: Path, url: str) -> None:
    # Built aside and linked into place: a kill while creating leaves no half file,
    # and of two processes that create it at once, one wins and both use that.
    handle, name = tempfile.mkstemp(prefix=".creating-", dir=path.parent)
    os.close(handle)
    building = Path(name)
    beside = [Path(name + end) for end in ("-wal", "-shm", "-journal")]
    engine = create_engine(URL.create("sqlite", database=name))
    try:
        with explained(url, is_new=True):
            _migrate(engine)
        engine.dispose()
        if any(file.exists() for file in beside):
            message = f"{path} cannot be created: its disk is full"
            raise StoreUnavailableError(message)
        with building.open("rb") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(building)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        engine.dispose()
        for litter in (building, *beside):
            litter.unlink(missing_ok=True)


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", "learning_pipeline:store/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _migrate(engine: Engine) -> None:
    head = _script().get_current_head()
    with engine.connect() as connection:
        if _checked_revision(connection, is_new=True) == head:
            return
    with (
        _alembic_lock,
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(
                sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK))
            )
        if _checked_revision(connection, is_new=True) != head:
            _upgrade(connection)


def _upgrade(connection: sa.Connection) -> None:
    # As Alembic's own command, but with the migrations that were read before: it
    # takes a folder that it cannot list for an empty one, and makes no tables.
    script = _script()

    def steps(revision: Any, _: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - its own does so

    config = alembic_config(connection)
    with _readable_migrations(), EnvironmentContext(config, script, fn=steps):
        script.run_env()


@cache
def _script() -> ScriptDirectory:
    """This version's migrations, read once per process: all of them, or an error."""
    with _readable_migrations():
        script = ScriptDirectory.from_config(alembic_config())
        if script.get_current_head() is None:
            message = "their folder cannot be listed"
            raise CommandError(message)
    return script


@contextlib.contextmanager
def _readable_migrations() -> Iterator[None]:
    try:
        yield
    except (OSError, CommandError) as error:
        cause = (isinstance(error, OSError) and error.strerror) or str(error)
        message = (
            "the migrations of the state database, files of learning_pipeline itself, "
            f"cannot be read: {cause}. Nothing was changed; run again, and if that "
            "does not help, install learning_pipeline anew."
        )
        raise StoreUnavailableError(message) from error


def _checked_revision(connection: sa.Connection, *, is_new: bool) -> str | None:
    """The schema version of a whole state database; None if there is none yet.

    Args:
        connection: Only read from.
        is_new: Whether a database without any table may become one of ours.
    """
    shown = shown_url(connection.engine.url.render_as_string(hide_password=False))
    there = set(sa.inspect(connection).get_table_names())
    missing = set(schema.metadata.tables) - there
    options = {"version_table": schema.VERSION_TABLE}
    revisions: tuple[str | None, ...] = MigrationContext.configure(
        connection, opts=options
    ).get_current_heads()
    if not revisions or None in revisions:
        ours = schema.VERSION_TABLE in there or set(schema.metadata.tables) & there
        if ours or (not there and not is_new):
            raise damaged(shown, "its schema version is missing")
        if there and connection.dialect.name == "sqlite":
            raise foreign(shown)
        return None
    script = _script()
    known = {revision.revision for revision in script.walk_revisions()}
    if len(revisions) > 1 or revisions[0] not in known:
        named = ", ".join(map(str, revisions))
        message = (
            f"the state database {shown} has schema {named}, which this "
            "version of learning_pipeline does not know: a newer version wrote it. "
            "Upgrade with `pip install --upgrade learning_pipeline`; nothing was "
            "touched."
        )
        raise StateVersionError(message)
    if revisions[0] == script.get_current_head() and missing:
        raise damaged(shown, f"it lacks the tables {', '.join(sorted(missing))}")
    return revisions[0]
