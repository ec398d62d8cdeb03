"""Files that appear when they are whole."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from learning_pipeline.learning.atomic_file import atomic_file, is_stream


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    """Until then the old one is there, and nothing is left beside it."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    """It passes through as it was raised."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"), atomic_file(path):
        raise ValueError("stop")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """It stays a link, and what it points to is replaced."""
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    with atomic_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_permissions_are_handed_on(tmp_path: Path) -> None:
    """A new file is its owner's alone, as all that is made of telemetry."""
    path = tmp_path / "a"
    with atomic_file(path) as file:
        file.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with atomic_file(path, synced=False) as file:
        file.write(b"newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """So `--out >(gzip > x.gz)` works, and a device is never replaced by a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(
        target=lambda: read.append(path.read_bytes()), daemon=True
    )
    reader.start()
    with atomic_file(path) as file:
        file.write(b"through")
    reader.join(10)
    assert read == [b"through"]
    assert is_stream(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("/dev/null", True), ("/dev/stdout", True), ("/dev", False), ("/etc", False)],
)
def test_streams_are_told_from_files(
    name: str, expected: object, tmp_path: Path
) -> None:
    """Whatever the shell has put behind `/dev/stdout`."""
    assert is_stream(Path(name)) is expected
    assert not is_stream(tmp_path / "not there")
    (tmp_path / "file").touch()
    assert not is_stream(tmp_path / "file")


def test_a_file_in_memory_is_a_file() -> None:
    """What lies in /dev/shm is replaced whole as anywhere else."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "a"
        path.write_bytes(b"old")
        assert not is_stream(path)
        with atomic_file(path) as file:
            file.write(b"new")
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Not the hidden file beside it."""
    missing = tmp_path / "not there" / "a"
    for path, reason in ((missing, "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(OSError, match=reason) as caught, atomic_file(path):
            pass
        assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
