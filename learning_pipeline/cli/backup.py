"""`backup`: a copy of the state database, while it is in use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import load_settings
from learning_pipeline.store.backup import pg_dump_command, write_backup
from learning_pipeline.store.read_only import sqlite_path

STAMP = "%Y%m%dT%H%M%SZ"


def stamp() -> str:
    """The time in UTC, as part of a file's name."""
    return datetime.now(UTC).strftime(STAMP)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The copy; without it, one in `backups` beside the database.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def backup(out: Path | None, *, force: bool) -> None:
    """Copy the state database, verified, while runs may go on writing to it.

    Of Postgres it only says the `pg_dump` command to run.
    """
    settings = load_settings()
    path = sqlite_path(settings.resolved_store_url)
    if path is None:
        name = str(out or f"state-{stamp()}.dump")
        command = pg_dump_command(settings.resolved_store_url, name)
        message = f"the state database is Postgres; back it up with `{command}`"
        raise ConfigurationError(message)
    if not path.exists():
        message = f"{path} is not there: nothing was learned yet, or it was moved"
        raise ConfigurationError(message)
    target = out or path.parent / "backups" / f"state-{stamp()}.db"
    made = write_backup(path, target.absolute(), replace=force)
    row_count = sum(made.row_counts.values())
    click.echo(
        f"{made.path}: {made.size_bytes} bytes, {row_count} rows in "
        f"{len(made.row_counts)} tables, verified"
    )
