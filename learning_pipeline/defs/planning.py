"""Which files need a run: for the sensor, the schedule and `process`.

What a file needs is read off its checkpoint, never off what was asked before: a
file needs a run when it is not as the last complete pass saw it. So a run that
failed, or was killed, or never started, or stopped before the file's end, is asked
for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

import dagster as dg
import msgspec

from learning_pipeline.defs.partitions import keys_of_run
from learning_pipeline.extraction import are_extractors_installed
from learning_pipeline.model import Checkpoint, FileStatus
from learning_pipeline.settings import Settings
from learning_pipeline.stages.names import ALL_STAGES, READING_STAGES, UPSTREAM_OF
from learning_pipeline.store import Store
from learning_pipeline.store.behind import Behind, partitions_behind
from learning_pipeline.store.index_feed import INDEX_STAGE, count_changes

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 3600
LONGEST_PAUSE_TO_CATCH_UP_SECONDS = 300
"""A dependency that was down is tried again sooner than a file that cannot be read."""

_WILL_RETRY_TAG = "dagster/will_retry"
_RETRIED_BY_TAG = "dagster/auto_retry_run_id"


MAX_ASKS = 2_000
"""Asks that are remembered; Dagster stores the cursor again with each tick."""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A run that was asked for and has not read its file to the end yet.

    Attributes:
        generation: Where the stage stood when it was asked for,
        offset: and at which byte.
        signature: Of the file's state then.
        count: How often in a row it was asked for without progress.
        asked_at: When, seconds since 1970.
    """

    generation: int
    offset: int
    signature: str
    count: int
    asked_at: int


class UnreadFile(msgspec.Struct, frozen=True):
    """A file that changed since the last complete pass over it.

    Attributes:
        file: As it was found.
        checkpoint: Where the stage stands in it, if it ever read of it.
        is_read: Whether only stages are behind that read what others committed.
    """

    file: FileStatus
    checkpoint: Checkpoint | None
    is_read: bool = False

    @property
    def partition(self) -> str:
        """Its partition key."""
        return self.file.partition

    @property
    def lag_bytes(self) -> int:
        """About how much there is to read; how much exactly, opening it shows.

        What is behind a rotation counts as large as it stands there, or as large as
        it was when it was last read.
        """
        file, checkpoint = self.file, self.checkpoint
        if checkpoint is None:
            return max(file.size_bytes, file.total_bytes)
        if checkpoint.offset <= file.size_bytes:
            return file.size_bytes - checkpoint.offset
        return file.size_bytes + max(checkpoint.size_bytes - checkpoint.offset, 0)


def files_with_unread(
    files: Sequence[FileStatus], checkpoints: Sequence[Checkpoint]
) -> list[UnreadFile]:
    """The files that changed since the last complete pass over them, most lag first.

    A torn tail alone does not count: the last pass saw the file like that.
    """
    by_key = {checkpoint.partition: checkpoint for checkpoint in checkpoints}
    unread = []
    for file in files:
        found = UnreadFile(file, by_key.get(file.partition))
        if (
            found.lag_bytes > 0
            if found.checkpoint is None
            else found.checkpoint.seen_signature != file.signature
        ):
            unread.append(found)
    return sorted(unread, key=lambda found: (-found.lag_bytes, found.partition))


