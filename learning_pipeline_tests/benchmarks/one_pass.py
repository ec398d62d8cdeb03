"""One pass over one file, as the IO manager makes it; poor in imports of its own."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from learning_pipeline import logs
from learning_pipeline.model import Progress
from learning_pipeline.settings import Settings
from learning_pipeline.stages import PartitionDrain, Reading, TransformSpec
from learning_pipeline.store import Store, patterns
from learning_pipeline.telemetry import ReadLimits

TELEMETRY_NAME = "large.jsonl"
KIB = 1024


class tempfile_database:  # noqa: N801 - reads like a function
    """A state database that is deleted afterwards."""

    def __init__(self, folder: Path) -> None:
        """Put it into `folder`."""
        self._path = folder / "benchmark.db"

    def __enter__(self) -> str:
        """Its URL."""
        return f"sqlite:///{self._path}"

    def __exit__(self, *_: object) -> None:
        """Delete it."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def limits(interval: int) -> ReadLimits:
    """The default limits, with another interval."""
    settings = Settings()
    return ReadLimits(
        max_records=interval,
        max_batch_bytes=settings.max_batch_bytes,
        max_record_bytes=settings.max_record_bytes,
    )


def ignore(_: Progress) -> None:
    """Listen to nothing."""


def drain(
    url: str,
    root: Path,
    interval: int,
    on_commit: Callable[[Progress], None] = ignore,
) -> float:
    """What the IO manager does with one file; seconds, with the last sync."""
    with (
        Store(url) as store,
        store.session(
            stage="interaction_patterns",
            table=patterns,
            run_id="benchmark",
            history_count=20,
        ) as session,
    ):
        began = time.perf_counter()
        claim, _ = PartitionDrain(
            session,
            partition=TELEMETRY_NAME,
            transform=TransformSpec(
                "learning_pipeline.extraction:build_extractor",
                {"dead_letter_raw_bytes": 4096},
            ),
            reading=Reading(root, limits(interval), Settings().read_ahead_bytes),
            on_commit=on_commit,
            log=logs.get_logger(),
        ).run()
        session.sync([claim])
        return time.perf_counter() - began


def main(folder: Path, root: Path) -> None:
    """Drain the file; print the peaks of this and of the reading process, in bytes."""
    import dagster  # noqa: F401, PLC0415 - as a run has

    logs.configure(level="ERROR")
    with tempfile_database(folder) as url:
        drain(url, root, 100, watch_readers)
    print(peak_of("self"), sum(_reader_peaks.values()))


_reader_peaks: dict[int, int] = {}


def watch_readers(progress: Progress) -> None:
    """Note the peak of the process that reads ahead, while it lives."""
    if progress.commit_count % 500 == 1:
        for child in psutil.Process().children():
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                _reader_peaks[child.pid] = peak_of(str(child.pid))


def peak_of(process: str) -> int:
    """A process's peak memory in bytes; unlike `getrusage`, not its parent's."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * KIB


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
