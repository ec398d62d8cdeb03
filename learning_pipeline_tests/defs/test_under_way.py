"""Which runs live, or are about to start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from learning_pipeline.defs.partitions import range_tags
from learning_pipeline.defs.under_way import runs_under_way
from learning_pipeline.store import Store, patterns
from learning_pipeline_tests.defs.workbench import STAGE, Workbench

KEY = "a.jsonl"
LEASE_SECONDS = 120
STARTED = dg.DagsterRunStatus.STARTED
QUEUED = dg.DagsterRunStatus.QUEUED
FAILED = dg.DagsterRunStatus.FAILURE


@pytest.fixture
def store(bench: Workbench) -> Iterator[Store]:
    """The state database."""
    with Store(bench.pipeline.store_url) as opened:
        yield opened


def add_run(
    bench: Workbench,
    status: dg.DagsterRunStatus,
    tags: Mapping[str, str] | None = None,
    job: dg.JobDefinition | None = None,
) -> str:
    """A run of the file, as Dagster records it."""
    return bench.record_run(status, {**range_tags([KEY]), **(tags or {})}, job)


def under_way(bench: Workbench, store: Store, after_seconds: float) -> bool:
    """Whether the file counts as under way so many seconds from now."""
    under_way = runs_under_way(
        bench.instance,
        store,
        [KEY],
        stages=[STAGE],
        lease_seconds=LEASE_SECONDS,
        now=datetime.now(UTC) + timedelta(seconds=after_seconds),
    )
    assert under_way.run_count == (KEY in under_way.keys)
    return KEY in under_way.keys


def test_a_queued_run_counts_however_old(bench: Workbench, store: Store) -> None:
    """The daemon starts it in its time."""
    add_run(bench, QUEUED)
    assert under_way(bench, store, 0)
    assert under_way(bench, store, 30 * 24 * 3600)


@pytest.mark.parametrize(
    "status", [STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
)
def test_a_started_run_counts_while_it_is_young_and_not_when_it_is_dead(
    bench: Workbench, store: Store, status: dg.DagsterRunStatus
) -> None:
    """A killed process tree leaves its runs started for ever."""
    add_run(bench, status)
    assert under_way(bench, store, LEASE_SECONDS - 20)
    assert not under_way(bench, store, LEASE_SECONDS + 20)


def test_an_old_run_counts_while_its_commits_are_fresh(
    bench: Workbench, store: Store
) -> None:
    """A run of hours lives as long as it moves a checkpoint."""
    run_id = add_run(bench, STARTED)
    fresh = datetime.now(UTC) + timedelta(seconds=3600)
    with store.session(
        stage=STAGE, table=patterns, run_id=run_id, history_count=2
    ) as session:
        session._clock = fresh.isoformat
        session.claim(KEY)
    assert under_way(bench, store, 3600 + LEASE_SECONDS - 20)
    assert not under_way(bench, store, 3600 + LEASE_SECONDS + 20)


def test_a_failed_run_counts_only_while_its_retry_is_awaited(
    bench: Workbench, store: Store
) -> None:
    """The daemon starts the retry seconds later; asking too would double it."""
    add_run(bench, FAILED)
    assert not under_way(bench, store, 0)
    run_id = add_run(bench, FAILED, {"dagster/will_retry": "true"})
    assert under_way(bench, store, 0)
    assert not under_way(bench, store, LEASE_SECONDS + 20)
    bench.instance.add_run_tags(run_id, {"dagster/auto_retry_run_id": "another"})
    assert not under_way(bench, store, 0)


def test_finished_runs_and_runs_of_other_assets_do_not_count(
    bench: Workbench, store: Store
) -> None:
    """A user's own asset on the same files blocks nothing."""

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="telemetry_files"))
    def another() -> None:
        """Something else of the same file."""

    definitions = dg.Definitions(
        [another], jobs=[dg.define_asset_job("other", [another])]
    )
    add_run(bench, QUEUED, job=definitions.resolve_job_def("other"))
    add_run(bench, dg.DagsterRunStatus.SUCCESS)
    add_run(bench, dg.DagsterRunStatus.CANCELED)
    bench.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            status=STARTED,
            tags=range_tags([KEY]),
            asset_selection=frozenset({dg.AssetKey("another")}),
        )
    )
    assert not under_way(bench, store, 0)
