"""Holding a rotated file to let it go: only the one that was listed, one at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from learning_pipeline.errors import (
    InvalidPartitionKeyError,
    TelemetryFileInUseError,
    TelemetryFileMissingError,
)
from learning_pipeline.model import PhysicalFile
from learning_pipeline.telemetry import discover, retiring_folder, telemetry_matcher
from learning_pipeline.telemetry.moving_aside import link_or_rename, put_back

PATTERNS = ["**/*.jsonl"]
is_telemetry = telemetry_matcher(PATTERNS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A telemetry root with one partition that was rotated once."""
    folder = tmp_path / "telemetry"
    folder.mkdir()
    (folder / "a.jsonl.1").write_bytes(b"old\n")
    (folder / "a.jsonl").write_bytes(b"new\n")
    return folder


def listed(root: Path) -> PhysicalFile:
    """The rotated file, as discovery shows it."""
    [status] = discover(root, PATTERNS).files
    return status.files[0]


@pytest.mark.parametrize("change", ["grown", "replaced", "gone"])
def test_only_the_file_that_was_listed_is_opened(root: Path, change: str) -> None:
    """Not one that grew, or took its name, since."""
    file = listed(root)
    path = root / "a.jsonl.1"
    if change == "grown":
        with path.open("ab") as opened:
            opened.write(b"more\n")
    else:
        path.rename(root / "a.jsonl.2")
        if change == "replaced":
            path.write_bytes(b"odd\n")
            status = (root / "a.jsonl.2").stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with (
        retiring_folder(root, "a.jsonl", is_telemetry) as folder,
        pytest.raises(TelemetryFileInUseError),
    ):
        folder.open(file)


def test_two_processes_do_not_retire_files_of_one_folder(root: Path) -> None:
    """The second one is told, and the lock ends with the first."""
    descriptor = os.open(root, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with (
        pytest.raises(TelemetryFileInUseError, match="another `retain`"),
        retiring_folder(root, "a.jsonl", is_telemetry),
    ):
        pass
    os.close(descriptor)
    with retiring_folder(root, "a.jsonl", is_telemetry) as folder:
        folder.open(listed(root)).close()


def test_a_folder_behind_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    """And one that is not there is said to be missing."""
    (root / "link").symlink_to(tmp_path)
    with (
        pytest.raises(InvalidPartitionKeyError),
        retiring_folder(root, "link/a.jsonl", is_telemetry),
    ):
        pass
    with (
        pytest.raises(TelemetryFileMissingError),
        retiring_folder(root, "gone/a.jsonl", is_telemetry),
    ):
        pass


def test_a_name_is_never_taken_away_from_another_file(root: Path) -> None:
    """Neither when a file is given its name, nor when one is put back."""
    parent = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            link_or_rename(parent, b"a.jsonl.1", b"a.jsonl")
        (root / "a.jsonl.1").rename(root / "aside")
        put_back(parent, b"aside", b"a.jsonl")
    finally:
        os.close(parent)
    assert (root / "a.jsonl").read_bytes() == b"new\n"
    assert (root / "a.jsonl.1").read_bytes() == b"old\n"
    assert not (root / "aside").exists()


def test_putting_back_twice_leaves_one_name(root: Path) -> None:
    """A crash between its two steps left both."""
    (root / "aside").hardlink_to(root / "a.jsonl.1")
    parent = os.open(root, os.O_RDONLY)
    try:
        put_back(parent, b"aside", b"a.jsonl.1")
    finally:
        os.close(parent)
    assert sorted(path.name for path in root.iterdir()) == ["a.jsonl", "a.jsonl.1"]
