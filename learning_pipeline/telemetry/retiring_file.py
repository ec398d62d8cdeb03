"""A rotated file that is to be compressed or deleted, held open for it.

A file that goes is first moved aside, under a name that is no telemetry, looked at
once more, and only then deleted: a rotation that puts another file at its name in
that moment does not lose it. `RetiringFolder.tidy_up` undoes what a crash leaves.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from learning_pipeline.errors import RetentionError, TelemetryFileInUseError
from learning_pipeline.model import Compression, PhysicalFile
from learning_pipeline.steps import reached
from learning_pipeline.telemetry.confinement import (
    describe,
    require_regular,
    signed_inode,
    stat_entry,
)
from learning_pipeline.telemetry.files import TelemetryFile
from learning_pipeline.telemetry.gzip_writing import content_of, write_gzip
from learning_pipeline.telemetry.keys import decode_key, quote_path, shown
from learning_pipeline.telemetry.leases import unwritten
from learning_pipeline.telemetry.moving_aside import (
    ASIDE_PREFIX,
    link_or_rename,
    part_name,
    put_back,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class RetiringFile:
    """A rotated file that is to go; a context manager that closes it.

    Attributes:
        content: To recognise what it holds.
        is_removed: Whether it was deleted, durably or not.
    """

    def __init__(
        self,
        parent: int,
        name: bytes,
        physical: PhysicalFile,
        descriptor: int,
        status: os.stat_result,
    ) -> None:
        """Take over a descriptor; `RetiringFolder.open` makes these."""
        self._parent = parent
        self._name = name
        self._physical = physical
        self._descriptor = descriptor
        self._status = status
        self._part: int | None = None
        self._placed_inode: int | None = None
        self.is_removed = False
        self.content = TelemetryFile(
            descriptor, physical.key, status, physical.compression
        )

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; drop what is unfinished."""
        self.close()

    def close(self) -> None:
        """Give the descriptors back; an unfinished compressed file goes."""
        self.content.close()
        if self._part is not None:
            os.close(self._part)
            self._part = None
            with suppress(OSError):
                os.unlink(part_name(self._name), dir_fd=self._parent)

    def digest(self) -> bytes:
        """SHA-256 of its content, all of which is read.

        Raises:
            TelemetryFileInUseError: It was written to meanwhile.
            RetentionError: It cannot be read.
        """
        whole = sha256()
        size_bytes = 0
        with self._explained("read"):
            for piece in content_of(self._descriptor, self._physical.compression):
                whole.update(piece)
                size_bytes += len(piece)
        if size_bytes != self.content.size_bytes:
            raise in_use(self._physical.key, "it was written to")
        self._require_unchanged()
        return whole.digest()

    def write_compressed(self) -> bytes:
        """Write what it holds, compressed and verified, under a name of no telemetry.

        Where that is there already under its final name, nothing is written.

        Returns:
            SHA-256 of its content.

        Raises:
            TelemetryFileInUseError: It was written to meanwhile, or something else
                has the name that the compressed file is to have.
            RetentionError: It cannot be read, written or verified.
        """
        with self._explained("compressed"):
            there = self._digest_of_target()
            if there is not None:
                digest = self.digest()
                if there != digest:
                    raise in_use(
                        self._physical.key,
                        f"{shown(self.target_key)} is there, with another content",
                    )
                return digest
            self._part = os.open(
                part_name(self._name), _PART_FLAGS, 0o600, dir_fd=self._parent
            )
            digest, size_bytes = write_gzip(
                content_of(self._descriptor, self._physical.compression), self._part
            )
            if size_bytes != self.content.size_bytes:
                raise in_use(self._physical.key, "it was written to")
            self._require_unchanged()
            self._keep_looks(self._part)
            os.fsync(self._part)
            # Read from the disk again, as far as the system lets us.
            os.posix_fadvise(self._part, 0, 0, os.POSIX_FADV_DONTNEED)
            if _digest_of(self._part) != digest:
                raise RetentionError(
                    f"{shown(self._physical.key)} is kept: what was written of it "
                    "cannot be read back; check the disk and the system's log",
                    partition=self._physical.key,
                )
        return digest

    @property
    def target_key(self) -> str:
        """The path of the compressed file, written like a partition key."""
        folder = decode_key(self._physical.key).rpartition(b"/")
        return quote_path(b"".join(folder[:2]) + self._target)

    def place_compressed(self) -> PhysicalFile:
        """Give the compressed file its name, durably.

        Raises:
            TelemetryFileInUseError: Something else has got that name.
            RetentionError: It cannot be renamed.
        """
        with self._explained("compressed"):
            if self._part is not None:
                try:
                    link_or_rename(self._parent, part_name(self._name), self._target)
                except FileExistsError:
                    raise in_use(
                        self._physical.key, f"{shown(self.target_key)} is there"
                    ) from None
                os.fsync(self._parent)
                os.close(self._part)
                self._part = None
                status = stat_entry(self._parent, self._target)
                self._placed_inode = status.st_ino
            else:
                # Left by a crash, or by somebody who did not sync it.
                descriptor = os.open(self._target, FILE_FLAGS, dir_fd=self._parent)
                try:
                    os.fsync(descriptor)
                    status = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
                os.fsync(self._parent)
        return PhysicalFile(
            key=self.target_key,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=signed_inode(status),
            compression=Compression.GZIP,
            is_active=False,
        )

    def remove(self) -> None:
        """Delete it, durably, if it still is what was read and nobody writes to it.

        Raises:
            TelemetryFileInUseError: It is not, or somebody does; it was kept.
            RetentionError: It cannot be deleted; it was kept.

        Guarantees:
            No other file is deleted, whatever is renamed meanwhile. What a writer
            adds is not lost either, unless it opens the file after the last look, or
            the file system cannot tell whether a file is open (it can on Linux, on a
            local disk, for a file of this process's user or as root).
        """
        aside = ASIDE_PREFIX + self._name
        try:
            with self._explained("deleted"), unwritten(self._descriptor) as is_so:
                self._require_unchanged()
                self._require_free(aside)
                os.rename(
                    self._name, aside, src_dir_fd=self._parent, dst_dir_fd=self._parent
                )
                reached("retain.aside")
                self._require_still(aside, is_unwritten=is_so())
                os.unlink(aside, dir_fd=self._parent)
                self.is_removed = True
                reached("retain.removed")
                os.fsync(self._parent)
        except BaseException:
            self._unplace()
            raise

    @property
    def _target(self) -> bytes:
        return self._name + Compression.GZIP.value.encode()

    def _digest_of_target(self) -> bytes | None:
        try:
            descriptor = os.open(self._target, FILE_FLAGS, dir_fd=self._parent)
        except FileNotFoundError:
            return None
        try:
            require_regular(os.fstat(descriptor), self.target_key)
            return _digest_of(descriptor)
        except OSError:
            return b""  # being written, or damaged: not what this file holds
        finally:
            os.close(descriptor)

    def _keep_looks(self, descriptor: int) -> None:
        """Give the compressed file the mode, owner and times of this one."""
        status = self._status
        new = os.fstat(descriptor)
        if (status.st_uid, status.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o7777)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _require_unchanged(self) -> None:
        now = os.fstat(self._descriptor)
        try:
            named = stat_entry(self._parent, self._name)
        except FileNotFoundError:
            raise in_use(self._physical.key, "it was renamed or deleted") from None
        if _version(now) != _version(self._status) or named.st_ino != now.st_ino:
            raise in_use(self._physical.key, "it was written to or renamed")

    def _require_free(self, aside: bytes) -> None:
        with suppress(FileNotFoundError):
            stat_entry(self._parent, aside)
            raise in_use(
                self._physical.key, "a crash left another of its name aside; run again"
            )

    def _require_still(self, aside: bytes, *, is_unwritten: bool) -> None:
        now = stat_entry(self._parent, aside)
        # Not by the time of its last change of any kind: that was the rename.
        is_same = _version(now)[:-1] == _version(self._status)[:-1]
        if not is_same or not is_unwritten:
            put_back(self._parent, aside, self._name)
            raise in_use(self._physical.key, "it is written to or renamed")

    def _unplace(self) -> None:
        """Take the compressed file back: the other one was kept."""
        with suppress(OSError):
            if (
                self._placed_inode is not None
                and stat_entry(self._parent, self._target).st_ino == self._placed_inode
                and stat_entry(self._parent, self._name)
            ):
                os.unlink(self._target, dir_fd=self._parent)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise in_use(
                self._physical.key, "somebody has it open for writing"
            ) from None
        except OSError as error:
            raise failed(self._physical.key, what, error) from error


def _version(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _digest_of(descriptor: int) -> bytes:
    whole = sha256()
    for piece in content_of(descriptor, Compression.GZIP):
        whole.update(piece)
    return whole.digest()


def in_use(key: str, why: str) -> TelemetryFileInUseError:
    """The error for a file that others do something to."""
    return TelemetryFileInUseError(
        f"{shown(key)} is kept: {why}", partition=key, reason=why
    )


def failed(key: str, what: str, error: OSError) -> RetentionError:
    """The error for a file or folder that the system refuses to change."""
    cause = describe(error)
    if error.errno in _NOT_ALLOWED:
        cause = (
            f"{error.strerror}; let this process's user read the file, write to its "
            "folder and give files its owner"
        )
    return RetentionError(f"{shown(key)} cannot be {what}: {cause}", partition=key)
