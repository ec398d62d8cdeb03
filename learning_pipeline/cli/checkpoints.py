"""`checkpoints`: where each stage stands in each file, and how to go back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click
import msgspec

from learning_pipeline.cli.keys import any_files, one_file, some_files
from learning_pipeline.cli.output import (
    echo_json,
    echo_json_list,
    echo_long_table,
    echo_table,
)
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.cli.targets import TargetType
from learning_pipeline.errors import ConfigurationError, StoreError
from learning_pipeline.model import Checkpoint
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.learnable import unlearnable
from learning_pipeline.stages.names import PATTERNS_STAGE, UPSTREAM_OF
from learning_pipeline.store import (
    HistoryStep,
    Rewound,
    Store,
    Target,
    ToOffset,
    ToStep,
)
from learning_pipeline.telemetry import Listings, telemetry_matcher

stage_option = click.option(
    "--stage", default=PATTERNS_STAGE, show_default=True, help="Of which stage."
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
        ["partition", "generation", "offset", "synced", "events", "step", "at"],
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
    """The last steps of every file, or of these: what can be rewound to."""
    with stored_so_far(load_settings()) as store:
        steps = store.iterate_history(stage=stage, keys=files or None)
        if as_json:
            echo_json_list(_step_as_json(each) for each in steps)
            return
        row_count = echo_long_table(
            ["partition", "generation", "step", "bytes", "events", "run", "at"],
            (
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
            ),
        )
    if not row_count:
        click.echo(
            f"No commits of {stage}{_of(files)} yet; `learning-pipeline process` makes "
            "them."
        )


@checkpoints.command()
@one_file
@click.option(
    "--stage",
    "stages",
    multiple=True,
    default=[PATTERNS_STAGE],
    show_default=True,
    help="Of which stage; may be given several times.",
)
@click.option("--all-stages", is_flag=True, help="Of every stage that has read it.")
@click.option(
    "--to",
    type=TargetType(),
    default="0",
    show_default=True,
    metavar="OFFSET|TIME|step:N",
    help=(
        "Go to the newest kept step at or before this byte (0 is the start); or at or "
        "before this ISO 8601 date or time, local where it states no zone; or to this "
        "step of `checkpoints history`."
    ),
)
@click.option(
    "--generation",
    type=click.IntRange(min=0),
    help="The generation that an offset is in. [default: the one being read]",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Also take back what cannot be learned again, because its file is gone.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def rewind(  # noqa: PLR0913 - one for each option
    file: str,
    stages: tuple[str, ...],
    to: Target,
    generation: int | None,
    *,
    all_stages: bool,
    accept_loss: bool,
    dry_run: bool,
) -> None:
    """Take a file back to an earlier step; the rows behind it go with it.

    Behind it are the later bytes of its generation, and all later generations. The
    next run reads them again and replaces the rows. Several stages go together, in
    one transaction. A run that is under way on the file is fenced off.

    Rows whose telemetry is gone or replaced could not be learned again: then nothing
    is taken back, unless you give --accept-loss. Those bytes are counted as lost.
    """
    if generation is not None:
        if not isinstance(to, ToOffset):
            message = "--generation goes with an offset only"
            raise click.UsageError(message)
        to = ToOffset(to.offset, generation)
    settings = load_settings()
    with stored_so_far(settings) as store:
        if all_stages:
            found = store.checkpoints(keys=[file], with_kinds=False)
            stages = tuple(each.stage for each in found) or stages
        if isinstance(to, ToStep) and len(set(stages)) > 1:
            message = "each stage numbers its own steps: rewind them one by one"
            raise click.UsageError(message)
        rewind_one = partial(store.rewind_all, stages=stages, partition=file, to=to)
        planned = rewind_one(dry_run=True)
        lost = _unlearnable(settings, store, planned)
        if lost and not accept_loss and not dry_run:
            message = (
                f"{file} was not rewound, because rows could not be learned again: "
                f"{'; '.join(lost)}. Bring the files back, rewind less far, or give "
                "--accept-loss"
            )
            raise StoreError(message)
        if not dry_run:
            deleted = [
                each.generation
                for each in store.tombstones([file])
                if each.action == "delete"
            ]
            planned = rewind_one(known_deleted=deleted if lost else ())
    for each in planned:
        _say(each, dry_run=dry_run)
    _say_lost(file, lost)
    if not planned:
        click.echo(f"{file}: no stage has read beyond that")


@checkpoints.command()
@some_files
@click.option(
    "--stage",
    help="Of which stage, and of those that read what it commits. [default: all]",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def clear(
    files: tuple[str, ...], stage: str | None, *, yes: bool, dry_run: bool
) -> None:
    """Forget all that was learned from files, of all their generations.

    The next run reads every file of theirs that is still there. What came from a
    generation whose file is gone cannot be learned again; it is named.
    """
    settings = load_settings()
    with stored_so_far(settings) as store:
        chosen = [(file, _stages_of(store, file, stage)) for file in files]
        for file, stages in chosen:
            planned = [
                store.clear(stage=each, partition=file, dry_run=True) for each in stages
            ]
            for each in planned:
                _say(each, dry_run=True)
            _say_lost(file, _unlearnable(settings, store, planned))
        if dry_run:
            return
        if not yes:
            if not sys.stdin.isatty():
                message = "clearing asks first; in a script, give --yes"
                raise ConfigurationError(message)
            click.confirm("Clear?", abort=True)
        for file, stages in chosen:
            for name in stages:
                _say(store.clear(stage=name, partition=file), dry_run=False)


def _stages_of(store: Store, file: str, stage: str | None) -> list[str]:
    """The stages to clear of a file: what is derived first, else it would be twice."""
    if stage is not None:
        return [stage]
    begun = [each.stage for each in store.checkpoints(keys=[file], with_kinds=False)]
    derived = [each for each in reversed(UPSTREAM_OF) if each in begun]
    return [*derived, *(each for each in begun if each not in derived)] or [
        PATTERNS_STAGE
    ]


def _say(rewound: Rewound, *, dry_run: bool) -> None:
    goes, removed = ("would go", "would be") if dry_run else ("went", "were")
    click.echo(
        f"{rewound.partition}: {rewound.stage} {goes} from offset "
        f"{rewound.from_offset} of generation {rewound.from_generation} to "
        f"{rewound.to_offset} of generation {rewound.generation}; "
        f"{rewound.row_count} rows and {rewound.dead_letter_count} dead letters "
        f"{removed} removed"
    )
    for span in rewound.taken_back:
        click.echo(
            f"  generation {span.generation}: bytes "
            f"{span.start_offset}-{span.end_offset}"
        )


def _say_lost(file: str, lost: Sequence[str]) -> None:
    for why in lost:
        click.echo(f"{file}: cannot be learned again: {why}")


def _of(files: tuple[str, ...]) -> str:
    return f" for {', '.join(files)}" if files else ""


def _unlearnable(
    settings: Settings, store: Store, planned: Sequence[Rewound]
) -> list[str]:
    if not planned:
        return []
    partition = planned[0].partition
    found = unlearnable(
        planned,
        store.partition_states([partition])[partition],
        store.tombstones([partition]),
        telemetry_root=settings.telemetry_dir,
        listings=Listings(settings.telemetry_dir, telemetry_matcher(settings.patterns)),
        known_keys=store.known_partitions,
    )
    return [
        f"generation {each.generation} of {each.stage}: {each.why}" for each in found
    ]


def _as_json(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "partition": checkpoint.partition,
        "generation": checkpoint.generation,
        "offset": checkpoint.offset,
        "synced_offset": checkpoint.synced_offset,
        "step": checkpoint.sequence,
        "counters": checkpoint.counters,
        "run_id": checkpoint.run_id,
        "updated_at": checkpoint.updated_at,
    }


def _step_as_json(step: HistoryStep) -> dict[str, Any]:
    fields = msgspec.structs.asdict(step)
    return {"step": fields.pop("sequence"), **fields}
