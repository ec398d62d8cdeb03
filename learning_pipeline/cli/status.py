"""`status`: how far every file is, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from learning_pipeline.cli.output import echo_json, echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.model import Checkpoint, Counters, FileStatus
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.lag import PartitionLag, lag_of
from learning_pipeline.stages.names import stages_to_learn
from learning_pipeline.store import PartitionState
from learning_pipeline.store.index_feed import INDEX_STAGE
from learning_pipeline.telemetry import Discovery, discover


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(*, as_json: bool) -> None:
    """Per file and stage: size, offset, lag, events, rows, dead letters.

    Below that: services that are left alone, and what waits for the search index.
    """
    from learning_pipeline.learning.breakers import Breakers  # noqa: PLC0415 - slow
    from learning_pipeline.learning.report.index_state import (  # noqa: PLC0415 - slow
        index_facts,
    )
    from learning_pipeline.learning.report.wording import (  # noqa: PLC0415 - slow
        breakers_said,
        index_said,
    )

    settings = load_settings()
    with stored_so_far(settings) as store:
        discovery = discover(
            settings.telemetry_dir, settings.patterns, store.known_partitions()
        )
        checkpoints = store.checkpoints(with_kinds=as_json)
        # Of a file alone in its partition, the checkpoint says it all.
        states = store.partition_states(
            [each.partition for each in discovery.files if _rotated_count(each)]
        )
        index = index_facts(store, is_learned=INDEX_STAGE in stages_to_learn(settings))
        breakers = Breakers(store, settings).states()
    found = _Found(discovery, checkpoints, states)
    if as_json:
        echo_json(_document(found) | {"dependencies": breakers, "index": index})
        return
    rows = _rows(found)
    if rows:
        echo_table(
            [
                "partition",
                "stage",
                "size",
                "offset",
                "lag",
                "events",
                "patterns",
                "quality",
                "dead letters",
                "rotated",
                "lost bytes",
            ],
            rows,
        )
    else:
        click.echo(
            f"No telemetry files below {settings.telemetry_dir} match "
            f"{settings.telemetry_patterns}."
        )
    lines = breakers_said(breakers)
    if index.is_learned and (index.behind_file_count or index.waiting_change_count):
        lines.append(index_said(index))
    if lines:
        click.echo("\n" + "\n".join(lines))
    for problem in discovery.problems:
        click.echo(f"left out: {problem.path}: {problem.detail}", err=True)


class _Found:
    """What is on disk, and what is stored of it."""

    def __init__(
        self,
        discovery: Discovery,
        checkpoints: list[Checkpoint],
        states: Mapping[str, PartitionState],
    ) -> None:
        self.problems = discovery.problems
        self.checkpoints = checkpoints
        self.files = {file.partition: file for file in discovery.files}
        self._states = states

    def lag(self, partition: str, checkpoint: Checkpoint | None) -> PartitionLag | None:
        """What a stage has not read; None when no file is there."""
        file = self.files.get(partition)
        if file is None:
            return None
        state = self._states.get(partition)
        if checkpoint is None:
            return lag_of(file, state or PartitionState())
        if state is None:
            state = PartitionState(checkpoints={checkpoint.stage: checkpoint})
        return lag_of(file, state, checkpoint.stage)


def _rotated_count(file: FileStatus) -> int:
    return sum(not physical.is_active for physical in file.files)


def _rows(found: _Found) -> list[list[str]]:
    rows = []
    for partition, stage, checkpoint in _pairs(found.files, found.checkpoints):
        file = found.files.get(partition)
        lag = found.lag(partition, checkpoint)
        offset = checkpoint.offset if checkpoint else 0
        counters = checkpoint.counters if checkpoint else Counters()
        rows.append(
            [
                partition,
                stage,
                "gone" if file is None else str(file.size_bytes),
                str(offset),
                "" if lag is None else _at_least(lag.lag_bytes, lag.is_at_least),
                str(counters.event_count),
                str(counters.row_count),
                str(counters.quality_count),
                str(counters.dead_letter_count),
                "" if file is None else str(_rotated_count(file)),
                _at_least(counters.lost_bytes, counters.lost_bytes > 0),
            ]
        )
    return rows


def _at_least(count: int, may_be_more: bool) -> str:  # noqa: FBT001 - a private pair
    return f"≥ {count}" if may_be_more else str(count)


def _pairs(
    files: Mapping[str, FileStatus], checkpoints: list[Checkpoint]
) -> list[tuple[str, str, Checkpoint | None]]:
    pairs: list[tuple[str, str, Checkpoint | None]] = [
        (each.partition, each.stage, each) for each in checkpoints
    ]
    seen = {each.partition for each in checkpoints}
    pairs += [(partition, "", None) for partition in files if partition not in seen]
    return sorted(pairs, key=lambda pair: pair[:2])


def _document(found: _Found) -> dict[str, Any]:
    partitions = {*found.files, *(each.partition for each in found.checkpoints)}
    files: dict[str, dict[str, Any]] = {}
    for partition in sorted(partitions):
        file = found.files.get(partition)
        unread = found.lag(partition, None)
        files[partition] = {
            "partition": partition,
            "size_bytes": None if file is None else file.size_bytes,
            "rotated_files": 0 if file is None else _rotated_count(file),
            "lag_bytes": None if unread is None else unread.lag_bytes,
            "stages": {},
        }
    for each in found.checkpoints:
        lag = found.lag(each.partition, each)
        counters = each.counters
        files[each.partition]["stages"][each.stage] = {
            "generation": each.generation,
            "offset": each.offset,
            "lag_bytes": None if lag is None else lag.lag_bytes,
            "event_count": counters.event_count,
            "pattern_count": counters.row_count,
            "quality_count": counters.quality_count,
            "ignored_count": counters.ignored_count,
            "dead_letter_count": counters.dead_letter_count,
            "generation_change_count": counters.generation_change_count,
            "lost_bytes_at_least": counters.lost_bytes,
            "events_by_kind": counters.events_by_kind,
            "redactions_by_kind": counters.redactions_by_kind,
            "updated_at": each.updated_at,
        }
    for document in files.values():
        if document["stages"]:
            document["lag_bytes"] = max(
                (stage["lag_bytes"] for stage in document["stages"].values()),
                key=lambda lag_bytes: lag_bytes or 0,
            )
    return {
        "files": list(files.values()),
        "problems": [
            {"path": each.path, "reason": each.reason, "detail": each.detail}
            for each in found.problems
        ],
    }
