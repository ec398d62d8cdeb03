"""Factory fixtures: a telemetry root and files below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from learning_pipeline.telemetry import ReadLimits

if TYPE_CHECKING:
    from pathlib import Path


class WriteFile(Protocol):
    """Writes a file below the telemetry root and returns its path."""

    def __call__(self, name: str, content: bytes = b"{}\n") -> Path:
        """Write `content`; folders are made as needed."""


class MakeLimits(Protocol):
    """Makes read limits out of those that matter to a test."""

    def __call__(self, **changes: int) -> ReadLimits:
        """The limits, with `changes`."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty telemetry root."""
    path = tmp_path / "telemetry"
    path.mkdir()
    return path


@pytest.fixture
def write_file(root: Path) -> WriteFile:
    """Write files below the root."""

    def write(name: str, content: bytes = b"{}\n") -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def make_limits() -> MakeLimits:
    """Make limits that are far away unless a test says otherwise."""

    def make(**changes: int) -> ReadLimits:
        limits = {
            "max_records": 100,
            "max_batch_bytes": 1 << 20,
            "max_record_bytes": 1 << 20,
        }
        return ReadLimits(**(limits | changes))

    return make
