"""`process`: one pass over the files, through Dagster, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from learning_pipeline.cli.home import dagster_instance
from learning_pipeline.cli.keys import any_files
from learning_pipeline.cli.progress import ProgressDisplay
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.names import stages_to_learn
from learning_pipeline.store import Store, free_space_guard
from learning_pipeline.telemetry import Discovery, discover

if TYPE_CHECKING:
    import dagster as dg

EXIT_FAILED = 1
MAX_ALIKE_SHOWN = 10
"""Of files that failed for the same reason; of the others only their number."""


@click.command()
@any_files
def process(files: tuple[str, ...]) -> int:
    """Process all telemetry files up to their ends, or only these.

    A FILE is a partition key: the path relative to the telemetry root, with unusual
    characters percent-encoded, as `status` shows it. Each file goes on from the byte
    where its last commit stood; files without anything new are passed over.

    Exit code 0: all succeeded. 1: a file failed. 2: bad usage.
    """
    settings = load_settings()
    return process_files(settings, files)


def process_files(settings: Settings, files: Sequence[str]) -> int:
    """Process `files`, or all, with a progress bar each; gives the exit code."""
    # Before anything is written: Dagster's own history needs space too.
    free_space_guard(settings)()
    with stored_so_far(settings) as store:
        discovery = discover(
            settings.telemetry_dir, settings.patterns, store.known_partitions()
        )
    for problem in discovery.problems:
        click.echo(f"left out: {problem.path}: {problem.detail}", err=True)
    if not files and not discovery.files:
        click.echo(
            f"No telemetry files below {settings.telemetry_dir} match "
            f"{settings.telemetry_patterns}. Put some there, or see "
            "`learning-pipeline demo`."
        )
        return 0
    # Dagster takes seconds to import; wrong usage should not wait for it.
    from learning_pipeline.cli.runs import RunOutcome, execute_runs  # noqa: PLC0415

    with dagster_instance(settings) as instance:
        wanted = _wanted(settings, instance, discovery, files)
        if not wanted:
            click.echo(f"{len(discovery.files)} files, nothing new.")
            return 0
        with ProgressDisplay() as display:
            outcome: RunOutcome = execute_runs(settings, instance, wanted, display)
    for name, warning in outcome.warnings.items():
        click.echo(f"Warning: {name}: {warning}", err=True)
    _say_failures(outcome.failures)
    click.echo(
        f"{len(wanted) - len(outcome.failures)} files processed, "
        f"{len(outcome.failures)} failed: {display.event_count} events, "
        f"{display.row_count} patterns, {display.dead_letter_count} dead letters."
    )
    return EXIT_FAILED if outcome.failures else 0


def _say_failures(failures: Mapping[str, str]) -> None:
    by_reason: dict[str, list[str]] = {}
    for partition, error in sorted(failures.items()):
        by_reason.setdefault(error, []).append(partition)
    for error, partitions in by_reason.items():
        for partition in partitions[:MAX_ALIKE_SHOWN]:
            click.echo(f"Error: {partition}: {error}", err=True)
        more = len(partitions) - MAX_ALIKE_SHOWN
        if more > 0:
            click.echo(f"Error: and {more} more files for the same reason", err=True)


def _wanted(
    settings: Settings,
    instance: dg.DagsterInstance,
    discovery: Discovery,
    files: Sequence[str],
) -> dict[str, int]:
    """The files to process, most lag first, with about how much there is to read."""
    from learning_pipeline.defs.partitions import known_keys  # noqa: PLC0415
    from learning_pipeline.defs.planning import files_to_learn  # noqa: PLC0415

    with Store(settings.resolved_store_url) as store:
        unread = {
            found.partition: found.lag_bytes
            for found in files_to_learn(
                discovery.files, store, stages_to_learn(settings)
            )
        }
    if not files:
        return unread
    # A file that was processed before and is gone now fails by itself, with its
    # reason; what nobody has ever seen is a mistyped name.
    there = {file.partition for file in discovery.files}
    unknown = sorted({*files} - there - {*known_keys(instance)})
    if unknown:
        message = (
            f"no telemetry file {', '.join(map(repr, unknown))} below "
            f"{settings.telemetry_dir} matches {settings.telemetry_patterns}; "
            "`learning-pipeline status` lists the files"
        )
        raise click.UsageError(message)
    lags = {key: unread.get(key, 0) for key in files}
    return dict(sorted(lags.items(), key=lambda item: -item[1]))
