"""`telemetry_sensor`: finds new and grown files, adds partitions, asks for runs."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b

import dagster as dg
import msgspec

from learning_pipeline import logs
from learning_pipeline.defs.jobs import LEARN
from learning_pipeline.defs.partitions import (
    add_keys,
    known_keys,
    range_tags,
    share_runs,
)
from learning_pipeline.defs.planning import (
    Ask,
    UnreadFile,
    choose,
    files_to_learn,
    remember,
)
from learning_pipeline.defs.reporting import SOURCE_KEY
from learning_pipeline.defs.under_way import (
    UnderWay,
    longest_silence_seconds,
    runs_under_way,
)
from learning_pipeline.errors import StateDiskFullError
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.names import UPSTREAM_OF, stages_to_learn
from learning_pipeline.store import Store, free_space_guard
from learning_pipeline.telemetry import Discovery, discover

MAX_GAP_FILES = 20
"""Passing over so many unchanged files costs less than the start of another run."""

MAX_RUNS_UNDER_WAY = 40
"""The sensor asks for no more at a time. Dagster starts 10 at once; with a long queue
a file that grows much would wait behind all that was asked for before it."""

MAX_FILES_PER_TICK = 1_000
"""Dagster writes an event for each before a run starts, 40 to 50 a second; meanwhile
there is no other tick."""

MAX_OBSERVATIONS_PER_TICK = 200
"""Each is a write to the event log; the rest of a large tick shows in its runs."""

MAX_PROBLEMS_LOGGED = 20

NOTHING_ASKED = "{}"
"""The cursor that says so; Dagster keeps the old one in place of an empty text."""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sensor remembers from one tick to the next.

    Attributes:
        asks: By `UnreadFile.ask_key`; of files that are not read to their ends yet.
        problems: Digest of the paths that were left out, as they were last logged.
    """

    asks: dict[str, Ask] = {}
    problems: str = ""


_cursor_decoder = msgspec.json.Decoder(Cursor)


class Plan(msgspec.Struct, frozen=True):
    """What one look at the telemetry root asks for.

    Attributes:
        groups: Partition keys, one group per run; most lag of a file first.
        changed: The files that are asked for, most lag first.
        waiting_count: Files that wait until fewer runs are under way.
        asks: To be remembered until they are read.
        discovery: What was found.
        read: Keys of files of which only what was committed is to be taken over.
        takers: The stages that do that.
    """

    groups: Sequence[Sequence[str]]
    changed: Sequence[UnreadFile]
    waiting_count: int
    asks: Mapping[str, Ask]
    discovery: Discovery
    read: frozenset[str] = frozenset()
    takers: Sequence[str] = ()


def plan_runs(  # noqa: PLR0913 - keyword-only beyond what it looks at
    instance: dg.DagsterInstance,
    settings: Settings,
    asks: Mapping[str, Ask],
    *,
    now: datetime,
    max_runs: int = MAX_RUNS_UNDER_WAY,
    max_files: int = MAX_FILES_PER_TICK,
) -> Plan:
    """Look at the telemetry root and decide what runs are needed; adds partitions.

    Args:
        instance: Dagster's.
        settings: Of this process.
        asks: What was remembered of the last look.
        now: The time.
        max_runs: How many may be under way, those that are already included.
        max_files: How many the new ones may cover, unless there is only one.
    """
    stages = stages_to_learn(settings)
    with Store(settings.resolved_store_url) as store:
        discovery = discover(
            settings.telemetry_dir, settings.patterns, store.known_partitions()
        )
        known = known_keys(instance)
        there = frozenset(known)
        new = [
            file.partition for file in discovery.files if file.partition not in there
        ]
        add_keys(instance, new)
        known += new
        unread = files_to_learn(discovery.files, store, stages)
        under_way = UnderWay()
        if unread:
            under_way = runs_under_way(
                instance,
                store,
                known,
                stages=stages,
                lease_seconds=longest_silence_seconds(settings),
                now=now,
            )
    ready = choose(unread, asks, busy=under_way.keys, now=now.timestamp())
    lags = {found.partition: found.lag_bytes for found in ready}
    passable = frozenset(file.partition for file in discovery.files) - frozenset(
        found.partition for found in unread
    )
    read = frozenset(found.partition for found in ready if found.is_read)
    groups = in_turn(
        [
            group
            for keys in (lags.keys() - read, read)
            for group in share_runs(
                [key for key in lags if key in keys],
                known,
                max_files=settings.max_files_per_run,
                max_gap=MAX_GAP_FILES,
                # Passing over a file that is gone, or fails, would fail the whole run.
                avoid=frozenset(known) - passable,
                lags=lags,
                max_bytes=settings.max_bytes_per_run,
            )
        ],
        asks,
        max_runs=max_runs - under_way.run_count,
        max_files=max_files,
    )
    covered = frozenset(key for group in groups for key in group)
    asked = [found for found in ready if found.partition in covered]
    return Plan(
        groups=groups,
        changed=asked,
        waiting_count=len(ready) - len(asked),
        asks=remember(unread, asked, asks, now=now.timestamp()),
        discovery=discovery,
        read=read,
        takers=[stage for stage in stages if stage in UPSTREAM_OF],
    )


