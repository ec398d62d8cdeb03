"""Fixtures of the store's tests: faults, other processes, small disks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Protocol

import pytest

from learning_pipeline import steps
from learning_pipeline.store import engine, in_doubt
from learning_pipeline_tests.forking import FORK_SERVER

FailAt = Callable[[str, BaseException], None]


@pytest.fixture
def fail_at() -> Iterator[FailAt]:
    """Makes a step raise, until the test ends."""

    def install(step: str, error: BaseException) -> None:
        def listener(reached: str) -> None:
            if reached == step:
                raise error

        steps.listen(listener)

    yield install
    steps.listen(None)


@pytest.fixture
def run_at() -> Iterator[Callable[[str, Callable[[], None]], None]]:
    """Calls a function each time that a step is reached, until the test ends."""

    def install(step: str, call: Callable[[], None]) -> None:
        def listener(reached: str) -> None:
            if reached == step:
                call()

        steps.listen(listener)

    yield install
    steps.listen(None)


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts other processes, quickly and with nothing of this one in them."""
    return FORK_SERVER


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction waits 0.1 s for another's lock, in stores opened from now on."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)


class SmallDisk(Protocol):
    """A file system of its own."""

    path: Path

    def set_read_only(self, *, read_only: bool) -> None:
        """Mount it again, read-only or not."""


class _Tmpfs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def set_read_only(self, *, read_only: bool) -> None:
        mode = "ro" if read_only else "rw"
        _run("mount", "-o", f"remount,{mode}", str(self.path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(
            f"{' '.join(command)}: {done.stderr.strip()}: this test needs root, or "
            "CAP_SYS_ADMIN, to mount a file system that can be full or read-only"
        )


@contextmanager
def _mounted(path: Path, size: str) -> Iterator[SmallDisk]:
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield _Tmpfs(path)
    finally:
        _run("umount", "--lazy", str(path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 2 MiB."""
    with _mounted(tmp_path / "disk", "2m") as disk:
        yield disk


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is gone is given up after 0.1 s."""
    monkeypatch.setattr(in_doubt, "WAITS_SECONDS", (0.0, 0.1))
