"""`checkpoints`: where each stage stands in each file, and how to go back."""

from __future__ import annotations

import sys
from typing import Any

import click

from learning_pipeline.cli.keys import any_files, one_file, some_files
from learning_pipeline.cli.output import echo_json, echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import ConfigurationError, StoreError
from learning_pipeline.model import Checkpoint
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.audit import file_position
from learning_pipeline.store import Rewound, Store

DEFAULT_STAGE = "interaction_patterns"
stage_option = click.option(
    "--stage", default=DEFAULT_STAGE, show_default=True, help="Of which stage."
)


@click.group()
def checkpoints() -> None:
    """Look at the checkpoints, and go back to earlier ones."""


@checkpoints.command()
@any_files
@stage_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(files: tuple[str, ...], stage: str, *, as_json: bool) -> None:
    """The current checkpoint of every file, or of these.

    The JSON has `last_positions` (the offset per file), `processed_count` (events)
    and `timestamp` (of the newest commit).
    """
    with stored_so_far(load_settings()) as store:
        found = store.checkpoints(stage=stage, keys=files or None)
    if as_json:
        echo_json(
            {
                "stage": stage,
                "last_positions": {each.partition: each.offset for each in found},
                "processed_count": sum(each.counters.event_count for each in found),
                "timestamp": max((each.updated_at for each in found), default=None),
                "checkpoints": [_as_json(each) for each in found],
            }
        )
        return
    if not found:
        click.echo(
            f"No checkpoints of {stage}{_of(files)} yet; `learning-pipeline process` "
            "makes them."
        )
        return
    echo_table(
        ["partition", "generation", "offset", "synced", "events", "commit", "at"],
        [
            [
                each.partition,
                str(each.generation),
                str(each.offset),
                str(each.synced_offset),
                str(each.counters.event_count),
                str(each.sequence),
                each.updated_at,
            ]
            for each in found
        ],
    )


@checkpoints.command()
@any_files
@stage_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def history(files: tuple[str, ...], stage: str, *, as_json: bool) -> None:
    """The last commits of every file, or of these: what can be rewound to."""
    with stored_so_far(load_settings()) as store:
        steps = store.history(stage=stage, keys=files or None)
    if as_json:
        echo_json(steps)
        return
    if not steps:
        click.echo(
            f"No commits of {stage}{_of(files)} yet; `learning-pipeline process` makes "
            "them."
        )
        return
    echo_table(
        ["partition", "generation", "commit", "bytes", "events", "run", "at"],
        [
            [
                step.partition,
                str(step.generation),
                str(step.sequence),
                f"{step.start_offset}-{step.end_offset}",
                str(step.counters.event_count),
                step.run_id[:8],
                step.committed_at,
            ]
            for step in steps
        ],
    )


@checkpoints.command()
@one_file
@stage_option
@click.option(
    "--to",
    "to_offset",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="OFFSET",
    help="Go to the newest kept commit at or before this byte; 0 is the start.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def rewind(file: str, stage: str, to_offset: int, *, dry_run: bool) -> None:
    """Take a file back to an earlier checkpoint; the rows behind it go with it.

    The next run reads from there again and replaces them. A run that is under way
    on the file is fenced off. A file that is gone or replaced is left alone: its rows
    could not be learned again.
    """
    settings = load_settings()
    with stored_so_far(settings) as store:
        _require_readable(settings, store, stage=stage, partition=file)
        rewound = store.rewind(
            stage=stage, partition=file, to_offset=to_offset, dry_run=dry_run
        )
    _say(rewound, dry_run=dry_run)


@checkpoints.command()
@some_files
@stage_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def clear(files: tuple[str, ...], stage: str, *, yes: bool, dry_run: bool) -> None:
    """Forget all that was learned from files, of all their generations.

    What came from a generation whose file is gone cannot be learned again.
    """
    with stored_so_far(load_settings()) as store:
        for file in files:
            _say(store.clear(stage=stage, partition=file, dry_run=True), dry_run=True)
        if dry_run:
            return
        if not yes:
            if not sys.stdin.isatty():
                message = "clearing asks first; in a script, give --yes"
                raise ConfigurationError(message)
            click.confirm("Clear?", abort=True)
        for file in files:
            _say(store.clear(stage=stage, partition=file), dry_run=False)


def _say(rewound: Rewound, *, dry_run: bool) -> None:
    goes, removed = ("would go", "would be") if dry_run else ("went", "were")
    click.echo(
        f"{rewound.partition}: {rewound.stage} {goes} from offset "
        f"{rewound.from_offset} to {rewound.to_offset} of generation "
        f"{rewound.generation}; {rewound.row_count} rows and "
        f"{rewound.dead_letter_count} dead letters {removed} removed"
    )


def _of(files: tuple[str, ...]) -> str:
    return f" for {', '.join(files)}" if files else ""


def _require_readable(
    settings: Settings, store: Store, *, stage: str, partition: str
) -> None:
    for checkpoint in store.checkpoints(
        stage=stage, keys=[partition], with_kinds=False
    ):
        problem = file_position(settings.telemetry_dir, checkpoint).problem
        if problem is not None:
            message = (
                f"{partition} cannot be rewound, because its rows could not be learned "
                f"again: {problem}. `checkpoints clear` forgets them"
            )
            raise StoreError(message)


def _as_json(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "partition": checkpoint.partition,
        "generation": checkpoint.generation,
        "offset": checkpoint.offset,
        "synced_offset": checkpoint.synced_offset,
        "commit": checkpoint.sequence,
        "counters": checkpoint.counters,
        "run_id": checkpoint.run_id,
        "updated_at": checkpoint.updated_at,
    }
