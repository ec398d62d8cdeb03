"""Which runs live or are about to start, by Dagster's word and by what they commit."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

import dagster as dg
import msgspec

from learning_pipeline.defs.partitions import keys_of_run
from learning_pipeline.extraction import are_extractors_installed
from learning_pipeline.settings import Settings
from learning_pipeline.store import Store

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_WILL_RETRY_TAG = "dagster/will_retry"
_RETRIED_BY_TAG = "dagster/auto_retry_run_id"


class UnderWay(msgspec.Struct, frozen=True):
    """The live runs, and those about to start.

    Attributes:
        keys: The partition keys that they cover.
        run_count: How many they are.
    """

    keys: frozenset[str] = frozenset()
    run_count: int = 0


def longest_silence_seconds(settings: Settings) -> float:
    """How long a run that lives may commit nothing.

    Each event of a batch may take an extractor of a user's all of its time.
    """
    if not are_extractors_installed():
        return settings.run_lease_seconds
    batch_seconds = settings.checkpoint_interval * settings.extractor_timeout_seconds
    return max(settings.run_lease_seconds, batch_seconds)


def runs_under_way(  # noqa: PLR0913 - keyword-only beyond what it looks at
    instance: dg.DagsterInstance,
    store: Store,
    known: Sequence[str],
    *,
    stages: Sequence[str],
    lease_seconds: float,
    now: datetime,
) -> UnderWay:
    """The runs of any of the stages that live, or are about to start.

    Dagster's word alone does not do: when a whole process tree is killed its runs
    stay "started" for ever. A started run counts while it is young, or while its
    claims and commits show that it lives.
    """
    asset_keys = frozenset(map(dg.AssetKey.from_user_string, stages))
    lease = timedelta(seconds=lease_seconds)
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED)))
    just_failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - lease)
    )
    nodes_of = lru_cache(partial(_nodes_of_job, instance))
    records = [
        record
        for record in (*unfinished, *just_failed)
        if _covers(record.dagster_run, asset_keys, nodes_of)
    ]
    commits = store.last_commit_by_run(
        [record.dagster_run.run_id for record in records]
    )
    keys: set[str] = set()
    run_count = 0
    for record in records:
        run = record.dagster_run
        moved = commits.get(run.run_id)
        last_sign = max(
            _aware(record.create_timestamp),
            _aware(record.update_timestamp),
            datetime.fromisoformat(moved)
            if moved
            else datetime.min.replace(tzinfo=UTC),
        )
        young = now - last_sign < lease
        if run.status is dg.DagsterRunStatus.FAILURE:
            live = young and _awaits_retry(run)
        else:
            # What is queued is started by the daemon in its time, however late.
            live = young or run.status is dg.DagsterRunStatus.QUEUED
        if live:
            keys.update(keys_of_run(run, known))
            run_count += 1
    return UnderWay(frozenset(keys), run_count)


def _covers(
    run: dg.DagsterRun,
    asset_keys: frozenset[dg.AssetKey],
    nodes_of: Callable[[str], frozenset[str]],
) -> bool:
    if run.asset_selection is not None:
        return not asset_keys.isdisjoint(run.asset_selection)
    if run.job_snapshot_id is None:
        return True
    # Runs of a whole job name no assets; the ops of its snapshot do.
    nodes = nodes_of(run.job_snapshot_id)
    return any(each.to_python_identifier() in nodes for each in asset_keys)


def _nodes_of_job(instance: dg.DagsterInstance, snapshot_id: str) -> frozenset[str]:
    return frozenset(instance.get_job_snapshot(snapshot_id).node_names)


def _awaits_retry(run: dg.DagsterRun) -> bool:
    return run.tags.get(_WILL_RETRY_TAG) == "true" and _RETRIED_BY_TAG not in run.tags


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
