"""Files that appear when they are whole, of whatever size."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from learning_pipeline.store.backup import sync_folder

_OF_THE_SHELL = frozenset(map(Path, ("/dev/stdout", "/dev/stderr", "/dev/fd", "/proc")))


@contextlib.contextmanager
def atomic_file(path: Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """A stream to a file that takes its place when the block ends without an error.

    A symbolic link is followed; a file that is replaced hands on its permissions. What
    is no file but a pipe or a device is written to as it is.

    Args:
        path: Where.
        synced: Whether it is to survive a power cut, not only a kill.

    Raises:
        OSError: It cannot be written, with its name; what was there is untouched.

    Guarantees:
        Killed anywhere, the file is the old one or the new one; a kill may leave a
        hidden file `.<name>.<random>` beside it. It survives a power cut from the end
        of the block on.
    """
    try:
        if is_stream(path):
            with path.open("wb") as stream:
                yield stream
            return
        with _replaced(Path(os.path.realpath(path)), synced=synced) as file:
            yield file
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def is_stream(path: Path) -> bool:
    """Whether a path names a pipe, a terminal or a device: nothing to be replaced."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISDIR(kind):
        return False
    # What the shell redirected these to is its file, not ours to replace.
    path = path.absolute()
    is_of_the_shell = not _OF_THE_SHELL.isdisjoint((path, *path.parents))
    return not stat.S_ISREG(kind) or is_of_the_shell


@contextlib.contextmanager
def _replaced(path: Path, *, synced: bool) -> Iterator[BinaryIO]:
    mode = None
    if path.exists():
        if path.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path)
            )
        mode = stat.S_IMODE(path.stat().st_mode)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if synced:
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)