def in_turn(
    groups: Sequence[Sequence[str]],
    asks: Mapping[str, Ask],
    *,
    max_runs: int,
    max_files: int,
) -> list[Sequence[str]]:
    """The groups whose turn it is, when not all can be asked for at a time.

    By turns the one with the most lag, and the one that was not asked for the longest:
    large files that always lag far behind keep none of the others waiting for ever,
    nor do very many small ones keep the large from going on.

    Args:
        groups: Most lag first.
        asks: When each file was asked for.
        max_runs: Most groups.
        max_files: Most files of all groups together, unless there is only one group.
    """

    def asked_at(number: int) -> int:
        return min(asks[key].asked_at if key in asks else 0 for key in groups[number])

    by_lag = range(len(groups))
    by_turn = sorted(by_lag, key=asked_at)
    chosen: dict[int, int] = {}
    for number in itertools.chain.from_iterable(zip(by_lag, by_turn, strict=True)):
        if number in chosen:
            continue
        file_count = sum(chosen.values()) + len(groups[number])
        if len(chosen) >= max_runs or (chosen and file_count > max_files):
            break
        chosen[number] = len(groups[number])
    return [groups[number] for number in sorted(chosen)]


def run_requests(plan: Plan) -> list[dg.RunRequest]:
    """One request per group. Without a run key: Dagster remembers those for ever."""
    return [
        dg.RunRequest(
            tags=range_tags(group),
            asset_selection=(
                [dg.AssetKey(stage) for stage in plan.takers]
                if group[0] in plan.read
                else None
            ),
        )
        for group in plan.groups
    ]


def build_sensor(
    settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor, which is on by default.

    Guarantees:
        Asks for no run of a file that has one under way, and never gives a file up:
        as long as it has unread bytes, it is asked for again: at once where its run
        read of it, in growing pauses while its runs fail. A tick that finds nothing
        changed writes nothing. However many files there are, a tick adds a bounded
        number of runs, of files in the cursor and of events; the next goes on.
    """

    @dg.sensor(
        name="telemetry_sensor",
        job_name=LEARN,
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds new telemetry files as partitions, asks runs for grown ones.",
    )
    def telemetry_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        before = _remembered(context.cursor)
        current = load_settings()
        try:
            free_space_guard(current)()
        except StateDiskFullError as error:
            logs.get_logger().error("disk_nearly_full", error=str(error))
            return dg.SkipReason(f"no runs are asked for: {error}")
        plan = plan_runs(context.instance, current, before.asks, now=clock())
        problems = _digest(plan.discovery)
        if problems != before.problems:
            _log_problems(context, plan.discovery)
        after = Cursor(asks=dict(plan.asks), problems=problems)
        cursor = msgspec.json.encode(after).decode()
        if plan.groups:
            return dg.SensorResult(
                run_requests=run_requests(plan),
                cursor=cursor,
                asset_events=_asset_events(plan),
            )
        skip_reason = dg.SkipReason(
            f"{len(plan.discovery.files)} files below {current.telemetry_dir}: "
            + (
                f"{plan.waiting_count} wait until fewer runs are under way"
                if plan.waiting_count
                else "none has unread records without a run under way"
            )
        )
        if cursor == (context.cursor or NOTHING_ASKED):
            return skip_reason
        return dg.SensorResult(skip_reason=skip_reason, cursor=cursor)

    return telemetry_sensor


def _remembered(cursor: str | None) -> Cursor:
    try:
        return _cursor_decoder.decode(cursor or NOTHING_ASKED)
    except msgspec.DecodeError:
        # Of another version, or set by hand: at worst a file is asked for once more.
        return Cursor()


def _digest(discovery: Discovery) -> str:
    if not discovery.problems:
        return ""
    encoded = msgspec.json.encode([(it.path, it.reason) for it in discovery.problems])
    return blake2b(encoded, digest_size=8).hexdigest()


def _log_problems(context: dg.SensorEvaluationContext, discovery: Discovery) -> None:
    log = logs.teed_logger(context.log, level="WARNING")
    for problem in discovery.problems[:MAX_PROBLEMS_LOGGED]:
        log.warning(
            "path_left_out",
            path=problem.path,
            reason=problem.reason,
            detail=problem.detail,
        )
    more = len(discovery.problems) - MAX_PROBLEMS_LOGGED
    if more > 0:
        log.warning("more_paths_left_out", count=more)


def _asset_events(
    plan: Plan,
) -> list[dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    events: list[
        dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation
    ] = []
    for found in plan.changed[:MAX_OBSERVATIONS_PER_TICK]:
        checkpoint = found.checkpoint
        # The partition page shows only what is newer than a materialisation: the
        # first thing that is known of a file is one.
        kind = dg.AssetObservation if checkpoint else dg.AssetMaterialization
        events.append(
            kind(
                asset_key=SOURCE_KEY,
                partition=found.partition,
                metadata={
                    "size_bytes": found.file.size_bytes,
                    "offset": checkpoint.offset if checkpoint else 0,
                    "lag_bytes": found.lag_bytes,
                },
                tags={"dagster/data_version": found.file.signature},
            )
        )
    return events
