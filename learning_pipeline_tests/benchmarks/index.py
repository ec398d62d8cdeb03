"""The embedded index against the bare engine: writing, opening, searching, memory."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import qdrant_edge as edge

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.interface import PatternIndex, SearchFilter
from learning_pipeline.learning.index.points import (
    SPARSE,
    payload_of,
    point_id,
    text_of,
)
from learning_pipeline.learning.index.vectors import Vectorizer
from learning_pipeline.model import Example, Row
from learning_pipeline.telemetry import open_telemetry_file
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.benchmarks.one_pass import KIB, TELEMETRY_NAME, limits

BATCH = 2_000
SEARCHES = 200
MB = 1_000_000


def measure_index(folder: Path, *, point_count: int) -> None:
    """Print points a second on one core, as ratio to the bare engine, and searches."""
    command = [sys.executable, "-m", __name__, str(folder)]
    print(f"\nembedded index, one core; {point_count:,} points, medians")
    # In pairs and in processes of their own: a machine's pace changes, and so does what
    # a process has in memory.
    pairs = [
        [
            float(_output(*command, what, str(point_count // 4), str(number)))
            for what in ("bare", "ours")
        ]
        for number in range(3)
    ]
    bare, ours = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratio = statistics.median(our / their for their, our in pairs)
    print(f"bare engine, the same points: {bare:>8,.0f} points/s")
    print(
        f"index, a flush every {BATCH:,}:   {ours:>8,.0f} points/s, ratio {ratio:.2f}"
    )
    print(_output(*command, "whole", str(point_count), "0"), end="", flush=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _examples(folder: Path, count: int) -> Iterator[Example]:
    """Examples as the pipeline makes them; each content once."""
    path = folder / "index-telemetry" / TELEMETRY_NAME
    if not path.exists():
        write_telemetry(path, 40_000)
    extractor = PatternExtractor()
    rows: list[Row] = []
    with open_telemetry_file(path.parent, TELEMETRY_NAME) as file:
        for batch in file.read_batches(limits=limits(1_000)):
            rows += extractor(batch).rows
    for number, row in enumerate(itertools.islice(itertools.cycle(rows), count)):
        prompt = f"{row[3]} (case {number})"
        yield Example(
            content_hash=hashlib.sha256(f"{prompt}\n{row[4]}".encode()).digest(),
            kind=row[2],
            prompt=prompt,
            response=row[4],
            iterations=row[5],
            backend=row[6],
            success_metrics=row[8],
            event_timestamp=row[9],
            partition=TELEMETRY_NAME,
            generation=0,
            offset=number,
            ordinal=0,
            run_id="benchmark",
        )


def _batches(folder: Path, count: int) -> Iterator[list[Example]]:
    examples = _examples(folder, count)
    while batch := list(itertools.islice(examples, BATCH)):
        yield batch


def _bare(folder: Path, count: int) -> float:
    """Seconds of one core for making and writing the same points, once flushed."""
    folder.mkdir()
    words = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    config = edge.EdgeConfig(sparse_vectors={SPARSE: words})
    shard = edge.EdgeShard.create(str(folder), config)
    bm25 = edge.Bm25()
    taken = 0.0
    for batch in _batches(folder.parent, count):
        began = time.process_time()
        points = [
            edge.Point(
                point_id(each.content_hash),
                {SPARSE: bm25.embed_document(text_of(each))},
                payload_of(each),
            )
            for each in batch
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
        taken += time.process_time() - began
    began = time.process_time()
    shard.flush()
    return taken + time.process_time() - began


class Taken(NamedTuple):
    """What it took to index: seconds of one core, and bytes of memory at most."""

    seconds: float
    longest_batch: float
    memory: int


def _ours(home: EmbeddedHome, folder: Path, count: int) -> Taken:
    """The same by the index."""
    home.create()
    before = _anonymous_bytes()
    taken: list[float] = []
    memory = 0
    with home.open("benchmark") as index:
        for batch in _batches(folder, count):
            began = time.process_time()
            index.upsert(batch)
            index.flush()
            taken.append(time.process_time() - began)
            memory = max(memory, _anonymous_bytes() - before)
    return Taken(sum(taken), max(taken), memory)


def _whole(home: EmbeddedHome, folder: Path, count: int) -> None:
    taken = _ours(home, folder, count)
    print(
        f"all {count:,}: {count / taken.seconds:,.0f} points/s, longest batch "
        f"{taken.longest_batch:.1f} s, {taken.memory / MB:.0f} MB of memory at most"
    )
    began = time.perf_counter()
    with home.open("benchmark") as index:
        print(f"opened in {time.perf_counter() - began:.2f} s")
        queries = list(_queries(folder))
        among = SearchFilter(kinds=("task_completed",), backends=("claude",))
        nowhere = SearchFilter(partitions=("nowhere.jsonl",))
        for name, search in _searches(index, among, nowhere):
            print(f"search, {name:<22} {_percentiles(search, queries)}")
        began = time.perf_counter()
        found = sum(1 for _ in index.places())
        print(f"all {found:,} places in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    with home.open("benchmark"):
        pass
    print(f"opened and closed in {time.perf_counter() - began:.2f} s")


def _searches(
    index: PatternIndex, among: SearchFilter, nowhere: SearchFilter
) -> Iterator[tuple[str, Callable[[str], object]]]:
    yield "8 words", lambda text: index.search(" ".join(text.split()[:8]))
    yield "a whole example", index.search
    yield "8 words, filtered", lambda text: index.search(text[:50], among=among)
    yield "8 words, among none", lambda text: index.search(text[:50], among=nowhere)


def _queries(folder: Path) -> Iterator[str]:
    chosen = random.Random(0)
    examples = list(_examples(folder, 5_000))
    for _ in range(SEARCHES):
        yield text_of(chosen.choice(examples))


def _percentiles(search: Callable[[str], object], queries: list[str]) -> str:
    taken = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        taken.append((time.perf_counter() - began) * 1_000)
    cuts = statistics.quantiles(taken, n=20)
    return f"p50 {statistics.median(taken):.1f} ms, p95 {cuts[-1]:.1f} ms"


def _anonymous_bytes() -> int:
    # What is mapped from files counts as memory only as long as nobody else needs it.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * KIB


def main(folder: Path, what: str, count: int, number: str) -> None:
    """Measure one thing on one core."""
    with contextlib.suppress(AttributeError):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    place = folder / f"{what}-{number}"
    if what == "bare":
        print(count / _bare(place, count))
        return
    home = EmbeddedHome(place / "index", Vectorizer(None), wait_seconds=1)
    if what == "ours":
        print(count / _ours(home, folder, count).seconds)
    else:
        _whole(home, folder, count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
