"""`status`: how far every file is, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from learning_pipeline.cli.output import echo_json, echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.model import Checkpoint, Counters
from learning_pipeline.settings import load_settings
from learning_pipeline.telemetry import Discovery, discover


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(*, as_json: bool) -> None:
    """Per file and stage: size, offset, lag, events, rows, dead letters."""
    settings = load_settings()
    discovery = discover(settings.telemetry_dir, settings.patterns)
    with stored_so_far(settings) as store:
        checkpoints = store.checkpoints(with_kinds=as_json)
    if as_json:
        echo_json(_document(discovery, checkpoints))
        return
    rows = _rows(discovery, checkpoints)
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
                "lost bytes",
            ],
            rows,
        )
    else:
        click.echo(
            f"No telemetry files below {settings.telemetry_dir} match "
            f"{settings.telemetry_patterns}."
        )
    for problem in discovery.problems:
        click.echo(f"left out: {problem.path}: {problem.detail}", err=True)


def _rows(discovery: Discovery, checkpoints: list[Checkpoint]) -> list[list[str]]:
    sizes = {file.partition: file.size_bytes for file in discovery.files}
    rows = []
    for partition, stage, checkpoint in _pairs(sizes, checkpoints):
        size_bytes = sizes.get(partition)
        offset = checkpoint.offset if checkpoint else 0
        counters = checkpoint.counters if checkpoint else Counters()
        rows.append(
            [
                partition,
                stage,
                "gone" if size_bytes is None else str(size_bytes),
                str(offset),
                "" if size_bytes is None else str(max(size_bytes - offset, 0)),
                str(counters.event_count),
                str(counters.row_count),
                str(counters.quality_count),
                str(counters.dead_letter_count),
                str(counters.lost_bytes),
            ]
        )
    return rows


def _pairs(
    sizes: Mapping[str, int], checkpoints: list[Checkpoint]
) -> list[tuple[str, str, Checkpoint | None]]:
    pairs: list[tuple[str, str, Checkpoint | None]] = [
        (each.partition, each.stage, each) for each in checkpoints
    ]
    seen = {each.partition for each in checkpoints}
    pairs += [(partition, "", None) for partition in sizes if partition not in seen]
    return sorted(pairs, key=lambda pair: pair[:2])


def _document(discovery: Discovery, checkpoints: list[Checkpoint]) -> dict[str, Any]:
    sizes = {file.partition: file.size_bytes for file in discovery.files}
    files: dict[str, dict[str, Any]] = {
        partition: {
            "partition": partition,
            "size_bytes": sizes.get(partition),
            "stages": {},
        }
        for partition in sorted({*sizes, *(each.partition for each in checkpoints)})
    }
    for each in checkpoints:
        size_bytes = sizes.get(each.partition)
        counters = each.counters
        files[each.partition]["stages"][each.stage] = {
            "generation": each.generation,
            "offset": each.offset,
            "lag_bytes": None
            if size_bytes is None
            else max(size_bytes - each.offset, 0),
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
    return {
        "files": list(files.values()),
        "problems": [
            {"path": each.path, "reason": each.reason, "detail": each.detail}
            for each in discovery.problems
        ],
    }
