"""`dead-letters`: records that could not be processed."""

from __future__ import annotations

import click
import msgspec

from learning_pipeline.cli.keys import any_files
from learning_pipeline.cli.output import echo_table
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at the records that could not be processed."""


@dead_letters.command("list")
@any_files
@click.option("--stage", help="Only of this stage.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_dead_letters(
    files: tuple[str, ...], stage: str | None, *, as_json: bool
) -> None:
    """Where each record stands, why it was rejected; all files, or these.

    A FILE is a partition key, as `status` shows it.
    """
    encode = msgspec.json.Encoder().encode
    rows = []
    with stored_so_far(load_settings()) as store:
        letters = store.iterate_dead_letters(stage=stage, keys=files or None)
        for letter in letters:
            if as_json:
                click.echo(encode(letter).decode())
            else:
                rows.append(
                    [
                        letter["partition"],
                        str(letter["generation"]),
                        f"{letter['start_offset']}-{letter['end_offset']}",
                        letter["reason"],
                        letter["detail"],
                    ]
                )
    if as_json:
        return
    if not rows:
        click.echo("No dead letters.")
        return
    echo_table(["partition", "generation", "bytes", "reason", "detail"], rows)
