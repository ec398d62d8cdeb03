"""Setting a damaged SQLite database aside, and putting another in its place."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from learning_pipeline.errors import StoreUnavailableError
from learning_pipeline.store import Store, index_feed
from learning_pipeline.store.backup import built, sync_folder, verify_backup
from learning_pipeline.store.engine import create_engine
from learning_pipeline.store.opening import prepare
from learning_pipeline.store.read_only import url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK_START = 0x40000000
_LOCK_BYTES = 512
"""Where SQLite locks a database: https://www.sqlite.org/src/file/src/os.h"""


@contextlib.contextmanager
def nobody_using(path: Path) -> Iterator[None]:
    """Hold the lock that every connection of SQLite has, also on a damaged file.

    No connection to the file may be opened or closed in this process meanwhile.

    Raises:
        StoreUnavailableError: Another process has the database open.

    Guarantees:
        Not on file systems without POSIX locks, such as some network shares.
    """
    if not path.exists():
        yield
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        except OSError:
            message = (
                f"another process has {path} open: stop `learning-pipeline dev` and "
                "every run, then try again"
            )
            raise StoreUnavailableError(message) from None
        yield


def put_in_place(path: Path, stamp: str, fill: Callable[[Path], None]) -> Path | None:
    """Keep a database in a folder of its own, and put a new one in its place.

    Args:
        path: The database.
        stamp: Ends the folder's name.
        fill: Makes the new one, in a file that is there and empty.

    Returns:
        The folder; None when there was no database.

    Raises:
        StoreUnavailableError: Another process has the database open.
        ConfigurationError: The new one cannot be written; nothing was moved.

    Guarantees:
        Nothing is deleted. There is a database at `path` at every moment, the old one
        or the new one: a kill leaves no place for a fresh start.
    """
    with nobody_using(path), built(path, replace=True) as building:
        fill(building)
        return _keep(path, stamp)


def _keep(path: Path, stamp: str) -> Path | None:
    beside = [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]
    beside = [file for file in beside if file.exists()]
    if not path.exists() and not beside:
        return None
    folder = _new_folder(path.parent, f"damaged-{stamp}")
    if path.exists():
        # Under two names until the new one takes the first.
        (folder / path.name).hardlink_to(path)
    for file in beside:
        # A log that stays would be taken for the new database's.
        file.rename(folder / file.name)
    sync_folder(folder)
    sync_folder(path.parent)
    return folder


def fill_from(backup: Path) -> Callable[[Path], None]:
    """A copy of a backup, verified, that knows of no index.

    The index went on after the backup was made: it holds what this database never
    learned, or lacks what was taken back since. So the next run makes it anew.
    """

    def fill(building: Path) -> None:
        expected = verify_backup(backup)
        shutil.copyfile(backup, building)
        verify_backup(building, expected)
        with Store(url_of(building)) as store:
            index_feed.forget_index(store)

    return fill


def fill_empty(building: Path) -> None:
    """A new state database, without any work."""
    building.unlink()
    engine = create_engine(url_of(building))
    try:
        prepare(engine)
    finally:
        engine.dispose()


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            continue
        return folder
