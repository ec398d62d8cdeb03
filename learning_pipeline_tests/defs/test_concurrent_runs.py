"""Two runs on one file, partitions deleted under a run, and interrupts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from learning_pipeline import steps
from learning_pipeline.defs import build_definitions, telemetry_files
from learning_pipeline.stages import StageOutput, TelemetryStream
from learning_pipeline.store import patterns
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import (
    STAGE,
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
    "step", ["claim.after", "commit.after", "commit.checkpoint_written"]
)
def test_of_two_runs_on_one_file_the_newest_goes_on_and_the_other_is_fenced(
    home_bench: Workbench, step: str, expected: list[dict[str, object]]
) -> None:
    """The old one wakes up after the newer finished: fenced, rows as from one run."""
    home_bench.write(KEY, CONTENT)
    newer: list[dg.ExecuteInProcessResult] = []

    def run_another() -> None:
        # Inside a transaction the newer one would wait for the older one's lock.
        thread = threading.Thread(target=lambda: newer.append(home_bench.run([KEY])))
        thread.start()
        if step != "commit.checkpoint_written":
            thread.join()
        threads.append(thread)

    threads: list[threading.Thread] = []
    at(step, 3 if step != "claim.after" else 1, run_another)
    older = home_bench.run([KEY])
    for thread in threads:
        thread.join()
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
    """Whatever becomes of the run, rows are there once, and a later run is whole."""
    bench.write(KEY, CONTENT)
    at(
        "commit.after",
        3,
        lambda: bench.instance.delete_dynamic_partition("telemetry_files", KEY),
    )
    bench.run([KEY])
    steps.listen(None)
    assert bench.pipeline.audit() == []
    assert bench.run([KEY]).success
    assert bench.pipeline.export() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_at_a_batch_boundary(
    bench: Workbench, number: signal.Signals, expected: list[dict[str, object]]
) -> None:
    """Sent in the middle of a commit: that one is whole, the next is not begun."""
    bench.write("0.jsonl", CONTENT[: CONTENT.index(b"\n") + 1])
    bench.write(KEY, CONTENT)
    at("commit.rows_written", 4, lambda: os.kill(os.getpid(), number))
    begun: list[str] = []
    result = bench.run(["0.jsonl", KEY])
    steps.listen(None)
    assert not result.success
    assert begun == []
    checkpoint = bench.checkpoint(KEY)
    assert checkpoint.counters.event_count == 3 * 20
    assert checkpoint.synced_offset == checkpoint.offset
    assert bench.materialized() == {"0.jsonl"}
    assert bench.pipeline.audit() == []
    assert bench.run([KEY]).success
    assert bench.metadata(KEY)["resumed_from_offset"] == checkpoint.offset
    rows = [row for row in bench.pipeline.export() if row["partition"] == KEY]
    assert rows == expected


@pytest.fixture
def retrying(bench: Workbench) -> Iterator[Workbench]:
    """A stage that keeps asking for retries, on the same IO manager."""

    @dg.asset(
        name=STAGE,
        partitions_def=telemetry_files,
        io_manager_key="checkpoint_io_manager",
        retry_policy=dg.RetryPolicy(max_retries=3),
    )
    def retried(telemetry_file: TelemetryStream) -> StageOutput:
        return telemetry_file.rows(lambda _: [{"kind": "x"}], into=patterns)

    definitions = build_definitions()
    job = dg.Definitions(
        [*(definitions.assets or [])[:1], retried],
        jobs=[dg.define_asset_job("again", [retried])],
        resources=definitions.resources,
    ).resolve_job_def("again")
    yield Workbench(bench.pipeline, bench.instance, job)
    steps.listen(None)


def test_an_interrupt_is_no_reason_for_the_retry_policy(retrying: Workbench) -> None:
    """Dagster would take it for one, and the run could not be stopped."""
    retrying.write(KEY, b'{"event": "x"}\n' * 200)
    at("extract.after", 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = retrying.run([KEY])
    assert not result.success
    assert "Interrupted" in failure_text(result)
    assert not any(event.is_step_restarted for event in result.all_events)


def test_growth_in_threads_gives_the_rows_of_one_pass(
    bench: Workbench, tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    """A file that grows while its run is at work: the rest is for the next run."""
    assert tmp_path.is_dir()
    half = len(CONTENT) // 2
    bench.write(KEY, CONTENT[:half])
    at("commit.after", 2, lambda: bench.append(KEY, CONTENT[half:]))
    assert bench.run([KEY]).success
    assert bench.checkpoint(KEY).offset <= half
    assert bench.run([KEY]).success
    assert bench.pipeline.export() == expected
