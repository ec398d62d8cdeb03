"""Stopping before the disk of the state directory is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import StateDiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.settings import Settings

_SETTING = f"{ENVIRONMENT_PREFIX}MIN_FREE_BYTES"


def free_space_guard(settings: Settings) -> Callable[[], None]:
    """What to call before each commit, and before a run is started at all.

    It looks at the disk of the state directory, which holds Dagster's history too,
    and of an SQLite database that is elsewhere. A call takes some microseconds.

    Args:
        settings: Their `min_free_bytes`; 0 looks at nothing.

    Returns:
        A function that raises `StateDiskFullError` when too little is free.
    """
    if settings.min_free_bytes == 0:
        return lambda: None
    folders = [settings.state_dir.absolute()]
    database = make_url(settings.resolved_store_url)
    if database.get_backend_name() == "sqlite" and database.database:
        folder = Path(database.database).absolute().parent
        if folder not in folders:
            folders.append(folder)

    def require_free_space() -> None:
        for folder in folders:
            _require(folder, settings.min_free_bytes)

    return require_free_space


def free_bytes_of(folder: Path) -> int | None:
    """How much is free on a folder's disk; None when that is not known."""
    disk = None
    for place in (folder, *folder.parents):
        # Before the first run the folder is not there; its parent's disk is its.
        with contextlib.suppress(OSError):
            disk = os.statvfs(place)
            break
    # Some file systems, such as a tmpfs without a limit, do not say how large they are.
    if disk is None or disk.f_blocks == 0:
        return None
    return disk.f_bavail * disk.f_frsize


def _require(folder: Path, min_free_bytes: int) -> None:
    free_bytes = free_bytes_of(folder)
    if free_bytes is not None and free_bytes < min_free_bytes:
        message = (
            f"the disk of {folder} has only {free_bytes:,} bytes free, and "
            f"{_SETTING} is {min_free_bytes:,}: free some space, or set it lower. "
            "Everything up to the last commit is kept, and the next run goes on there"
        )
        raise StateDiskFullError(
            message,
            path=str(folder),
            free_bytes=free_bytes,
            min_free_bytes=min_free_bytes,
        )
