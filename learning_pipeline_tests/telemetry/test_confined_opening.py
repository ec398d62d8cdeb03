"""Opening: only regular files below the root, with errors that say what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import (
    ConfigurationError,
    InvalidPartitionKeyError,
    TelemetryError,
    TelemetryFileMissingError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.telemetry import (
    Listings,
    missing,
    open_telemetry_file,
    telemetry_matcher,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline_tests.telemetry.conftest import MakeLimits, WriteFile


def open_descriptor_count() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_open_file_tells_its_size_and_inode(
    root: Path, write_file: WriteFile
) -> None:
    """As they were when it was opened, also after it grew."""
    path = write_file("a b/c.jsonl", b"123\n")
    status = path.stat()

    with open_telemetry_file(root, "a%20b/c.jsonl") as file:
        path.write_bytes(b"1234567\n")

        assert file.partition == "a%20b/c.jsonl"
        assert (file.size_bytes, file.inode) == (4, status.st_ino)


@pytest.mark.parametrize(
    ("key", "expected", "advice"),
    [
        ("gone.jsonl", TelemetryFileMissingError, "restore it or delete the partition"),
        ("gone/a.jsonl", TelemetryFileMissingError, "restore it or delete"),
        ("a.jsonl/b", TelemetryFileMissingError, "restore it or delete"),
        ("x" * 300, TelemetryFileMissingError, "restore it or delete"),
        ("folder", TelemetryFileUnreadableError, "is a directory, not a regular file"),
        ("fifo", TelemetryFileUnreadableError, "is a FIFO, not a regular file"),
        ("link.jsonl", InvalidPartitionKeyError, "symbolic link"),
        ("linked/a.jsonl", InvalidPartitionKeyError, "symbolic link"),
        ("dangling", InvalidPartitionKeyError, "symbolic link"),
        ("../telemetry/a.jsonl", InvalidPartitionKeyError, "segment"),
    ],
)
def test_what_cannot_be_read_is_refused_and_said_why(
    root: Path,
    write_file: WriteFile,
    key: str,
    expected: type[TelemetryError],
    advice: str,
) -> None:
    """Opening and looking agree, and neither blocks or leaks a descriptor."""
    write_file("a.jsonl")
    write_file("folder/a.jsonl")
    os.mkfifo(root / "fifo")
    (root / "link.jsonl").symlink_to("a.jsonl")
    (root / "linked").symlink_to("folder")
    (root / "dangling").symlink_to("nowhere")
    before = open_descriptor_count()

    attempts: tuple[Callable[[Path, str], object], ...] = (
        open_telemetry_file,
        look_at,
    )
    for attempt in attempts:
        with pytest.raises(expected, match=advice) as caught:
            attempt(root, key)
        assert caught.value.partition == key
        assert repr(key)[:50] in str(caught.value)
    assert open_descriptor_count() == before


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "Permission denied; let this process's user read the file"),
        (errno.EMFILE, "Too many open files; raise the limit"),
        (errno.EIO, "Input/output error; check the disk"),
        (errno.EINVAL, "Invalid argument; check the file system"),
    ],
)
def test_a_failing_open_says_why_and_what_to_do(
    root: Path,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    advice: str,
) -> None:
    """The system's reason, and a remedy."""
    write_file("a.jsonl")
    real_open = os.open

    def fail(name: bytes | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if name == b"a.jsonl":
            raise OSError(code, os.strerror(code))
        return real_open(name, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)
    before = open_descriptor_count()

    with pytest.raises(TelemetryFileUnreadableError, match=advice) as caught:
        open_telemetry_file(root, "a.jsonl")
    assert caught.value.partition == "a.jsonl"
    assert open_descriptor_count() == before


@pytest.mark.parametrize("swapped", ["folder", "file"])
def test_a_link_that_is_swapped_in_at_the_last_moment_is_refused(
    root: Path,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    swapped: str,
) -> None:
    """There is no moment between a check and the open to slip a link into."""
    write_file("folder/a.jsonl", b"harmless\n")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.jsonl").write_bytes(b"secret\n")
    victim = root / "folder" if swapped == "folder" else root / "folder" / "a.jsonl"
    target = outside if swapped == "folder" else outside / "a.jsonl"
    real_open = os.open

    def open_after_swap(
        name: bytes | Path, flags: int, *, dir_fd: int | None = None
    ) -> int:
        if name == os.fsencode(victim.name):
            victim.rename(root.parent / "moved")
            victim.symlink_to(target)
        return real_open(name, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_after_swap)

    with pytest.raises(InvalidPartitionKeyError, match="symbolic link"):
        open_telemetry_file(root, "folder/a.jsonl")


def test_a_fifo_that_is_swapped_in_at_the_last_moment_is_refused(
    root: Path, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for a writer that never comes."""
    path = write_file("a.jsonl")
    real_open = os.open

    def open_after_swap(
        name: bytes | Path, flags: int, *, dir_fd: int | None = None
    ) -> int:
        if name == b"a.jsonl":
            path.unlink()
            os.mkfifo(path)
        return real_open(name, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_after_swap)
    before = open_descriptor_count()

    with pytest.raises(TelemetryFileUnreadableError, match="is a FIFO"):
        open_telemetry_file(root, "a.jsonl")
    assert open_descriptor_count() == before


def test_a_missing_root_is_a_matter_of_settings(tmp_path: Path) -> None:
    """Not of each of its files."""
    with pytest.raises(ConfigurationError, match="LEARNING_PIPELINE_TELEMETRY_DIR"):
        open_telemetry_file(tmp_path / "missing", "a.jsonl")


def test_a_closed_file_is_not_read(
    root: Path, write_file: WriteFile, make_limits: MakeLimits
) -> None:
    """Its descriptor may by now be that of another file."""
    write_file("a.jsonl")
    before = open_descriptor_count()
    with open_telemetry_file(root, "a.jsonl") as file:
        batches = file.read_batches(limits=make_limits())
    file.close()

    assert open_descriptor_count() == before
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def look_at(root: Path, key: str) -> None:
    """Look for the files behind a partition, without opening them."""
    listings = Listings(root, telemetry_matcher(["**/*.jsonl"]))
    if not listings.files_of(key, lambda _: ()).files:
        raise missing(key)
