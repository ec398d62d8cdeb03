"""`telemetry_files`: one Dagster partition per telemetry file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

telemetry_files = dg.DynamicPartitionsDefinition(name="telemetry_files")
"""Keys are paths relative to the telemetry root; see `telemetry.keys`."""

KEYS_PER_QUERY = 10_000
"""More than about 32,000 keys in one query fail on SQLite."""


def known_keys(instance: dg.DagsterInstance) -> list[str]:
    """The partition keys that Dagster has, in order of insertion."""
    return list(instance.get_dynamic_partitions(str(telemetry_files.name)))


def add_keys(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Add partition keys; those that are there stay as they are."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        instance.add_dynamic_partitions(
            str(telemetry_files.name), list(keys[start : start + KEYS_PER_QUERY])
        )


def share_runs(  # noqa: PLR0913 - keyword-only beyond what is shared
    wanted: Iterable[str],
    known: Sequence[str],
    *,
    max_files: int,
    max_gap: int = 0,
    avoid: frozenset[str] = frozenset(),
    lags: Mapping[str, int] | None = None,
    max_bytes: int = 0,
) -> list[list[str]]:
    """Group keys into the ranges that runs can share.

    A Dagster run covers one range in order of insertion. To join two wanted keys
    into one run, those between them are passed over as well, which costs an event
    each; a run of its own would cost seconds.

    Args:
        wanted: Keys that must be covered; each is known.
        known: All keys in order of insertion.
        max_files: Most keys of one group.
        max_gap: Most unwanted keys in a row that may be covered too.
        avoid: Keys that no group may cover unless wanted.
        lags: Bytes to read of wanted keys. With them, a group has at most `max_bytes`
            to read, so a file with more than that has a run of its own, for which no
            other file waits; and the groups come most lag of a file first.
        max_bytes: Most bytes that a run reads of a file.

    Returns:
        Groups of neighbouring keys, each beginning and ending with a wanted one.
    """
    chosen = frozenset(wanted)
    groups: list[list[str]] = []
    group: list[str] = []
    gap: list[str] = []
    group_bytes = 0
    for key in known:
        if key not in chosen:
            gap.append(key)
            if key in avoid or len(gap) > max_gap:
                groups += [group] if group else []
                group, gap = [], []
            continue
        # At least 1: nothing shares a run with a file that fills it.
        key_bytes = min(max(lags.get(key, 0), 1), max_bytes) if lags is not None else 0
        full = len(group) + len(gap) + 1 > max_files
        if group and (
            full or (lags is not None and group_bytes + key_bytes > max_bytes)
        ):
            groups.append(group)
            group = []
        if group:
            group += [*gap, key]
            group_bytes += key_bytes
        else:
            group = [key]
            group_bytes = key_bytes
        gap = []
    if group:
        groups.append(group)
    if lags is not None:
        groups.sort(key=lambda group: -max(lags.get(key, 0) for key in group))
    return groups


def range_tags(group: Sequence[str]) -> dict[str, str]:
    """The run tags that select a group of neighbouring keys."""
    if len(group) == 1:
        return {PARTITION_TAG: group[0]}
    return {RANGE_START_TAG: group[0], RANGE_END_TAG: group[-1]}


PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def keys_of_run(run: dg.DagsterRun, known: Sequence[str]) -> list[str]:
    """The partition keys that a run covers, as its tags say."""
    if PARTITION_TAG in run.tags:
        return [run.tags[PARTITION_TAG]]
    start, end = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
    if start is None or end is None:
        return []
    try:
        return list(known[known.index(start) : known.index(end) + 1])
    except ValueError:
        # An end of the range was deleted meanwhile; what is left is not known.
        return [key for key in (start, end) if key in known]
