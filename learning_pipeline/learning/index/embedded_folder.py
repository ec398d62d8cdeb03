"""The folder of an embedded index: made and removed by one rename, and whose it is."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from learning_pipeline import logs
from learning_pipeline.errors import IndexDamagedError
from learning_pipeline.learning.atomic_file import atomic_file
from learning_pipeline.learning.index.vectors import REBUILD
from learning_pipeline.store import IndexIdentity
from learning_pipeline.store.backup import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IDENTITY_FILE: Final = "learning_pipeline.json"
_HALF_WRITTEN: Final = "temp_segments"
_FORMAT: Final = 1
"""Of the identity file; another is another version's."""

_ANY_ID: Final = "[0-9a-f]" * 32


class _Identity(msgspec.Struct, frozen=True):
    format: int
    index_id: str
    vectors: str


def read_identity(folder: Path) -> IndexIdentity | None:
    """Which index a folder holds; None when there is no folder.

    Raises:
        IndexDamagedError: It does not say.
    """
    if not folder.exists():
        return None
    try:
        content = (folder / _IDENTITY_FILE).read_bytes()
        known = msgspec.json.decode(content, type=_Identity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        if not folder.exists():
            return None
        message = (
            f"the index {folder} does not say which it is ({type(error).__name__}): it "
            f"is damaged, or not ours. {REBUILD}, and moves this one aside"
        )
        raise IndexDamagedError(message) from None
    if known.format != _FORMAT:
        message = (
            f"the index {folder} is of format {known.format}, and this version knows "
            f"{_FORMAT}: use the version that made it, or {REBUILD}"
        )
        raise IndexDamagedError(message)
    return IndexIdentity(str(folder), known.index_id, known.vectors)


@contextlib.contextmanager
def new_folder(folder: Path, vectors: str) -> Iterator[tuple[Path, IndexIdentity]]:
    """Within, make the index in the folder that this gives; then it is put in place.

    A folder that a killed process left half-made is removed, and so is a link that
    leads nowhere and has the index's name. Only with the turn.
    """
    remove_leftovers(folder)
    if folder.is_symlink() and not folder.exists():
        _unlink(folder)
    index_id = uuid.uuid4().hex
    making = folder.with_name(f"{folder.name}.new-{index_id}")
    making.mkdir(parents=True)
    try:
        yield making, IndexIdentity(str(folder), index_id, vectors)
        content = msgspec.json.encode(_Identity(_FORMAT, index_id, vectors))
        with atomic_file(making / _IDENTITY_FILE) as file:
            file.write(content)
        making.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise


def remove(folder: Path) -> None:
    """Remove an index; move it aside when it does not say which. Only with the turn.

    A link to an index goes with the index that it leads to: the next one is made in
    the link's place. One that leads nowhere goes alone.
    """
    remove_leftovers(folder)
    if not folder.exists():
        if folder.is_symlink():
            _unlink(folder)
        return
    try:
        read_identity(folder)
    except IndexDamagedError:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = folder.with_name(f"{folder.name}.damaged-{now}-{uuid.uuid4().hex[:8]}")
        folder.rename(aside)
        sync_folder(folder.parent)
        logs.get_logger().warning("index_moved_aside", path=str(aside))
        return
    # By one rename: a kill while its files go leaves no half of an index behind.
    going = folder.with_name(f"{folder.name}.old-{uuid.uuid4().hex}")
    folder.rename(going)
    sync_folder(folder.parent)
    _discard(going)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left beside the index. Only with the turn."""
    for purpose in ("new", "old"):
        for path in folder.parent.glob(f"{folder.name}.{purpose}-{_ANY_ID}"):
            _discard(path)


def _discard(path: Path) -> None:
    if not path.is_symlink():
        shutil.rmtree(path)
        return
    if (path / _IDENTITY_FILE).is_file():
        _empty(path)
    _unlink(path)


def _empty(linked: Path) -> None:
    # The identity goes last: after a kill what is left is still known as ours. The
    # folder itself stays: it may be where a disk is mounted.
    identity = linked / _IDENTITY_FILE
    for path in linked.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != identity.name:
            path.unlink()
    identity.unlink()


def _unlink(link: Path) -> None:
    target = str(link.readlink())
    link.unlink()
    sync_folder(link.parent)
    logs.get_logger().warning("index_link_removed", path=str(link), target=target)


def remove_half_written(folder: Path) -> None:
    """Remove what a kill while points were written out left. Only with the turn.

    The engine never reads it again, and does not remove it either.
    """
    shutil.rmtree(folder / _HALF_WRITTEN, ignore_errors=True)
