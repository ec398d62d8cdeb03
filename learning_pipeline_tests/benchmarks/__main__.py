"""`python -m learning_pipeline_tests.benchmarks`: every figure that the README names.

Figures are ratios within one run: machines differ, and so do their hours.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from learning_pipeline_tests.benchmarks.dataset import measure_dataset
from learning_pipeline_tests.benchmarks.files import measure_fleet, measure_many_files
from learning_pipeline_tests.benchmarks.index import measure_index
from learning_pipeline_tests.benchmarks.metrics import measure_metrics
from learning_pipeline_tests.benchmarks.throughput import (
    measure_memory,
    measure_throughput,
)

ALL = ("throughput", "memory", "files", "fleet", "dataset", "index", "metrics")


def main() -> None:
    """Run the benchmarks that were asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*ALL, []])
    parser.add_argument("--events", type=int, default=400_000, help="in the large file")
    parser.add_argument("--files", type=int, default=2_000, help="small files")
    parser.add_argument("--fleet", type=int, default=50_000, help="files looked at")
    parser.add_argument(
        "--memory-bytes", type=int, default=3_000_000_000, help="size of the huge file"
    )
    parser.add_argument("--patterns", type=int, default=1_000_000, help="to learn from")
    parser.add_argument("--points", type=int, default=200_000, help="of the index")
    options = parser.parse_args()
    chosen = set(options.only or ALL)
    with tempfile.TemporaryDirectory(prefix="learning-pipeline-benchmark-") as name:
        folder = Path(name)
        if "throughput" in chosen:
            measure_throughput(folder, event_count=options.events)
        if "memory" in chosen:
            measure_memory(folder, size_bytes=options.memory_bytes)
        if "files" in chosen:
            measure_many_files(folder, file_count=options.files)
        if "fleet" in chosen:
            measure_fleet(folder, file_count=options.fleet)
        if "dataset" in chosen:
            measure_dataset(folder, pattern_count=options.patterns)
        if "index" in chosen:
            measure_index(folder, point_count=options.points)
        if "metrics" in chosen:
            measure_metrics(folder, event_count=options.events)


if __name__ == "__main__":
    main()
