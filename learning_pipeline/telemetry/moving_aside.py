"""Names for files that are about to go, and giving names without taking others away."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from hashlib import blake2b

from learning_pipeline.telemetry.confinement import stat_entry

PART_PREFIX = b".retain-part."
ASIDE_PREFIX = b".retain-aside."
"""The rest of the name is that of the file, which is put back after a crash."""

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


def part_name(name: bytes) -> bytes:
    """What the compressed file of one is called until it is complete."""
    return PART_PREFIX + blake2b(name, digest_size=8).hexdigest().encode() + b".part"


def put_back(parent: int, aside: bytes, name: bytes) -> None:
    """Give a file that was moved aside its name again; if taken, with a number behind.

    Raises:
        OSError: It cannot be renamed.
    """
    number = 0
    while True:
        wanted = name if number == 0 else name + b".%d" % number
        try:
            link_or_rename(parent, aside, wanted)
        except FileExistsError:
            number += 1
            # A crash between the two steps of putting back left both names.
            if os.path.samestat(stat_entry(parent, aside), stat_entry(parent, wanted)):
                os.unlink(aside, dir_fd=parent)
                break
        else:
            break
    os.fsync(parent)


def link_or_rename(parent: int, name: bytes, to: bytes) -> None:
    """Rename within a folder, but never over something that is there.

    Raises:
        OSError: `FileExistsError` when something is there.
    """
    try:
        os.link(name, to, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with suppress(FileNotFoundError):
            stat_entry(parent, to)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(name, to, src_dir_fd=parent, dst_dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)
