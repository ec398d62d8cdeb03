"""Files that appear when they are whole, of whatever size."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A stream to a file that takes its place when the block ends without an error.

    Raises:
        OSError: It cannot be written; what was there is untouched.

    Guarantees:
        Killed anywhere, the file is the old one or the new one; a kill may leave a
        hidden file `.<name>.<random>` beside it. It survives a power cut from the end
        of the block on.
    """
    path = path.absolute()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
