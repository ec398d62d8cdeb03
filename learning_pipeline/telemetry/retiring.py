"""The folder in which rotated files are compressed or deleted, by one at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from learning_pipeline.errors import RetentionError
from learning_pipeline.telemetry.confinement import (
    open_directory,
    open_root,
    refusal,
    require_regular,
    signed_inode,
)
from learning_pipeline.telemetry.keys import decode_key, shown
from learning_pipeline.telemetry.moving_aside import (
    ASIDE_PREFIX,
    PART_PREFIX,
    part_name,
    put_back,
)
from learning_pipeline.telemetry.physical import Folder
from learning_pipeline.telemetry.retiring_file import (
    FILE_FLAGS,
    RetiringFile,
    failed,
    in_use,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from learning_pipeline.model import PhysicalFile
    from learning_pipeline.telemetry.physical import IsTelemetry


class RetiringFolder:
    """The folder of a partition, while files in it are retired by this process only."""

    def __init__(
        self, descriptor: int, path: str, partition: str, is_telemetry: IsTelemetry
    ) -> None:
        """Take a descriptor, which stays the caller's; `retiring_folder` does."""
        self._descriptor = descriptor
        self._path = path
        self._partition = partition
        self._is_telemetry = is_telemetry

    def open(self, physical: PhysicalFile) -> RetiringFile:
        """Open a rotated file of this folder, to be looked at and to go.

        Raises:
            TelemetryFileInUseError: It is not the one that was listed any more.
            RetentionError: It cannot be retired here.
            TelemetryFileUnreadableError: It cannot be read, or is damaged.
        """
        name = decode_key(physical.key).rpartition(b"/")[2]
        self._require_hidden(physical, name)
        try:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise in_use(physical.key, "it is gone") from None
        except OSError as error:
            raise refusal(physical.key, error) from error
        try:
            status = os.fstat(descriptor)
            require_regular(status, physical.key)
        except BaseException:
            os.close(descriptor)
            raise
        file = RetiringFile(self._descriptor, name, physical, descriptor, status)
        listed = (physical.inode, physical.size_bytes, physical.mtime_ns)
        if (signed_inode(status), status.st_size, status.st_mtime_ns) != listed:
            file.close()
            raise in_use(physical.key, "it was changed or renamed")
        return file

    def tidy_up(self) -> None:
        """Undo what a crash left: put back what was aside, drop what is unfinished.

        Raises:
            RetentionError: It cannot be undone.
        """
        try:
            with os.scandir(self._descriptor) as entries:
                names = [os.fsencode(entry.name) for entry in entries]
            for name in names:
                if name.startswith(ASIDE_PREFIX):
                    put_back(self._descriptor, name, name.removeprefix(ASIDE_PREFIX))
                elif name.startswith(PART_PREFIX):
                    os.unlink(name, dir_fd=self._descriptor)
        except OSError as error:
            raise failed(self._partition, "tidied up after a crash", error) from error

    def _require_hidden(self, physical: PhysicalFile, name: bytes) -> None:
        for hidden in (part_name(name), ASIDE_PREFIX + name):
            text = os.fsdecode(hidden)
            folder = Folder(self._path, [text])
            if folder.owner_of(text, frozenset(), self._is_telemetry) is not None:
                raise RetentionError(
                    f"{shown(physical.key)} is kept: the patterns of telemetry match "
                    f"names that begin with a dot, such as {text!r}",
                    partition=physical.key,
                )


@contextmanager
def retiring_folder(
    root: Path, partition: str, is_telemetry: IsTelemetry
) -> Iterator[RetiringFolder]:
    """The folder of a partition, to retire files in.

    Args:
        root: The telemetry root.
        partition: The partition key.
        is_telemetry: Whether a path is matched by the patterns of telemetry.

    Raises:
        InvalidPartitionKeyError: The key is malformed, or leads through a link.
        TelemetryFileMissingError: There is no such folder.
        TelemetryFileInUseError: Another process retires files in it.
    """
    *folders, _ = decode_key(partition).split(b"/")
    with open_root(root, partition) as root_descriptor, ExitStack() as stack:
        try:
            descriptor = stack.enter_context(open_directory(root_descriptor, folders))
        except OSError as error:
            raise refusal(partition, error) from error
        _lock(descriptor, partition)
        path = os.fsdecode(b"/".join(folders))
        yield RetiringFolder(descriptor, path, partition, is_telemetry)


def _lock(descriptor: int, partition: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use(partition, "another `retain` is at work in its folder") from None
    except OSError:
        # No locks on this file system. Two at once only get in each other's way.
        return
