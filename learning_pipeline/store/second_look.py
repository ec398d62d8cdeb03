"""A second look at a database that SQLite calls damaged: perhaps a read only failed.

SQLite says "malformed" for both: https://sqlite.org/rescode.html#ioerr_corruptfs

    python -I -S second_look.py DATABASE

looks in a process of its own, because closing the file in one that has it open over
SQLite would take away the locks of those connections. It imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOUND, _UNREADABLE, _DAMAGED = 0, 3, 4
"""Exit codes; with every other one it has not looked to the end."""

_MAX_LOOKS = 2
"""What fails for a moment may do so while SQLite looks again."""

_CHUNK_BYTES = 1024 * 1024
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class SecondLook:
    """What came of it.

    Attributes:
        is_sound: Every byte could be read, and SQLite finds nothing wrong.
        unreadable: What the system says of a file that cannot be read; else empty.
    """

    is_sound: bool
    unreadable: str = ""


def look_again(path: Path) -> SecondLook:
    """Read a database once, wholly, and have SQLite check what was read.

    Guarantees:
        Nothing is changed, and no lock of this process is lost. It is only called
        sound when it could be looked at to the end.
    """
    command = [sys.executable, "-I", "-S", __file__, str(path)]
    try:
        ended = subprocess.run(  # noqa: S603 - this very file
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        code = None
    else:
        code = ended.returncode
        if code == _UNREADABLE:
            return SecondLook(is_sound=False, unreadable=ended.stdout.decode())
    if code not in {_SOUND, _DAMAGED}:
        # SQLite's own closing takes no lock away, unless it is told to take none.
        return SecondLook(is_sound=_finds_nothing(path, "mode=ro"))
    return SecondLook(is_sound=code == _SOUND)


def _look(path: Path) -> int:
    log, journal = (path.with_name(path.name + end) for end in ("-wal", "-journal"))
    is_logged = journal.exists() or (log.exists() and log.stat().st_size > 0)
    # Where nobody writes, not even a file is made beside it.
    option = "mode=ro" if is_logged else "immutable=1"
    for _ in range(_MAX_LOOKS):
        try:
            _read(path)
            if is_logged:
                _read(log)
        except FileNotFoundError:
            if not path.exists():
                raise
        except OSError as error:
            sys.stdout.write(error.strerror or str(error))
            return _UNREADABLE
        if _finds_nothing(path, option):
            return _SOUND
    return _DAMAGED


def _finds_nothing(path: Path, option: str) -> bool:
    uri = f"{path.absolute().as_uri()}?{option}"
    try:
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS)
        ) as connection:
            connection.execute("PRAGMA cell_size_check=ON")
            found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.DatabaseError:
        return False
    return bool(found == [("ok",)])


def _read(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = 0
        while read_bytes := len(os.pread(descriptor, _CHUNK_BYTES, offset)):
            offset += read_bytes
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(_look(Path(sys.argv[1])))
