"""The physical files behind a partition: the active one, and those rotated away.

Names only say which files belong together and in what order; which file is which
generation is told by content.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from heapq import merge
from pathlib import Path
from typing import Final

import msgspec

from learning_pipeline.errors import InvalidPartitionKeyError
from learning_pipeline.model import PhysicalFile
from learning_pipeline.telemetry.confinement import (
    open_directory,
    open_root,
    refusal,
    require_regular,
    signed_inode,
    stat_entry,
)
from learning_pipeline.telemetry.keys import decode_key, encode_key, quote_path, shown
from learning_pipeline.telemetry.rotation import (
    RotatedName,
    compression_of,
    readings_of,
)

KnownKeys = Callable[[Collection[str]], Collection[str]]
"""Gives those of some partition keys that were read before as partitions."""

IsTelemetry = Callable[[str], bool]
"""Whether the patterns match a path relative to the telemetry root."""

_SETTLED_NS: Final = 100_000_000
"""A folder's time moves in steps of some milliseconds: when it changed later than
this before it was listed, it is listed again."""


class Folder:
    """The names of the regular files in one folder, and whose rotated files they are.

    Attributes:
        path: Relative to the telemetry root; empty for the root itself.
        names: The files' names.
    """

    def __init__(self, path: str, names: Iterable[str]) -> None:
        """Index `names`."""
        self.path = path
        self.names = frozenset(names)
        self._candidates: dict[str, list[str]] = {}
        for name in self.names:
            for reading in readings_of(name):
                self._candidates.setdefault(reading.base, []).append(name)

    def candidates_of(self, name: str) -> Sequence[str]:
        """The files that may be rotated files of `name`, by their names."""
        return self._candidates.get(name, ())

    def path_of(self, name: str) -> str:
        """A file's path relative to the telemetry root."""
        return f"{self.path}/{name}" if self.path else name

    def key_of(self, name: str) -> str:
        """A file's path, written like a partition key; not refused when too long."""
        return quote_path(os.fsencode(self.path_of(name)))

    def owner_of(
        self, name: str, known: Collection[str], is_telemetry: IsTelemetry
    ) -> str | None:
        """The name of the partition that a file belongs to; None when to none.

        A file that was read as a partition of its own stays one. A rotated file
        belongs to what was read before, else to the active file that is there. A
        name with a date in it is a partition of its own where neither is.
        """
        readings = readings_of(name)
        matches = is_telemetry(self.path_of(name))
        if not readings or self.key_of(name) in known:
            return name if matches or self.key_of(name) in known else None
        for reading in readings:
            if self.key_of(reading.base) in known:
                return reading.base
        for reading in reversed(readings):
            if reading.base in self.names and is_telemetry(self.path_of(reading.base)):
                return reading.base
        if matches:
            return name
        for reading in readings:
            if is_telemetry(self.path_of(reading.base)):
                return reading.base
        return None

    def rotated_files_of(
        self, name: str, known: Collection[str], is_telemetry: IsTelemetry
    ) -> list[str]:
        """The rotated files of the partition `name`, by their names, unordered."""
        return [
            candidate
            for candidate in self.candidates_of(name)
            if self.owner_of(candidate, known, is_telemetry) == name
        ]


class PartitionFiles(msgspec.Struct, frozen=True):
    """What is behind a partition now.

    Attributes:
        partition: Its key.
        files: Oldest first; the active file, if it is there, is the last.
        signature: A digest over the names, sizes, times and inodes of them all: as
            long as it stays the same, there is nothing new.
    """

    partition: str
    files: Sequence[PhysicalFile]
    signature: str

    def is_same_listing(self, other: PartitionFiles) -> bool:
        """Whether no file was renamed, created or deleted between the two."""
        return [(each.key, each.inode) for each in self.files] == [
            (each.key, each.inode) for each in other.files
        ]


