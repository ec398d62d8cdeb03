"""Finding the telemetry files below the root."""

from __future__ import annotations

import errno
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from wcmatch import glob

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import (
    ConfigurationError,
    InvalidPartitionKeyError,
    TelemetryError,
)
from learning_pipeline.model import FileStatus, PhysicalFile
from learning_pipeline.telemetry.confinement import (
    describe,
    kind_of,
    open_directory,
    open_root,
)
from learning_pipeline.telemetry.keys import MAX_KEY_CHARS, encode_key, quote_path
from learning_pipeline.telemetry.physical import (
    Folder,
    IsTelemetry,
    list_files,
    signature_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

PATTERNS_SETTING = f"{ENVIRONMENT_PREFIX}TELEMETRY_PATTERNS"

_LINK_REMEDY = (
    "symbolic links are not followed; put the file or folder itself there, or make "
    "the link the telemetry root"
)


class DiscoveryProblem(msgspec.Struct, frozen=True):
    """Something below the root that is not processed, although it might be meant.

    Attributes:
        path: Where, relative to the root, written like a partition key.
        reason: A stable code: `symlink`, `not_a_regular_file`, `unreadable` or
            `path_too_long`.
        detail: What is wrong and what to do, for people.
    """

    path: str
    reason: str
    detail: str


class Discovery(msgspec.Struct, frozen=True):
    """What one look at the telemetry root found.

    Attributes:
        files: The telemetry files, in order of their partition keys.
        problems: What is left out, and why, in order of path.
    """

    files: Sequence[FileStatus]
    problems: Sequence[DiscoveryProblem]


def discover(
    root: Path, patterns: Sequence[str], known: Collection[str] = frozenset()
) -> Discovery:
    """Look for the telemetry files below the root.

    Symbolic links below the root are not followed. A file that cannot be read is
    found all the same: opening it says why.

    Args:
        root: The telemetry root; may itself be a symbolic link.
        patterns: Globs relative to the root, `**` for any number of folders. A
            name that begins with a dot is matched only by a pattern that says so.
        known: Partition keys that were read before. A file that was rotated away
            belongs to one of those, also while its active file is not there.

    Raises:
        ConfigurationError: The root cannot be opened, or a pattern can match
            nothing. One bad entry below the root is a problem in the result.
        TelemetryFileUnreadableError: The root cannot be opened for now.

    Guarantees:
        Every entry that a pattern matches is a file of the result, a rotated file of
        one, or a problem, or vanished meanwhile. An unreadable folder is a problem too.
    """
    return _Walk(root, tuple(patterns), known).run()


class _Walk:
    def __init__(
        self, root: Path, patterns: tuple[str, ...], known: Collection[str]
    ) -> None:
        self._root = root
        self._is_telemetry = telemetry_matcher(patterns)
        self._known = known
        self._hidden_folders = any(
            segment.startswith((".", "\\."))
            for pattern in patterns
            for segment in pattern.split("/")
        )
        self._files: list[FileStatus] = []
        self._problems: list[DiscoveryProblem] = []

    def run(self) -> Discovery:
        """Walk folder by folder; each is reached anew from the root, by no link."""
        with open_root(self._root) as root_descriptor:
            folders = [""]
            while folders:
                folder = folders.pop()
                try:
                    folders.extend(self._list(root_descriptor, folder))
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it was one when its parent was listed
                except OSError as error:
                    self._report_failure(folder or ".", error)
        self._files.sort(key=lambda file: file.partition)
        self._problems.sort(key=lambda problem: problem.path)
        return Discovery(files=self._files, problems=self._problems)

    def _list(self, root_descriptor: int, path: str) -> list[str]:
        """Take in a folder's files; gives the folders in it."""
        segments = os.fsencode(path).split(b"/") if path else []
        prefix = f"{path}/" if path else ""
        to_enter: list[str] = []
        names: list[str] = []
        with open_directory(root_descriptor, segments) as descriptor:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    try:
                        if self._is_folder_to_enter(entry, prefix + entry.name):
                            to_enter.append(prefix + entry.name)
                        elif entry.is_file(follow_symlinks=False):
                            names.append(entry.name)
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        self._report_failure(prefix + entry.name, error)
            self._take_files(Folder(path, names), descriptor)
        return to_enter

    def _is_folder_to_enter(self, entry: os.DirEntry[str], path: str) -> bool:
        """Report what is left out; whether it is a folder that has to be walked."""
        matched = self._is_telemetry(path)
        hidden = entry.name.startswith(".") and not self._hidden_folders
        if entry.is_symlink():
            if matched or (not hidden and _leads_to_folder(entry)):
                self._report(path, "symlink", _LINK_REMEDY)
            return False
        if matched and not entry.is_file(follow_symlinks=False):
            kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
            self._report(
                path,
                "not_a_regular_file",
                f"it matches a pattern but is {kind}; rename it or change "
                f"{PATTERNS_SETTING}",
            )
        if hidden or not entry.is_dir(follow_symlinks=False):
            return False
        if len(quote_path(os.fsencode(path))) < MAX_KEY_CHARS:
            return True
        self._report(
            path,
            "path_too_long",
            f"what is in it would have keys of more than {MAX_KEY_CHARS:,} characters; "
            "shorten the names of its folders",
        )
        return False

    def _take_files(self, folder: Folder, descriptor: int) -> None:
        rotated: dict[str, list[str]] = {}
        for name in folder.names:
            owner = folder.owner_of(name, self._known, self._is_telemetry)
            if owner is not None:
                others = rotated.setdefault(owner, [])
                if owner != name:
                    others.append(name)
        for owner, others in rotated.items():
            self._take(folder, descriptor, owner, others)

    def _take(
        self, folder: Folder, descriptor: int, owner: str, rotated: Sequence[str]
    ) -> None:
        path = folder.path_of(owner)
        try:
            partition = encode_key(os.fsencode(path))
            files = list_files(folder, descriptor, owner, rotated)
        except InvalidPartitionKeyError as error:
            self._report(path, "path_too_long", str(error))
        except OSError as error:
            self._report_failure(path, error)
        except TelemetryError:
            # Swapped for something else since the folder was listed: the next look
            # says what it is.
            return
        else:
            if files:
                self._files.append(file_status(partition, files))

    def _report_failure(self, path: str, error: OSError) -> None:
        if error.errno == errno.ELOOP:  # swapped in after its parent was listed
            self._report(path, "symlink", _LINK_REMEDY)
        else:
            self._report(path, "unreadable", describe(error))

    def _report(self, path: str, reason: str, detail: str) -> None:
        self._problems.append(
            DiscoveryProblem(
                path=quote_path(os.fsencode(path)), reason=reason, detail=detail
            )
        )


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that is closed to us
        return False


def file_status(partition: str, files: Sequence[PhysicalFile]) -> FileStatus:
    """What is known of a partition from looking at its files; at least one."""
    return FileStatus(
        partition=partition,
        size_bytes=files[-1].size_bytes if files[-1].is_active else 0,
        mtime_ns=max(file.mtime_ns for file in files),
        signature=signature_of(files),
        files=files,
    )


def telemetry_matcher(patterns: Sequence[str]) -> IsTelemetry:
    """Whether a path relative to the root is matched by one of the patterns.

    Raises:
        ConfigurationError: A pattern can match nothing.
    """
    matches = _compiled(tuple(patterns)).fullmatch
    # `*.jsonl` would match `.jsonl`: its star may stand for nothing.
    says_dot = tuple(
        pattern
        for pattern in patterns
        if pattern.rpartition("/")[2].startswith((".", "\\."))
    )
    matches_hidden = _compiled(says_dot).fullmatch if says_dot else None

    def is_telemetry(path: str) -> bool:
        if not path.rpartition("/")[2].startswith("."):
            return matches(path) is not None
        return matches_hidden is not None and matches_hidden(path) is not None

    return is_telemetry


@lru_cache(maxsize=8)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    if not patterns:
        raise ConfigurationError(
            f"no pattern says which files are telemetry; set {PATTERNS_SETTING}"
        )
    for pattern in patterns:
        if not pattern or {"", ".", ".."} & set(pattern.split("/")):
            raise ConfigurationError(
                f"the pattern {pattern!r} can match no file: patterns are relative to "
                f"the telemetry root, without `.` or `..`; change {PATTERNS_SETTING}"
            )
    translated, _ = glob.translate(patterns, flags=glob.GLOBSTAR | glob.FORCEUNIX)
    try:
        return re.compile("|".join(f"(?:{expression})" for expression in translated))
    except re.error as error:
        raise ConfigurationError(
            f"the patterns {' | '.join(patterns)!r} cannot be used: {error}; "
            f"change {PATTERNS_SETTING}"
        ) from error
