"""Examples and their export: a second, memory, and as ratios to DuckDB."""

from __future__ import annotations

import hashlib
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from learning_pipeline import logs
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.learning.dataset import (
    FORMATS,
    DatasetOptions,
    Output,
    export_dataset,
)
from learning_pipeline.model import BatchOutput, Counters, Row
from learning_pipeline.stages import DerivedDrain
from learning_pipeline.stages.deriving import ExampleDerivation
from learning_pipeline.store import Store
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.schema import finetuning_examples
from learning_pipeline.telemetry import open_telemetry_file
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.benchmarks.one_pass import (
    TELEMETRY_NAME,
    limits,
    peak_of,
)
from learning_pipeline_tests.benchmarks.throughput import MB, seconds
from learning_pipeline_tests.store.examples_of import FROM_PATTERNS
from learning_pipeline_tests.store.samples import begin, fingerprint_at, open_session

PARTITION = "a.jsonl"
BATCH = 10_000
LINE_BYTES = 10
DUPLICATES_OF = 10
"""Every so many patterns one repeats an earlier content."""

SIMILARITY = 0.8
NEAR = "near-duplicates left out"


def measure_dataset(folder: Path, *, pattern_count: int) -> None:
    """Print the stage and the export, each in pairs with DuckDB.

    Args:
        folder: Where files may be put.
        pattern_count: How many quality patterns there are.
    """
    folder = folder / "dataset"
    folder.mkdir()
    hashes = _fill(folder, pattern_count)
    print(f"\n{pattern_count:,} quality patterns, a tenth of them duplicates")
    pairs = [(_distinct(hashes), _derive(folder)) for _ in range(3)]
    taken = statistics.median(ours for _, ours in pairs)
    ratio = statistics.median(their / ours for their, ours in pairs)
    print(
        f"{'finetuning_examples':34} {pattern_count / taken:>10,.0f} patterns/s, "
        f"{ratio:.3f} of DuckDB's distinct over the same hashes in memory",
        flush=True,
    )
    copied = {name: _copy(folder, name) for name in ("openai", "parquet")}
    for what in (*FORMATS, NEAR):
        count, taken, above = map(float, _measured_apart(folder, what).split())
        peer = copied["parquet" if what == "parquet" else "openai"]
        note = "" if what == NEAR else f", {peer / taken:.2f} of DuckDB's COPY"
        print(
            f"{what:34} {count / taken:>10,.0f} examples/s, {above / MB:.0f} MB above "
            f"an empty export{note}",
            flush=True,
        )


def _fill(folder: Path, count: int) -> list[bytes]:
    """Commit patterns as the pipeline makes them; gives their content hashes."""
    hashes = []
    rows = _rows(folder, count)
    with Store(_url(folder)) as store, open_session(store) as session:
        claim = begin(session, session.claim(PARTITION))
        while batch := list(itertools.islice(rows, BATCH)):
            hashes += [row[-1] for row in batch]
            end = batch[-1][0] + LINE_BYTES
            claim = session.commit(
                claim,
                BatchOutput(batch, [], Counters(row_count=len(batch))),
                end_offset=end,
                fingerprint=fingerprint_at(end),
                size_bytes=count * LINE_BYTES,
            )
    return hashes


def _rows(folder: Path, count: int) -> Iterator[Row]:
    path = folder / "telemetry" / TELEMETRY_NAME
    write_telemetry(path, 40_000)
    extractor = PatternExtractor()
    found: list[Row] = []
    with open_telemetry_file(path.parent, TELEMETRY_NAME) as file:
        for batch in file.read_batches(limits=limits(1_000)):
            found += extractor(batch).rows
    for number, row in enumerate(itertools.islice(itertools.cycle(found), count)):
        case = number // DUPLICATES_OF if number % DUPLICATES_OF == 0 else number
        prompt = f"{row[3]} (case {case})"
        content = hashlib.sha256(f"case {case}".encode()).digest()
        yield (number * LINE_BYTES, 0, row[2], prompt, *row[4:10], True, content)


def _derive(folder: Path) -> float:
    """Seconds for the stage to take all patterns over, from nothing."""
    with Store(_url(folder)) as store:
        if store.checkpoints(stage=EXAMPLES_STAGE):
            store.clear(stage=EXAMPLES_STAGE, partition=PARTITION)
        with store.session(
            stage=EXAMPLES_STAGE,
            table=finetuning_examples,
            run_id="benchmark",
            history_count=20,
            reads=FROM_PATTERNS,
        ) as session:
            drain = DerivedDrain(
                session,
                partition=PARTITION,
                derivation=ExampleDerivation(),
                require_free_space=lambda: None,
                on_commit=lambda _: None,
                log=logs.get_logger(),
            )
            began = time.perf_counter()
            claim, _ = drain.run()
            session.sync([claim])
            return time.perf_counter() - began


def _distinct(hashes: list[bytes]) -> float:
    """Seconds for DuckDB to make a table of the distinct ones, one thread."""
    import pyarrow as pa  # noqa: PLC0415 - the peer's way in

    known = pa.table({"content_hash": pa.array(hashes, pa.binary())})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("known", known)
        connection.execute("CREATE TABLE hashes AS SELECT * FROM known")
        return seconds(
            lambda: connection.execute(
                "CREATE TABLE examples AS SELECT DISTINCT content_hash FROM hashes"
            )
        )


def _copy(folder: Path, name: str) -> float:
    """Seconds for DuckDB to write the same texts and places from a table of its own."""
    out = folder / f"copied.{name}"
    with Store(_url(folder)) as store:
        plain = folder / "plain.jsonl"
        with plain.open("wb") as file:
            export_dataset(store, DatasetOptions(), {"all": Output("-", file)})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            "CREATE TABLE examples AS SELECT * FROM read_json(?, format = "
            "'newline_delimited')",
            [str(plain)],
        )
        form = "PARQUET, COMPRESSION zstd" if name == "parquet" else "JSON"
        return seconds(
            lambda: connection.execute(f"COPY examples TO '{out}' (FORMAT {form})")
        )


def _measured_apart(folder: Path, what: str) -> str:
    """Examples, seconds, and bytes of peak memory above an export of nothing."""
    command = [sys.executable, "-m", __name__, str(folder), what]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


def _export(url: str, what: str, out: Path) -> int:
    options = DatasetOptions(
        format="openai" if what == NEAR else what,
        similarity=SIMILARITY if what == NEAR else None,
    )
    with Store(url) as store, out.open("wb") as file:
        made = export_dataset(store, options, {"all": Output("-", file)})
    return made.known_example_count


def main(folder: Path, what: str) -> None:
    """Export once; print how many, the seconds, and what memory it took in bytes."""
    _export("sqlite://", what, folder / "nothing")
    idle = peak_of("self")
    began = time.perf_counter()
    count = _export(_url(folder), what, folder / "exported")
    print(count, time.perf_counter() - began, peak_of("self") - idle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