class Listings:
    """Finds the physical files of partitions; remembers folders while unchanged."""

    def __init__(self, root: Path, is_telemetry: IsTelemetry) -> None:
        """Look below `root` for files that `is_telemetry` matches."""
        self._root = root
        self._is_telemetry = is_telemetry
        self._folders: dict[str, tuple[int, Folder]] = {}

    def files_of(
        self, partition: str, known_keys: KnownKeys, *, afresh: bool = False
    ) -> PartitionFiles:
        """The files behind a partition; none when there are none any more.

        Args:
            partition: Its key.
            known_keys: Asks what was read before.
            afresh: List the folder even if it seems unchanged.

        Raises:
            InvalidPartitionKeyError: The key is malformed, leads through a link, or
                is that of another partition's rotated file.
            TelemetryFileUnreadableError: The folder cannot be listed, or what is at
                the partition's own path is no regular file.
            TelemetryFileMissingError: Its folder is not there.
            ConfigurationError: The telemetry root cannot be opened.
        """
        *folders, name = os.fsdecode(decode_key(partition)).split("/")
        with open_root(self._root, partition) as root_descriptor:
            try:
                segments = [os.fsencode(folder) for folder in folders]
                with open_directory(root_descriptor, segments) as descriptor:
                    folder = self._folder("/".join(folders), descriptor, afresh=afresh)
                    names = self._names(partition, folder, name, known_keys)
                    files = list_files(folder, descriptor, name, names)
            except OSError as error:
                raise refusal(partition, error) from error
        return PartitionFiles(partition, files, signature_of(files))

    def _names(
        self, partition: str, folder: Folder, name: str, known_keys: KnownKeys
    ) -> list[str]:
        candidates = folder.candidates_of(name)
        related = {
            folder.key_of(each)
            for candidate in (*candidates, *((name,) if readings_of(name) else ()))
            for each in (candidate, *(one.base for one in readings_of(candidate)))
        }
        known = frozenset(known_keys(related)) if related else frozenset()
        if readings_of(name) and partition not in known:
            owner = folder.owner_of(name, known, self._is_telemetry)
            if owner not in {name, None}:
                raise InvalidPartitionKeyError(
                    f"{shown(partition)} is a rotated file of "
                    f"{shown(folder.key_of(str(owner)))}, and read with that "
                    "partition; process that one",
                    partition=partition,
                )
        return folder.rotated_files_of(name, known | {partition}, self._is_telemetry)

    def _folder(self, path: str, descriptor: int, *, afresh: bool) -> Folder:
        changed_ns = os.fstat(descriptor).st_mtime_ns
        remembered = self._folders.get(path)
        if remembered is not None and not afresh and remembered[0] == changed_ns:
            return remembered[1]
        began_ns = time.time_ns()
        with os.scandir(descriptor) as entries:
            names = [
                entry.name for entry in entries if entry.is_file(follow_symlinks=False)
            ]
        folder = Folder(path, names)
        self._folders.pop(path, None)
        if changed_ns < began_ns - _SETTLED_NS:
            self._folders[path] = (changed_ns, folder)
        return folder


def list_files(
    folder: Folder, descriptor: int, active: str, rotated: Iterable[str]
) -> list[PhysicalFile]:
    """Look at the files of a partition; in order, the active one last.

    Raises:
        OSError: One cannot be looked at. Those that vanished are left out.
    """
    found: list[tuple[RotatedName, PhysicalFile]] = []
    for name in rotated:
        file = _look_at(folder, descriptor, name, is_active=False)
        reading = next(each for each in readings_of(name) if each.base == active)
        if file is not None:
            found.append((reading, file))
    ordered = in_order(found)
    last = _look_at(folder, descriptor, active, is_active=True)
    return [*ordered, last] if last is not None else ordered


def in_order(found: Iterable[tuple[RotatedName, PhysicalFile]]) -> list[PhysicalFile]:
    """Oldest first: by what the names say, by time where those cannot be compared."""
    lanes: dict[object, list[tuple[RotatedName, PhysicalFile]]] = {}
    for reading, file in found:
        lanes.setdefault((reading.scheme, len(reading.rank)), []).append(
            (reading, file)
        )
    merged = merge(*(_lane(lane) for lane in lanes.values()), key=lambda f: f.mtime_ns)
    return list(merged)


def _lane(lane: list[tuple[RotatedName, PhysicalFile]]) -> list[PhysicalFile]:
    lane.sort(key=lambda each: (each[0].rank, each[1].mtime_ns, each[1].key))
    return [file for _, file in lane]


def signature_of(files: Iterable[PhysicalFile]) -> str:
    """The digest that stays the same while nothing about the files changes."""
    text = "\n".join(
        f"{file.key} {file.inode} {file.size_bytes} {file.mtime_ns}" for file in files
    )
    return blake2b(text.encode(), digest_size=16).hexdigest()


def physical_file(
    folder: Folder, name: str, status: os.stat_result, *, is_active: bool
) -> PhysicalFile:
    """One file as it was looked at."""
    return PhysicalFile(
        key=folder.key_of(name),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=signed_inode(status),
        compression=compression_of(name),
        is_active=is_active,
    )


def _look_at(
    folder: Folder, descriptor: int, name: str, *, is_active: bool
) -> PhysicalFile | None:
    try:
        status = stat_entry(descriptor, os.fsencode(name))
    except FileNotFoundError:
        return None
    if is_active:
        require_regular(status, encode_key(os.fsencode(folder.path_of(name))))
    return physical_file(folder, name, status, is_active=is_active)
