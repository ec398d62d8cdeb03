"""Reaching a file below the telemetry root without ever leaving it.

A path is walked one component at a time from an open directory, and no component
may be a symbolic link. So a link that is swapped in between a check and the open
is refused too: there is no check apart from the open.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import (
    ConfigurationError,
    InvalidPartitionKeyError,
    TelemetryError,
    TelemetryFileMissingError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.telemetry.keys import decode_key, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROOT_SETTING = f"{ENVIRONMENT_PREFIX}TELEMETRY_DIR"

_ROOT_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECTORY_FLAGS = _ROOT_FLAGS | os.O_NOFOLLOW
# O_NONBLOCK: opening a FIFO that was swapped in must not wait for its writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
_REMEDIES = {
    errno.EACCES: "let this process's user read the file and enter its folders",
    errno.EPERM: "let this process's user read the file and enter its folders",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.EIO: "check the disk and the system's log",
    errno.ESTALE: "the file was replaced on its server; run again",
    errno.EBADMSG: "restore the file from a copy, or delete it to go on without it",
}

_PASSING = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE}
)
"""What no change of a setting would cure."""


@contextmanager
def open_root(root: Path, partition: str = "") -> Iterator[int]:
    """A descriptor of the telemetry root, which itself may be a symbolic link.

    Args:
        root: The telemetry root.
        partition: The key of the file that it is opened for, if for one.

    Raises:
        ConfigurationError: It is missing, no directory or not readable.
        TelemetryFileUnreadableError: It cannot be opened for now.
    """
    try:
        descriptor = os.open(root, _ROOT_FLAGS)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise TelemetryFileUnreadableError(
                f"the telemetry root {shown(str(root))} cannot be opened: "
                f"{describe(error)}",
                partition=partition,
            ) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"the telemetry root {shown(str(root))} cannot be opened: {reason}; "
            f"create it, or set {ROOT_SETTING} to the directory of your telemetry"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_directory(root_descriptor: int, segments: Sequence[bytes]) -> Iterator[int]:
    """A descriptor of a directory below the root, reached through no link.

    Raises:
        OSError: With ELOOP when a component is a symbolic link.
    """
    descriptor = os.dup(root_descriptor)
    try:
        for segment in segments:
            child = _open_no_link(segment, _DIRECTORY_FLAGS, descriptor)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular_file(root: Path, partition: str) -> tuple[int, os.stat_result]:
    """Open a telemetry file for reading.

    Returns:
        A descriptor, which the caller closes, and the file's status.

    Raises:
        InvalidPartitionKeyError: The key is malformed, or leads through a link.
        TelemetryFileMissingError: There is no such file.
        TelemetryFileUnreadableError: It cannot be opened, or is no regular file.
        ConfigurationError: The telemetry root cannot be opened.
    """
    with _parent_of(root, partition) as (parent, name):
        # Only a regular file is opened: opening a device can have effects.
        require_regular(stat_entry(parent, name), partition)
        descriptor = _open_no_link(name, _FILE_FLAGS, parent)
        try:
            status = os.fstat(descriptor)
            require_regular(status, partition)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor, status


def signed_inode(status: os.stat_result) -> int:
    """An inode's number as databases can hold it, in 63 bits."""
    return status.st_ino & (2**63 - 1)


def missing(partition: str) -> TelemetryFileMissingError:
    """The error for a partition of which no file is there any more."""
    return TelemetryFileMissingError(
        f"{shown(partition)} is not below the telemetry root, nor is a rotated file "
        "of it; restore it or delete the partition",
        partition=partition,
    )


def kind_of(mode: int) -> str:
    """What an entry is, for messages."""
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


def describe(error: OSError) -> str:
    """What went wrong, and what to do about it."""
    remedy = _REMEDIES.get(error.errno or 0, "check the file system, then run again")
    return f"{error.strerror or error}; {remedy}"


def unreadable(partition: str, error: OSError) -> TelemetryFileUnreadableError:
    """The error for a file that cannot be opened or read."""
    return TelemetryFileUnreadableError(
        f"{shown(partition)} cannot be read: {describe(error)}", partition=partition
    )


@contextmanager
def _parent_of(root: Path, partition: str) -> Iterator[tuple[int, bytes]]:
    *folders, name = decode_key(partition).split(b"/")
    with open_root(root, partition) as root_descriptor:
        try:
            with open_directory(root_descriptor, folders) as parent:
                yield parent, name
        except OSError as error:
            raise refusal(partition, error) from error


def stat_entry(parent: int, name: bytes) -> os.stat_result:
    """The status of an entry of an open directory, itself when it is a link."""
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def _open_no_link(name: bytes, flags: int, parent: int) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except NotADirectoryError:
        # Linux says so of a link too, when O_DIRECTORY and O_NOFOLLOW are both set.
        if stat.S_ISLNK(stat_entry(parent, name).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def require_regular(status: os.stat_result, partition: str) -> None:
    """Refuse what is no regular file.

    Raises:
        InvalidPartitionKeyError: It is a symbolic link.
        TelemetryFileUnreadableError: It is anything else.
    """
    if stat.S_ISLNK(status.st_mode):
        raise _link_refusal(partition)
    if not stat.S_ISREG(status.st_mode):
        raise TelemetryFileUnreadableError(
            f"{shown(partition)} is {kind_of(status.st_mode)}, not a regular file; "
            "put a regular file there or delete the partition",
            partition=partition,
        )


def refusal(partition: str, error: OSError) -> TelemetryError:
    """The error for a file or folder that could not be reached."""
    if error.errno == errno.ELOOP:
        return _link_refusal(partition)
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
        return TelemetryFileMissingError(
            f"{shown(partition)} is not below the telemetry root "
            f"({error.strerror}); restore it or delete the partition",
            partition=partition,
        )
    return unreadable(partition, error)


def _link_refusal(partition: str) -> InvalidPartitionKeyError:
    return InvalidPartitionKeyError(
        f"{shown(partition)} leads through a symbolic link, which is not followed; "
        "put the file itself below the telemetry root",
        partition=partition,
    )
