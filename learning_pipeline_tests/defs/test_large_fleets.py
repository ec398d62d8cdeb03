"""More files than one query, one tick or one message takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from learning_pipeline.defs.partitions import known_keys
from learning_pipeline.defs.planning import files_with_unread
from learning_pipeline.defs.sensors import (
    MAX_FILES_PER_TICK,
    MAX_OBSERVATIONS_PER_TICK,
    build_sensor,
    plan_runs,
)
from learning_pipeline.model import FileStatus
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.telemetry import discover
from learning_pipeline_tests.defs.workbench import STAGE, Workbench
from learning_pipeline_tests.fleet import LINE, store_as_read, write_fleet

pytestmark = pytest.mark.sweep

MORE_THAN_SQLITE_TAKES = 33_000
"""SQLite takes 32,766 parameters in a statement, older builds 999."""

MOST_PARAMETERS = 999

FILE_COUNT = 2_300
BOUND_BYTES = 250_000
"""Of the cursor, which Dagster stores with every tick."""


@pytest.mark.parametrize("chosen", ["all", "each by its key"])
def test_more_files_than_a_statement_takes_parameters_are_asked_for(
    sqlite_url: str, chosen: str
) -> None:
    """Whatever is asked of the state database, by key or of all."""
    files = [
        FileStatus(
            partition=f"agent-{number:05}.jsonl",
            size_bytes=10,
            mtime_ns=number,
            signature=str(number),
        )
        for number in range(MORE_THAN_SQLITE_TAKES)
    ]
    store_as_read(sqlite_url, files)
    every = [file.partition for file in files]
    keys = None if chosen == "all" else every
    sizes: list[int] = []

    def measure(*arguments: Any) -> None:
        sizes.append(len(arguments[3] or ()))

    with Store(sqlite_url) as store:
        # Some builds of SQLite take more: what counts is what a statement carries.
        sa.event.listen(store._engine, "before_cursor_execute", measure)
        checkpoints = store.checkpoints(stage=STAGE, keys=keys)
        assert [each.partition for each in checkpoints] == every
        assert checkpoints[-1].counters.events_by_kind == {"tick": 1}
        assert len(store.history(stage=STAGE, keys=keys)) == len(every)
        assert store.known_partitions(keys) == frozenset(every)
        assert list(store.iterate_dead_letters(keys=keys)) == []
        assert len(store.last_commit_by_run(["no run", "run-0", *every])) == 1
    assert files_with_unread(files, checkpoints) == []
    assert max(sizes) < MOST_PARAMETERS


def tick(bench: Workbench, cursor: str | None, now: datetime) -> dg.SensorResult:
    """What one tick of the sensor gives."""
    with dg.build_sensor_context(instance=bench.instance, cursor=cursor) as context:
        result = build_sensor(load_settings(), lambda: now)(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_tick_over_very_many_new_files_is_bounded_and_the_next_goes_on(
    bench: Workbench,
) -> None:
    """Partitions for all at once; runs, events and cursor in small portions."""
    write_fleet(bench.pipeline.telemetry, FILE_COUNT)
    now = datetime.now(UTC)
    cursor: str | None = None
    asked_for: set[str] = set()
    for _ in range(3):
        result = tick(bench, cursor, now)
        cursor = result.cursor
        known = known_keys(bench.instance)
        assert len(known) == FILE_COUNT
        assert len(result.asset_events) == MAX_OBSERVATIONS_PER_TICK
        assert len(cursor or "") < BOUND_BYTES
        keys: set[str] = set()
        for request in result.run_requests or ():
            start, end = (
                known.index(request.tags[f"dagster/asset_partition_range_{end}"])
                for end in ("start", "end")
            )
            keys.update(known[start : end + 1])
            bench.record_run(dg.DagsterRunStatus.QUEUED, request.tags)
        assert 0 < len(keys) <= MAX_FILES_PER_TICK
        assert not keys & asked_for
        asked_for |= keys
        now += timedelta(seconds=30)
    assert len(asked_for) == FILE_COUNT
    with dg.build_sensor_context(instance=bench.instance, cursor=cursor) as context:
        assert isinstance(
            build_sensor(load_settings(), lambda: now)(context), dg.SkipReason
        )


def test_a_few_grown_files_among_very_many_are_the_only_ones_asked_for(
    bench: Workbench,
) -> None:
    """An idle look asks for nothing; then for two, far from each other."""
    write_fleet(bench.pipeline.telemetry, FILE_COUNT)
    settings = load_settings()
    files = discover(settings.telemetry_dir, settings.patterns).files
    store_as_read(bench.pipeline.store_url, files)
    assert plan_runs(bench.instance, settings, {}, now=datetime.now(UTC)).groups == []
    grown = [files[10].partition, files[2_000].partition]
    for key in grown:
        bench.append(key, LINE)
    plan = plan_runs(bench.instance, settings, {}, now=datetime.now(UTC))
    assert [list(group) for group in plan.groups] == [[key] for key in grown]
    assert list(plan.asks) == grown