def files_to_learn(
    files: Sequence[FileStatus], store: Store, stages: Sequence[str] = ALL_STAGES
) -> list[UnreadFile]:
    """The files that some stage has to go on with, most lag first.

    Args:
        files: As they were found.
        store: Where the stages stand.
        stages: Those that are to go on.
    """
    found: dict[str, UnreadFile] = {}
    for stage in READING_STAGES:
        if stage not in stages:
            continue
        checkpoints = store.checkpoints(stage=stage, with_kinds=False)
        for each in files_with_unread(files, checkpoints):
            before = found.get(each.partition)
            if before is None or each.lag_bytes > before.lag_bytes:
                found[each.partition] = each
    there = {file.partition: file for file in files}
    for stage, behind in _behind(store, stages):
        # Rows can be taken over also when their file is gone.
        gone = FileStatus(
            partition=behind.partition,
            size_bytes=behind.offset + behind.lag_bytes,
            mtime_ns=0,
        )
        checkpoint = Checkpoint(
            stage=stage,
            partition=behind.partition,
            generation=behind.generation,
            offset=behind.offset,
        )
        file = there.get(behind.partition, gone)
        found.setdefault(behind.partition, UnreadFile(file, checkpoint, is_read=True))
    return sorted(found.values(), key=lambda each: (-each.lag_bytes, each.partition))


def _behind(store: Store, stages: Sequence[str]) -> Iterator[tuple[str, Behind]]:
    """Where what others committed is to be taken over, by stage."""
    is_indexing = False
    for stage, upstream in UPSTREAM_OF.items():
        if stage not in stages:
            continue
        for behind in partitions_behind(store, stage, upstream):
            is_indexing = True
            yield stage, behind
    if not is_indexing and INDEX_STAGE in stages and count_changes(store):
        # Whichever file's run it is, it makes them.
        for checkpoint in store.checkpoints(stage=INDEX_STAGE, with_kinds=False)[:1]:
            place = checkpoint.generation, checkpoint.offset
            yield INDEX_STAGE, Behind(checkpoint.partition, *place, *place)


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


def choose(
    unread: Sequence[UnreadFile],
    asks: Mapping[str, Ask],
    *,
    busy: frozenset[str],
    now: float,
) -> list[UnreadFile]:
    """Which files a run may be asked for now, in the order of `unread`.

    A file that changed since it was asked for, or of which something was read, is
    asked for at once; one that did not, whose run must have failed, after a pause
    that doubles each time.
    """
    return [
        found
        for found in unread
        if found.partition not in busy
        and not _pauses(found, asks.get(found.partition), now)
    ]


def remember(
    unread: Sequence[UnreadFile],
    asked: Iterable[UnreadFile],
    asks: Mapping[str, Ask],
    *,
    now: float,
) -> dict[str, Ask]:
    """What to remember at the next look: what is asked for now, and earlier.

    Args:
        unread: All files with unread records; of others nothing is remembered.
        asked: Those that runs are asked for now.
        asks: What was remembered so far.
        now: Seconds since 1970.

    Returns:
        At most `MAX_ASKS`, the latest. What is forgotten is asked for again without
        a pause, in its turn.
    """
    remembered = {
        found.partition: asks[found.partition]
        for found in unread
        if found.partition in asks
    }
    for found in asked:
        before = asks.get(found.partition)
        count = before.count + 1 if before and _stood_still(found, before) else 1
        remembered[found.partition] = Ask(
            *_position(found), found.file.signature, count, int(now)
        )
    if len(remembered) <= MAX_ASKS:
        return remembered
    latest = sorted(remembered.items(), key=lambda item: item[1].asked_at)
    return dict(latest[-MAX_ASKS:])


def _pauses(found: UnreadFile, ask: Ask | None, now: float) -> bool:
    return (
        ask is not None
        and _stood_still(found, ask)
        and now < ask.asked_at + _pause_seconds(ask.count, is_read=found.is_read)
    )


def _stood_still(found: UnreadFile, ask: Ask) -> bool:
    return (ask.generation, ask.offset, ask.signature) == (
        *_position(found),
        found.file.signature,
    )


def _position(found: UnreadFile) -> tuple[int, int]:
    checkpoint = found.checkpoint
    return (checkpoint.generation, checkpoint.offset) if checkpoint else (0, 0)


def _pause_seconds(count: int, *, is_read: bool) -> float:
    longest = LONGEST_PAUSE_TO_CATCH_UP_SECONDS if is_read else LONGEST_PAUSE_SECONDS
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (count - 1), longest)


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
