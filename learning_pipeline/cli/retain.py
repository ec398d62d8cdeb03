"""`retain`: compress or delete rotated files that every stage has passed."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import click

from learning_pipeline import logs
from learning_pipeline.cli.keys import any_files
from learning_pipeline.cli.output import echo_json, echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.retention import (
    Action,
    Decision,
    Retention,
    RetentionPolicy,
)

FAILED = 1


@click.command()
@any_files
@click.option(
    "--older-than",
    "older_than_days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Only files not written to for so long; else as RETAIN_AFTER_DAYS says.",
)
@click.option(
    "--action",
    type=click.Choice(get_args(Action)),
    help="What becomes of them; else as RETAIN_ACTION says.",
)
@click.option("--execute", is_flag=True, help="Do it. Else it is only said.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def retain(
    files: tuple[str, ...],
    older_than_days: float | None,
    action: Action | None,
    *,
    execute: bool,
    as_json: bool,
) -> int:
    """Compress or delete rotated files that every stage has passed.

    Of all partitions, or of these. Nothing changes without --execute. A file goes
    only when its content is that of a known generation, every stage has committed all
    of it to stable storage and stands in a later one. A record of its size, range and
    digest remains. Active files are never touched.
    """
    settings = load_settings()
    policy = RetentionPolicy(
        action=action or settings.retain_action,
        older_than_days=(
            settings.retain_after_days if older_than_days is None else older_than_days
        ),
        execute=execute,
    )
    with stored_so_far(settings) as store:
        decisions = list(
            Retention(
                store,
                telemetry_root=settings.telemetry_dir,
                patterns=settings.patterns,
                policy=policy,
                log=logs.get_logger(),
            ).run(files)
        )
    if as_json:
        echo_json(
            {
                "executed": execute,
                "action": policy.action,
                "older_than_days": policy.older_than_days,
                "files": decisions,
            }
        )
    else:
        _show(decisions, policy)
    return FAILED if any(each.outcome == "failed" for each in decisions) else 0


def _show(decisions: list[Decision], policy: RetentionPolicy) -> None:
    if not decisions:
        click.echo("No rotated files.")
        return
    echo_table(
        ["file", "generation", "size", "days old", "outcome", "why"],
        [
            [
                each.file,
                "" if each.generation is None else str(each.generation),
                str(each.size_bytes),
                f"{each.age_days:.1f}",
                each.outcome,
                each.reason,
            ]
            for each in decisions
        ],
    )
    counts = Counter(each.outcome for each in decisions)
    freed_bytes = sum(each.freed_bytes for each in decisions)
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    freed = f"; {freed_bytes} bytes freed" if policy.execute else ""
    click.echo(f"{said}{freed}.")
    if not policy.execute and set(counts) & {"to compress", "to delete"}:
        click.echo("Nothing was changed; --execute does it.")
