"""The real file, grown in any number of steps, cut at any byte."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from learning_pipeline import logs
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.stages import PartitionDrain, Reading
from learning_pipeline.stages.audit import range_problems
from learning_pipeline.store import Store, patterns
from learning_pipeline.telemetry import ReadLimits
from learning_pipeline_tests.defs.workbench import (
    REAL_EVENTS,
    REAL_FILE,
    REAL_PATTERNS,
    STAGE,
)

CONTENT = REAL_FILE.read_bytes()
KEY = "real.jsonl"


def grown(cuts: list[int], interval: int) -> tuple[list[dict[str, Any]], int]:
    """Read after each step; gives the exported lines and the events counted."""
    with tempfile.TemporaryDirectory() as folder, Store("sqlite://") as store:
        path = Path(folder) / KEY
        path.touch()
        for start, end in itertools.pairwise([0, *sorted(cuts), len(CONTENT)]):
            with path.open("ab") as file:
                file.write(CONTENT[start:end])
            with store.session(
                stage=STAGE, table=patterns, run_id="run", history_count=5
            ) as session:
                PartitionDrain(
                    session,
                    partition=KEY,
                    transform=PatternExtractor(),
                    reading=Reading(
                        telemetry_root=Path(folder),
                        limits=ReadLimits(
                            max_records=interval,
                            max_batch_bytes=2**24,
                            max_record_bytes=2**24,
                        ),
                        read_ahead_bytes=2**40,
                    ),
                    on_commit=lambda _: None,
                    log=logs.get_logger(),
                ).run()
        (checkpoint,) = store.checkpoints()
        assert range_problems(store.history(), [checkpoint]) == []
        return list(store.iterate_patterns()), checkpoint.counters.event_count


ONCE = grown([], 100)


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(0, len(CONTENT)), max_size=12),
    interval=st.sampled_from([1, 7, 100]),
)
def test_a_file_grown_in_any_steps_gives_the_lines_of_one_read(
    cuts: list[int], interval: int
) -> None:
    """Cut inside a line, a character or a line end, and committed in any batches."""
    assert grown(cuts, interval) == ONCE


def test_one_read_gives_the_known_numbers() -> None:
    """What the other test compares with is right itself."""
    lines, event_count = ONCE
    assert (len(lines), event_count) == (REAL_PATTERNS, REAL_EVENTS)
