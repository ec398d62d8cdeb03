"""`process` over files of more bytes than a run reads: rounds of runs to their ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from learning_pipeline.cli.progress import ProgressDisplay
from learning_pipeline.cli.rounds import PassTracker
from learning_pipeline.model import Counters, Progress
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import (
    FIRST_STAGE_ONLY,
    Pipeline,
    assert_as_from_one_pass,
)

LINES = list(generate_lines(200))
STAGE = "interaction_patterns"


def with_a_large_file(folder: Path, *, bound: bool) -> Pipeline:
    """200 events in one file and one in each of three others."""
    settings = {
        "CHECKPOINT_INTERVAL": "10",
        "MAX_LAG_BYTES": "50000",
        **FIRST_STAGE_ONLY,
    }
    if bound:
        settings["MAX_BYTES_PER_RUN"] = "60000"
    pipeline = Pipeline(folder, settings)
    (pipeline.telemetry / "large.jsonl").write_bytes(b"".join(LINES))
    for number in range(3):
        (pipeline.telemetry / f"small-{number}.jsonl").write_bytes(LINES[number])
    return pipeline


def test_a_file_of_many_runs_is_processed_to_its_end(tmp_path: Path) -> None:
    """As in one pass; with the sums of all its runs; no stale warning."""
    pipeline = with_a_large_file(tmp_path / "bound", bound=True)
    reference = with_a_large_file(tmp_path / "reference", bound=False)
    completed = run(pipeline, "process")
    assert completed.code == 0
    assert completed.errors == ""
    assert "4 files processed, 0 failed: 203 events" in completed.output
    # On a slow machine it is also said how far it is in between.
    *_, last = re.findall(
        r"^large\.jsonl: (\d+) % .*?, (\d+) events", completed.output, re.MULTILINE
    )
    assert last == ("100", "200")
    assert run(pipeline, "process").output == "4 files, nothing new.\n"
    reference.process()
    assert_as_from_one_pass(pipeline, reference)
    assert len(runs_of(pipeline)) > 2
    assert len(runs_of(reference)) == 1


def runs_of(pipeline: Pipeline) -> list[str]:
    """The statuses of the runs that Dagster knows."""
    from dagster import DagsterInstance  # noqa: PLC0415 - only here

    home = str(pipeline.state / "dagster_home")
    with DagsterInstance.from_config(home) as instance:
        return [run.status.value for run in instance.get_runs()]


def test_a_file_that_fails_does_not_keep_the_large_one_from_its_rounds(
    tmp_path: Path,
) -> None:
    """Exit code 1, the failure said once; the named files done, the other one not."""
    pipeline = with_a_large_file(tmp_path, bound=True)
    assert run(pipeline, "process", "small-1.jsonl").code == 0
    (pipeline.telemetry / "small-1.jsonl").unlink()
    completed = run(pipeline, "process", "large.jsonl", "small-1.jsonl")
    assert completed.code == 1
    assert completed.errors.count("Error: small-1.jsonl: ") == 1
    assert "1 files processed, 1 failed: 200 events" in completed.output
    document = run(pipeline, "checkpoints", "show", "--json").document
    assert document["last_positions"] == {
        "large.jsonl": len(b"".join(LINES)),
        "small-1.jsonl": len(LINES[1]),
    }


def stop(  # noqa: PLR0913 - keyword-only beyond where
    offset: int,
    *,
    size_bytes: int = 100,
    generation: int = 0,
    is_complete: bool = False,
    is_final: bool = True,
    run_event_count: int = 1,
    partition: str = "a.jsonl",
) -> Progress:
    """Where a run stopped in a file."""
    return Progress(
        stage=STAGE,
        partition=partition,
        generation=generation,
        offset=offset,
        size_bytes=size_bytes,
        counters=Counters(),
        run_event_count=run_event_count,
        run_row_count=0,
        run_dead_letter_count=0,
        run_bytes=10,
        elapsed_seconds=1.0,
        commit_count=1,
        generation_change_count=0,
        resumed_from_offset=0,
        is_final=is_final,
        is_complete=is_complete,
    )


def after_rounds(*rounds: Progress) -> tuple[dict[str, int], list[str]]:
    """What the last round asks to go on with."""
    tracker = PassTracker(lambda _progress: None)
    left: dict[str, int] = {}
    stuck: list[str] = []
    for progress in rounds:
        tracker(progress)
        left, stuck = tracker.next_round()
    return left, stuck


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        pytest.param([stop(40)], ({"a.jsonl": 60}, []), id="stopped half-way"),
        pytest.param([stop(40), stop(100, is_complete=True)], ({}, []), id="read"),
        pytest.param([stop(40), stop(40)], ({}, ["a.jsonl"]), id="stood still"),
        pytest.param(
            [stop(40), stop(40, generation=1)], ({"a.jsonl": 60}, []), id="next one"
        ),
        pytest.param(
            [stop(40), stop(90, size_bytes=180)], ({"a.jsonl": 90}, []), id="grew"
        ),
        pytest.param(
            [stop(40), stop(110, size_bytes=180)], ({}, []), id="grew, end passed"
        ),
        pytest.param(
            [stop(60), stop(100)],
            ({"a.jsonl": 1}, []),
            id="at the end of a rotated one, another behind it",
        ),
        pytest.param([stop(40, is_final=False)], ({}, []), id="under way"),
    ],
)
def test_a_pass_goes_on_with_what_moves_up_to_where_it_first_ended(
    rounds: list[Progress], expected: tuple[dict[str, int], list[str]]
) -> None:
    """Neither without end behind a writer, nor for ever at the same byte."""
    assert after_rounds(*rounds) == expected


def test_only_files_that_a_failed_run_did_not_finish_are_its_failures() -> None:
    """All of them, if it finished all and failed later."""
    tracker = PassTracker(lambda _progress: None)
    assert tracker.unfinished(["a.jsonl", "b.jsonl"], STAGE) == ["a.jsonl", "b.jsonl"]
    tracker(stop(100, is_complete=True))
    assert tracker.unfinished(["a.jsonl", "b.jsonl"], STAGE) == ["b.jsonl"]
    assert tracker.unfinished(["a.jsonl"], STAGE) == ["a.jsonl"]
    tracker.next_round()
    assert tracker.unfinished(["a.jsonl", "b.jsonl"], STAGE) == ["a.jsonl", "b.jsonl"]


def test_the_display_adds_up_all_runs_of_a_file_and_keeps_nothing_of_done_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also of one that is under way; of very many files it holds no more than sums."""
    display = ProgressDisplay()
    display(stop(20, is_final=False, run_event_count=3))
    assert display.event_count == 3
    display(stop(40, run_event_count=5))
    assert display.event_count == 5
    display(stop(60, is_final=False, run_event_count=2))
    assert display.event_count == 7
    display(stop(100, is_complete=True, run_event_count=4))
    assert display.event_count == 9
    assert capsys.readouterr().out == (
        "a.jsonl: 100 % (100 of 100 bytes), 9 events, 0 patterns, 0 dead letters\n"
    )
    display(stop(100, is_complete=True, partition="b.jsonl"))
    assert display.event_count == 10
    held = (display._under_way, display._earlier, display._said_at)
    assert held == ({}, {}, {})
