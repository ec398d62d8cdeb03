"""Backups of a SQLite state database: online, consistent, verified, atomic.

By SQLite's backup API, all pages in one step: one read transaction, which in WAL mode
keeps no writer waiting. In several steps it would begin anew after each commit, and
`VACUUM INTO` makes every page anew instead of copying it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.engine import make_url

from learning_pipeline.errors import ConfigurationError, StateDamagedError
from learning_pipeline.store.failures import explained
from learning_pipeline.store.opening import examine
from learning_pipeline.store.read_only import open_read_only, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUILDING_PREFIX = ".creating-"
"""Files that a killed process leaves half made; nobody else uses such names."""


class Backup(msgspec.Struct, frozen=True):
    """A whole copy of a state database.

    Attributes:
        path: Where it is.
        size_bytes: Its size.
        row_counts: Rows of each table, the same as in the database at that moment.
    """

    path: str
    size_bytes: int
    row_counts: Mapping[str, int]


def pg_dump_command(url: str, out: str) -> str:
    """What backs a Postgres database up; without the password, which it asks for."""
    parsed = make_url(url)
    arguments = ["pg_dump", "--format=custom", f"--file={out}"]
    for option, value in (
        ("host", parsed.host or parsed.normalized_query.get("host", ("",))[0]),
        ("port", parsed.port),
        ("username", parsed.username),
        ("dbname", parsed.database),
    ):
        if value:
            arguments.append(f"--{option}={value}")
    return shlex.join(arguments)


def write_backup(path: Path, out: Path, *, replace: bool = False) -> Backup:
    """Copy the database at `path` to `out`, while others may go on writing to it.

    Args:
        path: A SQLite state database.
        out: The copy; its folder is made.
        replace: Whether a file that is there may go.

    Raises:
        ConfigurationError: There is a file already, or it cannot be written.
        StateDamagedError: The database is damaged, or the copy came out different.
        StoreError: The database cannot be used.

    Guarantees:
        `out` appears whole, verified and on stable storage, or not at all.
    """
    if not replace and out.exists():
        raise _in_the_way(out)
    if out.exists() and not out.is_file():
        message = f"{out} is no file that could be replaced; give another --out"
        raise ConfigurationError(message)
    examine(path)
    with built(out, replace=replace) as building:
        with (
            explained(url_of(path)),
            contextlib.closing(open_read_only(path)) as source,
        ):
            source.execute("BEGIN")
            expected = _row_counts(source)
            with contextlib.closing(sqlite3.connect(building)) as target:
                source.backup(target, pages=-1)
                # One file: who opens the copy makes no log beside it.
                target.execute("PRAGMA journal_mode=DELETE")
        verify_backup(building, expected)
    return Backup(str(out), out.stat().st_size, expected)


def verify_backup(
    backup: Path, expected: Mapping[str, int] | None = None
) -> Mapping[str, int]:
    """Check that a file is a whole state database that this version knows.

    Args:
        backup: The file; it is only read.
        expected: How many rows each table must have.

    Returns:
        How many each has.

    Raises:
        StateDamagedError: It is not.
        StateVersionError: It was written by a newer version.
        ConfigurationError: It is not there, or is a database in use.
    """
    if not backup.is_file():
        message = f"{backup} is no file; give the path of a backup"
        raise ConfigurationError(message)
    log = backup.with_name(backup.name + "-wal")
    if log.exists() and log.stat().st_size > 0:
        message = (
            f"{backup} has a -wal file beside it: it is a database in use, no backup. "
            "Make one with `learning-pipeline backup`"
        )
        raise ConfigurationError(message)
    examine(backup, immutable=True, whole=True)
    with (
        explained(url_of(backup)),
        contextlib.closing(open_read_only(backup, immutable=True)) as connection,
    ):
        counts = _row_counts(connection)
    if expected is not None and counts != expected:
        message = f"the copy {backup} has other rows than the database: {counts}"
        raise StateDamagedError(message)
    return counts


@contextlib.contextmanager
def built(out: Path, *, replace: bool) -> Iterator[Path]:
    """A new, empty file of another name, put in place of `out` at the end, whole.

    Raises:
        ConfigurationError: `out` is there and not to be replaced, or cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=BUILDING_PREFIX, dir=out.parent)
        os.close(handle)
        building = Path(name)
        try:
            yield building
            with building.open("rb") as file:
                os.fsync(file.fileno())
            if replace:
                building.replace(out)
            else:
                out.hardlink_to(building)
            sync_folder(out.parent)
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                Path(name + end).unlink(missing_ok=True)
    except FileExistsError:
        raise _in_the_way(out) from None
    except OSError as error:
        message = f"cannot write {out}: {error.strerror or error}"
        raise ConfigurationError(message) from error


def sync_folder(folder: Path) -> None:
    """Put names that came or went on stable storage."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _in_the_way(out: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{out} is there already and was left alone; give another name, or --force"
    )


def _row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    counts = {}
    for (name,) in names:
        quoted = str(name).replace('"', '""')
        query = f'SELECT count(*) FROM "{quoted}"'  # noqa: S608 - a quoted name
        counts[str(name)] = int(connection.execute(query).fetchone()[0])
    return counts
