"""Two runs on one file, partitions deleted under a run, and interrupts."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pytest
import sqlalchemy as sa

from learning_pipeline import steps
from learning_pipeline.defs import build_definitions, telemetry_files
from learning_pipeline.stages import StageOutput, TelemetryStream
from learning_pipeline.store import stage_table
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import (
    Workbench,
    failure_text,
    reference_lines,
)

CONTENT = b"".join(generate_lines(200, seed=5))
KEY = "a.jsonl"


def at(step: str, occurrence: int, action: Callable[[], None]) -> None:
    """Do something once, when a step is reached for the so-manieth time."""
    seen = 0

    def listener(reached: str) -> None:
        nonlocal seen
        if reached == step:
            seen += 1
            if seen == occurrence:
                action()

    steps.listen(listener)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The lines of one undisturbed pass."""
    return reference_lines(tmp_path_factory.mktemp("once"), CONTENT)


@pytest.mark.parametrize(
    ("step", "occurrence"),
    [("claim.after", 1), ("extract.after", 3), ("commit.after", 3)],
)
def test_of_two_runs_on_one_file_the_newest_goes_on_and_the_other_is_fenced(
    home_bench: Workbench,
    step: str,
    occurrence: int,
    expected: list[dict[str, object]],
) -> None:
    """The old one wakes up after the newer finished: fenced, rows as from one run."""
    home_bench.write(KEY, CONTENT)
    newer: list[dg.ExecuteInProcessResult] = []

    def run_another() -> None:
        thread = threading.Thread(target=lambda: newer.append(home_bench.run([KEY])))
        thread.start()
        thread.join()

    at(step, occurrence, run_another)
    older = home_bench.run([KEY])
    steps.listen(None)
    assert newer[0].success
    assert not older.success
    assert "claimed by another run" in failure_text(older)
    run = home_bench.instance.get_run_by_id(older.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert run.tags.get("dagster/will_retry") != "true"
    assert home_bench.pipeline.export() == expected
    assert home_bench.pipeline.audit() == []
    assert home_bench.checkpoint(KEY).run_id == newer[0].run_id


def test_a_fenced_file_does_not_take_the_others_with_it(home_bench: Workbench) -> None:
    """Only the file that another run took is left to it."""
    for name in (KEY, "b.jsonl"):
        home_bench.write(name, CONTENT)

    def run_another() -> None:
        thread = threading.Thread(target=home_bench.run, args=([KEY],))
        thread.start()
        thread.join()

    at("commit.after", 3, run_another)
    older = home_bench.run([KEY, "b.jsonl"])
    assert "1 of 2 files failed" in failure_text(older)
    assert home_bench.materialized() == {KEY, "b.jsonl"}
    assert home_bench.checkpoint("b.jsonl").offset == len(CONTENT)


def test_a_partition_deleted_under_a_run_loses_nothing(
    bench: Workbench, expected: list[dict[str, object]]
) -> None:
    """It goes on to the end; added again, the partition has nothing left to read."""
    bench.write(KEY, CONTENT)
    at(
        "commit.after",
        3,
        lambda: bench.instance.delete_dynamic_partition("telemetry_files", KEY),
    )
    assert bench.run([KEY]).success
    steps.listen(None)
    assert bench.pipeline.export() == expected
    assert bench.pipeline.audit() == []
    assert bench.run([KEY]).success
    assert bench.metadata(KEY)["run_event_count"] == 0
    assert bench.pipeline.export() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_at_a_batch_boundary(
    bench: Workbench, number: signal.Signals, expected: list[dict[str, object]]
) -> None:
    """Sent in the middle of a commit: that one is whole, the next is not begun."""
    bench.write("0.jsonl", CONTENT[: CONTENT.index(b"\n") + 1])
    bench.write(KEY, CONTENT)
    at("commit.rows_written", 4, lambda: os.kill(os.getpid(), number))
    result = bench.run(["0.jsonl", KEY])
    steps.listen(None)
    assert not result.success
    checkpoint = bench.checkpoint(KEY)
    assert checkpoint.counters.event_count == 3 * 20
    assert checkpoint.synced_offset == checkpoint.offset
    assert bench.materialized() == {"0.jsonl"}
    assert bench.pipeline.audit() == []
    assert bench.run([KEY]).success
    assert bench.metadata(KEY)["resumed_from_offset"] == checkpoint.offset
    rows = [row for row in bench.pipeline.export() if row["partition"] == KEY]
    assert rows == expected


def test_an_interrupt_is_no_reason_for_the_retry_policy(bench: Workbench) -> None:
    """Dagster would take it for one, and the run could not be stopped."""
    table = stage_table("ticks", sa.Column("tick", sa.Text))

    @dg.asset(
        partitions_def=telemetry_files,
        io_manager_key="checkpoint_io_manager",
        retry_policy=dg.RetryPolicy(max_retries=3),
    )
    def ticks(telemetry_file: TelemetryStream) -> StageOutput:
        return telemetry_file.rows(lambda _: [{"tick": "x"}], into=table)

    definitions = dg.Definitions.merge(
        build_definitions(),
        dg.Definitions([ticks], jobs=[dg.define_asset_job("again", [ticks])]),
    )
    retried = replace(bench, job=definitions.resolve_job_def("again"))
    retried.write(KEY, b'{"event": "x"}\n' * 200)
    at("extract.after", 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = retried.run([KEY])
    assert not result.success
    assert "Interrupted" in failure_text(result)
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_a_file_that_grows_under_its_run_is_read_on_by_the_next(
    bench: Workbench, expected: list[dict[str, object]]
) -> None:
    """A file that grows while its run is at work: the rest is for the next run."""
    half = len(CONTENT) // 2
    bench.write(KEY, CONTENT[:half])
    at("commit.after", 2, lambda: bench.append(KEY, CONTENT[half:]))
    assert bench.run([KEY]).success
    assert bench.checkpoint(KEY).offset <= half
    assert bench.run([KEY]).success
    assert bench.pipeline.export() == expected
