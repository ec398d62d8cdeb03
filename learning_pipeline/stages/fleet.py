"""How far all stages are in all files: totals, and the files that lag most."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from learning_pipeline.errors import ConfigurationError, TelemetryError
from learning_pipeline.model import Checkpoint, Counters, FileStatus
from learning_pipeline.settings import Settings
from learning_pipeline.stages.lag import PartitionLag, lag_of
from learning_pipeline.stages.names import PATTERNS_STAGE, stages_to_learn
from learning_pipeline.store import PartitionState, Store
from learning_pipeline.telemetry import discover

MAX_FILES_SHOWN = 50
FILES_AT_A_TIME = 500


class StageProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stage is, over all files.

    Attributes:
        stage: The asset.
        lag_bytes: What it has not read or taken over; None when that is not known.
        is_at_least: Whether it may be more.
        behind_count: Files in which it is behind.
        event_count: Events that it has read, over all files that it has ever begun;
            none where it reads what another stage has made.
        row_count: Rows that it has made or taken over; duplicates too, where it takes
            examples over.
        dead_letter_count: Records that it could not process.
        lost_bytes: Bytes, at least, that went away before it read them.
    """

    stage: str
    lag_bytes: int | None
    is_at_least: bool
    behind_count: int
    event_count: int
    row_count: int
    dead_letter_count: int
    lost_bytes: int


class FileProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the slowest stage is in a file, and what was learned of it.

    Attributes:
        partition: The partition key.
        size_bytes: Of all files behind it; None when they are gone.
        lag_bytes: What the slowest stage has not read; None when they are gone.
        slowest_stage: Which that is; empty when none lags.
        event_count: Events that `interaction_patterns` has read.
        pattern_count: Patterns made of them.
        dead_letter_count: Records that it could not process.
        lost_bytes: Bytes, at least, that went away before it read them.
    """

    partition: str
    size_bytes: int | None
    lag_bytes: int | None
    slowest_stage: str
    event_count: int
    pattern_count: int
    dead_letter_count: int
    lost_bytes: int

    @property
    def percent(self) -> float:
        """Share of it that every stage has taken over, 0 to 100."""
        if not self.size_bytes or self.lag_bytes is None:
            return 100.0
        return 100.0 * max(self.size_bytes - self.lag_bytes, 0) / self.size_bytes


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All files, at a glance.

    Attributes:
        file_count: Files that are there, or were read and are gone.
        gone_count: Those that are gone.
        size_bytes: Of all that are there.
        lag_bytes: What the slowest stage of each has not read; None when the
            telemetry root could not be looked at.
        behind_count: Files in which some stage is behind.
        left_out_count: Paths below the root that are not read, such as links.
        event_count: Events that `interaction_patterns` has read.
        dead_letter_count: Records that it could not process.
        lost_bytes: Bytes, at least, that went away before it read them.
        files: Those that lag most, then the largest.
        stages: Those that `LEARN_STAGES` names, in the order of a run.
        problem: Why the telemetry root could not be looked at; None when it could.
    """

    file_count: int
    gone_count: int
    size_bytes: int
    lag_bytes: int | None
    behind_count: int
    left_out_count: int
    event_count: int
    dead_letter_count: int
    lost_bytes: int
    files: list[FileProgress]
    stages: list[StageProgress]
    problem: str | None = None


