"""`rebuild`: a damaged state database goes aside, another takes its place."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from learning_pipeline.cli.backup import stamp
from learning_pipeline.cli.health import Level, database_checks
from learning_pipeline.cli.output import echo_table
from learning_pipeline.errors import ConfigurationError, StateDamagedError, StoreError
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.stages.account import FileAccount, accounts, summary
from learning_pipeline.store.backup import verify_backup
from learning_pipeline.store.opening import examine
from learning_pipeline.store.read_only import sqlite_path
from learning_pipeline.store.rebuilding import (
    fill_empty,
    fill_from,
    nobody_using,
    put_in_place,
)
from learning_pipeline.store.remains import Remains, read_remains
from learning_pipeline.telemetry import Listings, telemetry_matcher


@click.command()
@click.option(
    "--from-backup",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A copy that `backup` made; without it, an empty database.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of it.")
@click.option(
    "--even-if-healthy", is_flag=True, help="Also when nothing is wrong with it."
)
def rebuild(
    from_backup: Path | None, *, yes: bool, dry_run: bool, even_if_healthy: bool
) -> None:
    """Move a damaged state database aside, and put a backup or an empty one there.

    Nothing is deleted, and nothing is taken over from the damaged one: it could be
    wrong. `learning-pipeline process` then goes on from the backup's checkpoints, or
    learns again from the telemetry that still exists.
    """
    settings = load_settings()
    path = sqlite_path(settings.resolved_store_url)
    if path is None:
        message = (
            "the state database is Postgres: make an empty database, restore a dump "
            "into it with `pg_restore --dbname=…`, and point "
            "LEARNING_PIPELINE_STORE_URL there; without a dump, `process` fills the "
            "empty one from the telemetry that still exists. Afterwards run "
            "`learning-pipeline index rebuild`"
        )
        raise ConfigurationError(message)
    _require_something(path, from_backup)
    if not even_if_healthy:
        _require_damage(settings, path)
    with nobody_using(path):
        pass
    if from_backup is not None:
        verify_backup(from_backup.absolute())
    _give_account(settings, path, from_backup)
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            message = "rebuilding asks first; in a script, give --yes"
            raise ConfigurationError(message)
        click.confirm("Rebuild?", abort=True)
    fill = fill_empty if from_backup is None else fill_from(from_backup.absolute())
    folder = put_in_place(path, stamp(), fill)
    if folder is not None:
        click.echo(f"moved the damaged database to {folder}")
    origin = f"the backup {from_backup}" if from_backup else "empty"
    click.echo(f"{path} is {origin}; run `learning-pipeline process`")
    if settings.qdrant_url:
        click.echo(
            "The search index on the server was made for the other one: afterwards run "
            "`learning-pipeline index rebuild`"
        )


def _require_something(path: Path, from_backup: Path | None) -> None:
    log = path.with_name(path.name + "-wal")
    if from_backup is None and not path.exists() and not log.exists():
        message = f"{path} is not there; `learning-pipeline process` makes a new one"
        raise ConfigurationError(message)


def _require_damage(settings: Settings, path: Path) -> None:
    if not path.exists():
        return
    try:
        # One that is locked, not permitted or of a newer version is not damaged.
        examine(path, whole=True)
    except StateDamagedError:
        return
    if all(check.level is not Level.PROBLEM for check in database_checks(settings)):
        message = (
            f"nothing is wrong with {path}, and it was left alone; to rebuild it all "
            "the same, give --even-if-healthy"
        )
        raise ConfigurationError(message)


def _give_account(settings: Settings, path: Path, from_backup: Path | None) -> None:
    if not path.exists():
        return
    try:
        remains = read_remains(path)
    except StoreError as error:
        click.echo(f"What it held cannot be said: {error}")
        return
    kept = (
        read_remains(from_backup, immutable=True)
        if from_backup
        else Remains([], {}, [])
    )
    listings = Listings(settings.telemetry_dir, telemetry_matcher(settings.patterns))
    found = list(accounts(settings.telemetry_dir, listings, remains, kept.row_counts))
    if found:
        echo_table(
            ["partition", "generation", "stage", "rows", "in backup", "telemetry"],
            [_row(each) for each in found],
        )
    for line in summary(found, remains, kept):
        click.echo(line)


def _row(each: FileAccount) -> list[str]:
    there = {True: "there", False: f"gone: {each.detail}", None: f"? {each.detail}"}
    return [
        each.partition,
        str(each.generation),
        each.stage,
        str(each.row_count),
        str(each.kept_count),
        there[each.is_there],
    ]
