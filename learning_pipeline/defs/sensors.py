"""`telemetry_sensor`: finds new and grown files, adds partitions, asks for runs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
import msgspec

from learning_pipeline import logs
from learning_pipeline.defs.jobs import learn
from learning_pipeline.defs.partitions import (
    add_keys,
    known_keys,
    range_tags,
    share_runs,
)
from learning_pipeline.defs.planning import (
    Ask,
    choose,
    files_with_unread,
    keys_under_way,
)
from learning_pipeline.defs.reporting import SOURCE_KEY
from learning_pipeline.model import Checkpoint, FileStatus
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.store import Store
from learning_pipeline.telemetry import Discovery, discover

STAGE = "interaction_patterns"
MAX_GAP_FILES = 20
"""Passing over so many unchanged files costs less than the start of another run."""

MAX_OBSERVATIONS_PER_TICK = 200
"""Each is a write to the event log; the rest of a large tick shows in its runs."""

NOTHING_ASKED = "{}"
"""The cursor that says so; Dagster keeps the old one in place of an empty text."""

_cursor_decoder = msgspec.json.Decoder(dict[str, Ask])


class Plan(msgspec.Struct, frozen=True):
    """What one look at the telemetry root asks for.

    Attributes:
        groups: Partition keys, one group per run.
        changed: The files that are asked for.
        asks: To be remembered until they are read.
        discovery: What was found.
        checkpoints: Those that there are, of the stage.
    """

    groups: Sequence[Sequence[str]]
    changed: Sequence[FileStatus]
    asks: Mapping[str, Ask]
    discovery: Discovery
    checkpoints: Sequence[Checkpoint]


def plan_runs(
    instance: dg.DagsterInstance,
    settings: Settings,
    asks: Mapping[str, Ask],
    *,
    now: datetime,
) -> Plan:
    """Look at the telemetry root and decide what runs are needed; adds partitions."""
    discovery = discover(settings.telemetry_dir, settings.patterns)
    known = known_keys(instance)
    there = frozenset(known)
    new = [file.partition for file in discovery.files if file.partition not in there]
    if new:
        add_keys(instance, new)
        known += new
    with Store(settings.resolved_store_url) as store:
        checkpoints = store.checkpoints(stage=STAGE, with_kinds=False)
        unread = files_with_unread(discovery.files, checkpoints)
        busy: frozenset[str] = frozenset()
        if unread:
            busy = keys_under_way(
                instance,
                store,
                known,
                stage=STAGE,
                lease_seconds=settings.run_lease_seconds,
                now=now,
            )
    chosen, remembered = choose(
        unread, checkpoints, asks, busy=busy, now=now.timestamp()
    )
    wanted = frozenset(chosen)
    not_read = frozenset(file.partition for file in unread)
    passable = frozenset(file.partition for file in discovery.files) - not_read
    return Plan(
        groups=share_runs(
            chosen,
            known,
            max_files=settings.max_files_per_run,
            max_gap=MAX_GAP_FILES,
            # Passing over a file that is gone, or fails, would fail the whole run.
            avoid=frozenset(known) - passable,
        ),
        changed=[file for file in unread if file.partition in wanted],
        asks=remembered,
        discovery=discovery,
        checkpoints=checkpoints,
    )


def run_requests(plan: Plan) -> list[dg.RunRequest]:
    """One request per group. Without a run key: Dagster remembers those for ever."""
    return [dg.RunRequest(tags=range_tags(group)) for group in plan.groups]


def build_sensor(
    settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor, which is on by default.

    Guarantees:
        Asks for no run of a file that has one under way, and never gives a file up:
        as long as it has unread bytes, it is asked for again, in growing pauses
        while its runs fail. A tick that finds nothing changed writes nothing.
    """

    @dg.sensor(
        name="telemetry_sensor",
        job=learn,
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds new telemetry files as partitions, asks runs for grown ones.",
    )
    def telemetry_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        asks = _remembered(context.cursor)
        current = load_settings()
        plan = plan_runs(context.instance, current, asks, now=clock())
        log = logs.teed_logger(context.log, level="WARNING")
        for problem in plan.discovery.problems:
            log.warning(
                "path_left_out",
                path=problem.path,
                reason=problem.reason,
                detail=problem.detail,
            )
        cursor = msgspec.json.encode(plan.asks).decode()
        unchanged = cursor == (context.cursor or NOTHING_ASKED)
        if plan.groups:
            return dg.SensorResult(
                run_requests=run_requests(plan),
                cursor=cursor,
                asset_events=_asset_events(plan),
            )
        skip_reason = dg.SkipReason(
            f"{len(plan.discovery.files)} files below {current.telemetry_dir}: "
            "none has unread records without a run under way"
        )
        if unchanged:
            return skip_reason
        return dg.SensorResult(skip_reason=skip_reason, cursor=cursor)

    return telemetry_sensor


def _remembered(cursor: str | None) -> dict[str, Ask]:
    try:
        return _cursor_decoder.decode(cursor or NOTHING_ASKED)
    except msgspec.DecodeError:
        # Of another version, or set by hand: at worst a file is asked for once more.
        return {}


def _asset_events(
    plan: Plan,
) -> list[dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    by_key = {each.partition: each for each in plan.checkpoints}
    events: list[
        dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation
    ] = []
    for file in plan.changed[:MAX_OBSERVATIONS_PER_TICK]:
        checkpoint = by_key.get(file.partition)
        offset = checkpoint.offset if checkpoint else 0
        # The partition page shows only what is newer than a materialisation: the
        # first thing that is known of a file is one.
        kind = dg.AssetObservation if checkpoint else dg.AssetMaterialization
        events.append(
            kind(
                asset_key=SOURCE_KEY,
                partition=file.partition,
                metadata={
                    "size_bytes": file.size_bytes,
                    "offset": offset,
                    "lag_bytes": max(file.size_bytes - offset, 0),
                },
                tags={"dagster/data_version": f"{file.size_bytes}-{file.mtime_ns}"},
            )
        )
    return events