def look_at_fleet(store: Store, settings: Settings) -> Fleet:
    """Look at all files and where all stages stand in them; opens no file.

    Also without a telemetry root: then it says why, and what is known without.
    """
    files: Sequence[FileStatus] = ()
    left_out_count = 0
    problem = None
    try:
        discovery = discover(
            settings.telemetry_dir, settings.patterns, store.known_partitions()
        )
        files, left_out_count = discovery.files, len(discovery.problems)
    except (ConfigurationError, TelemetryError) as error:
        problem = str(error)
    by_stage = {stage: _StageSum() for stage in stages_to_learn(settings)}
    there = {file.partition for file in files}
    rows = list(_rows(store, files, by_stage))
    size_bytes = sum(row.size_bytes or 0 for row in rows)
    gone_count = sum(row.partition not in there for row in rows)
    return Fleet(
        file_count=len(rows),
        gone_count=0 if problem else gone_count,
        size_bytes=size_bytes,
        lag_bytes=None if problem else sum(row.lag_bytes or 0 for row in rows),
        behind_count=sum(bool(row.lag_bytes) for row in rows),
        left_out_count=left_out_count,
        event_count=sum(row.event_count for row in rows),
        dead_letter_count=sum(row.dead_letter_count for row in rows),
        lost_bytes=sum(row.lost_bytes for row in rows),
        files=heapq.nsmallest(MAX_FILES_SHOWN, rows, key=_worst_first),
        stages=[
            StageProgress(
                stage=stage,
                lag_bytes=None if problem else total.lag_bytes,
                is_at_least=total.is_at_least,
                behind_count=total.behind_count,
                event_count=total.counters.event_count,
                row_count=total.counters.row_count,
                dead_letter_count=total.counters.dead_letter_count,
                lost_bytes=total.counters.lost_bytes,
            )
            for stage, total in by_stage.items()
        ],
        problem=problem,
    )


class _StageSum:
    def __init__(self) -> None:
        self.lag_bytes = 0
        self.is_at_least = False
        self.behind_count = 0
        self.counters = Counters()

    def add_lag(self, lag: PartitionLag) -> None:
        self.lag_bytes += lag.lag_bytes
        self.is_at_least = self.is_at_least or lag.is_at_least
        self.behind_count += lag.lag_bytes > 0


def _rows(
    store: Store, files: Sequence[FileStatus], by_stage: Mapping[str, _StageSum]
) -> Iterator[FileProgress]:
    """A row per partition, some at a time: a checkpoint per stage each is much."""
    there = {file.partition: file for file in files}
    keys = sorted({*there, *store.known_partitions()})
    for some in _batched(keys):
        found: dict[str, dict[str, Checkpoint]] = {}
        for each in store.checkpoints(keys=some, with_kinds=False):
            found.setdefault(each.partition, {})[each.stage] = each
        rotated = [key for key in some if key in there and len(there[key].files) > 1]
        states = store.partition_states(rotated) if rotated else {}
        for key in some:
            checkpoints = found.get(key, {})
            for stage, total in by_stage.items():
                if stage in checkpoints:
                    total.counters += checkpoints[stage].counters
            # Of a file alone in its partition, the checkpoints say it all.
            state = states.get(key) or PartitionState(checkpoints=checkpoints)
            yield _row(key, there.get(key), state, by_stage)


def _row(
    partition: str,
    file: FileStatus | None,
    state: PartitionState,
    by_stage: Mapping[str, _StageSum],
) -> FileProgress:
    worst, slowest = 0, ""
    if file is not None:
        for stage, total in by_stage.items():
            lag = lag_of(file, state, stage)
            total.add_lag(lag)
            if lag.lag_bytes > worst:
                worst, slowest = lag.lag_bytes, stage
    checkpoint = state.checkpoints.get(PATTERNS_STAGE)
    counters = checkpoint.counters if checkpoint else Counters()
    return FileProgress(
        partition=partition,
        size_bytes=None if file is None else max(file.total_bytes, file.size_bytes),
        lag_bytes=None if file is None else worst,
        slowest_stage=slowest,
        event_count=counters.event_count,
        pattern_count=counters.row_count,
        dead_letter_count=counters.dead_letter_count,
        lost_bytes=counters.lost_bytes,
    )


def _worst_first(row: FileProgress) -> tuple[int, int, str]:
    return -(row.lag_bytes or 0), -(row.size_bytes or 0), row.partition


def _batched(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while some := list(itertools.islice(remaining, FILES_AT_A_TIME)):
        yield some
