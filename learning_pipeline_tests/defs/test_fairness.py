"""One large file does not starve many small ones, and gets its own turns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from learning_pipeline.defs import sensors
from learning_pipeline.defs.planning import Ask, files_with_unread
from learning_pipeline.defs.sensors import (
    MAX_RUNS_UNDER_WAY,
    Plan,
    in_turn,
    plan_runs,
    run_requests,
)
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.telemetry import discover
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import STAGE, Workbench

SMALL_COUNT = 100
BOUND_BYTES = 120_000
ROUNDS = 3
HUGE = "agent-050.jsonl"

LINES = list(generate_lines(440))


@pytest.fixture
def unfair_bench(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A file that takes three runs, in the midst of a hundred small ones."""
    monkeypatch.setenv("LEARNING_PIPELINE_MAX_BYTES_PER_RUN", str(BOUND_BYTES))
    for number in range(SMALL_COUNT + 1):
        bench.write(f"agent-{number:03}.jsonl", LINES[number])
    content = b"".join(LINES)
    bench.write(HUGE, content)
    # A run overshoots by less than a batch.
    batch_bytes = 20 * max(map(len, LINES))
    assert (ROUNDS - 1) * (BOUND_BYTES + batch_bytes) < len(content)
    assert len(content) <= ROUNDS * BOUND_BYTES
    return bench


def look(bench: Workbench, asks: Mapping[str, Ask], *, after_seconds: int = 0) -> Plan:
    """What one look asks for."""
    now = datetime.now(UTC) + timedelta(seconds=after_seconds)
    return plan_runs(bench.instance, load_settings(), asks, now=now)


def execute(bench: Workbench, plan: Plan) -> None:
    """Run all that was asked for."""
    for request in run_requests(plan):
        result = bench.job.execute_in_process(
            instance=bench.instance, tags=request.tags
        )
        assert result.success


def unread(bench: Workbench) -> list[str]:
    """The files with unread records."""
    settings = load_settings()
    with Store(bench.pipeline.store_url) as store:
        found = files_with_unread(
            discover(settings.telemetry_dir, settings.patterns).files,
            store.checkpoints(stage=STAGE),
        )
    return [each.partition for each in found]


def test_a_hundred_small_files_are_done_after_the_first_round_beside_a_huge_one(
    unfair_bench: Workbench,
) -> None:
    """The huge one has runs of its own, the first; its rest is asked for at once."""
    plan = look(unfair_bench, {})
    assert plan.groups[0] == [HUGE]
    assert len(plan.groups) == 3
    execute(unfair_bench, plan)
    assert unread(unfair_bench) == [HUGE]
    offset = unfair_bench.checkpoint(HUGE).offset
    assert BOUND_BYTES <= offset < 2 * BOUND_BYTES
    rounds = 1
    while plan.groups:
        plan = look(unfair_bench, plan.asks, after_seconds=rounds)
        assert list(plan.groups) in ([[HUGE]], [])
        execute(unfair_bench, plan)
        rounds += bool(plan.groups)
    assert rounds == ROUNDS
    assert unfair_bench.checkpoint(HUGE).offset == len(b"".join(LINES))
    assert plan.asks == {}


@pytest.fixture
def busy_bench(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Five files that fill a run each, and only three runs at a time."""
    monkeypatch.setenv("LEARNING_PIPELINE_MAX_BYTES_PER_RUN", "100")
    monkeypatch.setattr(sensors, "MAX_RUNS_UNDER_WAY", 3)
    for number in range(5):
        bench.write(f"{number}.jsonl", b"".join(LINES[: 5 - number]))
    return bench


def look_for_three(bench: Workbench, asks: Mapping[str, Ask], at: int) -> Plan:
    """A look that may have three runs under way."""
    return plan_runs(
        bench.instance,
        load_settings(),
        asks,
        now=datetime.now(UTC) + timedelta(seconds=at),
        max_runs=3,
    )


def test_no_more_runs_are_asked_for_than_may_be_under_way(
    busy_bench: Workbench,
) -> None:
    """The most lag first; the rest is told, and has its turn when runs end."""
    plan = look_for_three(busy_bench, {}, 0)
    assert plan.groups == [["0.jsonl"], ["1.jsonl"], ["2.jsonl"]]
    assert plan.waiting_count == 2
    runs = [
        busy_bench.record_run(dg.DagsterRunStatus.QUEUED, request.tags)
        for request in run_requests(plan)
    ]
    plan = look_for_three(busy_bench, plan.asks, 1)
    assert plan.groups == []
    assert plan.waiting_count == 2
    busy_bench.instance.delete_run(runs[0])
    plan = look_for_three(busy_bench, plan.asks, 2)
    assert plan.groups == [["3.jsonl"]]


def test_neither_large_nor_many_files_keep_the_others_waiting_for_ever(
    busy_bench: Workbench,
) -> None:
    """Each run ends and its file has grown by more: all still have their turns."""
    asks: Mapping[str, Ask] = {}
    turns: list[str] = []
    ticks = 4
    for tick in range(ticks):
        plan = look_for_three(busy_bench, asks, tick)
        asks = plan.asks
        assert len(plan.groups) == 3
        for (key,) in plan.groups:
            turns.append(key)
            busy_bench.append(key, b"".join(LINES[:100]))
    assert set(turns) == {f"{number}.jsonl" for number in range(5)}
    assert max(map(turns.count, turns)) == ticks


def test_a_tick_asks_for_a_bounded_number_of_files_and_at_least_one_group() -> None:
    """Dagster writes an event for each, and does not tick meanwhile."""
    groups = [[f"{number}-{each}" for each in range(10)] for number in range(20)]
    assert in_turn(groups, {}, max_runs=50, max_files=35) == groups[:3]
    assert in_turn(groups, {}, max_runs=50, max_files=5) == groups[:1]
    assert in_turn(groups, {}, max_runs=2, max_files=35) == groups[:2]
    assert in_turn(groups, {}, max_runs=0, max_files=35) == []
    assert MAX_RUNS_UNDER_WAY > 0


def test_very_many_new_files_do_not_keep_a_large_one_from_going_on() -> None:
    """It was asked for a moment ago and they never were; both have turns."""
    huge, small = ["huge.jsonl"], [[f"{number}.jsonl"] for number in range(50)]
    asks = {"huge.jsonl": Ask(0, 10, "", 1, 1_000)}
    chosen = in_turn([huge, *small], asks, max_runs=4, max_files=99)
    assert chosen == [huge, *small[:3]]
