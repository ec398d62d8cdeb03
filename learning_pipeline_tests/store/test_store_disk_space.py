"""The guard that stops before a disk is full; real small disks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import StateDiskFullError
from learning_pipeline.settings import Settings
from learning_pipeline.store import free_space_guard

if TYPE_CHECKING:
    from learning_pipeline_tests.store.conftest import SmallDisk

ENOUGH_BYTES = 500_000


def test_it_raises_when_too_little_is_free_and_no_longer_when_there_is_space(
    small_disk: SmallDisk,
) -> None:
    """The same guard, on a disk of 2 MiB that fills up and is cleared."""
    settings = Settings(
        state_dir=small_disk.path / "state", min_free_bytes=ENOUGH_BYTES
    )
    require_free_space = free_space_guard(settings)
    require_free_space()
    ballast = small_disk.path / "ballast"
    ballast.write_bytes(b"\0" * 1_800_000)
    with pytest.raises(StateDiskFullError) as caught:
        require_free_space()
    error = caught.value
    assert error.path == str(small_disk.path / "state")
    assert error.free_bytes < ENOUGH_BYTES == error.min_free_bytes
    assert f"{error.free_bytes:,} bytes free" in str(error)
    assert "LEARNING_PIPELINE_MIN_FREE_BYTES is 500,000" in str(error)
    assert "the next run goes on" in str(error)
    # A retry by Dagster would write to the disk as well.
    assert not error.retryable
    ballast.unlink()
    require_free_space()


def test_the_disk_of_a_database_elsewhere_is_looked_at_too(
    small_disk: SmallDisk, tmp_path: Path
) -> None:
    """The state directory's has space, the database's has none."""
    url = f"sqlite:///{small_disk.path / 'state.db'}"
    settings = Settings(
        state_dir=tmp_path / "state", store_url=url, min_free_bytes=ENOUGH_BYTES
    )
    require_free_space = free_space_guard(settings)
    require_free_space()
    (small_disk.path / "ballast").write_bytes(b"\0" * 1_800_000)
    with pytest.raises(StateDiskFullError, match=str(small_disk.path)):
        require_free_space()


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "postgresql+psycopg://user:secret@host/database"]
)
def test_a_bound_that_no_disk_meets_stops_every_store(url: str, tmp_path: Path) -> None:
    """Dagster's history is in the state directory whatever the database is."""
    settings = Settings(
        state_dir=tmp_path / "not" / "there" / "yet",
        store_url=url,
        min_free_bytes=2**62,
    )
    with pytest.raises(StateDiskFullError) as caught:
        free_space_guard(settings)()
    assert "secret" not in str(caught.value)


def test_zero_turns_it_off(small_disk: SmallDisk) -> None:
    """A disk without a single byte left is no reason."""
    (small_disk.path / "ballast").write_bytes(b"\0" * 1_000_000)
    with (small_disk.path / "more").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            assert os.statvfs(small_disk.path).f_bavail == 0
    free_space_guard(Settings(state_dir=small_disk.path, min_free_bytes=0))()
    with pytest.raises(StateDiskFullError):
        free_space_guard(Settings(state_dir=small_disk.path, min_free_bytes=1))()
