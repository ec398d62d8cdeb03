"""Which files need a run: for the sensor, the schedule and `process`.

What a file needs is read off its checkpoint, never off what was asked before: a
file needs a run when its size or age is not what the last complete pass saw. So a
run that failed, or was killed, or never started, is asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import msgspec

from learning_pipeline.defs.partitions import keys_of_run
from learning_pipeline.model import Checkpoint, FileStatus
from learning_pipeline.store import Store

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 3600

_WILL_RETRY_TAG = "dagster/will_retry"
_RETRIED_BY_TAG = "dagster/auto_retry_run_id"


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A run that was asked for and has not read its file to the end yet.

    Attributes:
        offset: Where the stage stood when it was asked for.
        size_bytes: The file's size then.
        mtime_ns: The file's modification time then.
        count: How often in a row it was asked for without progress.
        asked_at: When, seconds since 1970.
    """

    offset: int
    size_bytes: int
    mtime_ns: int
    count: int
    asked_at: float


def files_with_unread(
    files: Sequence[FileStatus], checkpoints: Sequence[Checkpoint]
) -> list[FileStatus]:
    """The files that changed since the last complete pass over them.

    A torn tail alone does not count: the last pass saw the file at that size.
    """
    by_key = {checkpoint.partition: checkpoint for checkpoint in checkpoints}
    unread = []
    for file in files:
        checkpoint = by_key.get(file.partition)
        if checkpoint is None:
            if file.size_bytes > 0:
                unread.append(file)
        elif (checkpoint.seen_size_bytes, checkpoint.seen_mtime_ns) != (
            file.size_bytes,
            file.mtime_ns,
        ):
            unread.append(file)
    return unread


def keys_under_way(  # noqa: PLR0913 - keyword-only beyond what it looks at
    instance: dg.DagsterInstance,
    store: Store,
    known: Sequence[str],
    *,
    stage: str,
    lease_seconds: int,
    now: datetime,
) -> frozenset[str]:
    """The partition keys that a live run covers, or one that is about to start.

    Dagster's word alone does not do: when a whole process tree is killed its runs
    stay "started" for ever. A started run counts while it is young, or while its
    claims and commits show that it lives.
    """
    asset_key = dg.AssetKey.from_user_string(stage)
    lease = timedelta(seconds=lease_seconds)
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED)))
    just_failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - lease)
    )
    records = [
        record
        for record in (*unfinished, *just_failed)
        if _covers(instance, record.dagster_run, asset_key)
    ]
    commits = store.last_commit_by_run(
        [record.dagster_run.run_id for record in records]
    )
    keys: set[str] = set()
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
    return frozenset(keys)


def choose(
    unread: Sequence[FileStatus],
    checkpoints: Sequence[Checkpoint],
    asks: Mapping[str, Ask],
    *,
    busy: frozenset[str],
    now: float,
) -> tuple[list[str], dict[str, Ask]]:
    """Which files to ask a run for now, and what to remember of it.

    A file that changed since it was asked for is asked for at once; one that did
    not, whose run must have failed, after a pause that doubles each time.

    Returns:
        The keys, in order; and the asks to remember, of unread files only.
    """
    offsets = {checkpoint.partition: checkpoint.offset for checkpoint in checkpoints}
    chosen: list[str] = []
    remembered: dict[str, Ask] = {}
    for file in unread:
        key = file.partition
        offset = offsets.get(key, 0)
        ask = asks.get(key)
        if ask is not None:
            remembered[key] = ask
        if key in busy:
            continue
        same = ask is not None and (ask.offset, ask.size_bytes, ask.mtime_ns) == (
            offset,
            file.size_bytes,
            file.mtime_ns,
        )
        if same and ask is not None and now < ask.asked_at + _pause_seconds(ask.count):
            continue
        chosen.append(key)
        remembered[key] = Ask(
            offset,
            file.size_bytes,
            file.mtime_ns,
            ask.count + 1 if same and ask is not None else 1,
            now,
        )
    return chosen, remembered


def _pause_seconds(count: int) -> float:
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (count - 1), LONGEST_PAUSE_SECONDS)


def _covers(
    instance: dg.DagsterInstance, run: dg.DagsterRun, asset_key: dg.AssetKey
) -> bool:
    if run.asset_selection is not None:
        return asset_key in run.asset_selection
    if run.job_snapshot_id is None:
        return True
    # Runs of a whole job name no assets; the ops of its snapshot do.
    return (
        asset_key.to_python_identifier()
        in instance.get_job_snapshot(run.job_snapshot_id).node_names
    )


def _awaits_retry(run: dg.DagsterRun) -> bool:
    return run.tags.get(_WILL_RETRY_TAG) == "true" and _RETRIED_BY_TAG not in run.tags


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
