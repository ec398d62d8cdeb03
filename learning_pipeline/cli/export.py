"""`export`: what was learned, for other programs."""

from __future__ import annotations

import click
import msgspec

from learning_pipeline.cli.output import STANDARD_OUTPUT, atomic_output
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.settings import load_settings


@click.group()
def export() -> None:
    """Write what was learned to a file or to standard output."""


@export.command("patterns")
@click.option(
    "--out",
    default=STANDARD_OUTPUT,
    show_default=True,
    metavar="FILE",
    help="Where to; `-` is standard output. A file appears when it is complete.",
)
def export_patterns(out: str) -> None:
    """One JSON object a line, ordered by partition, generation and offset.

    The same bytes of telemetry give the same lines, however often and in however
    many steps they were read.
    """
    encode = msgspec.json.Encoder().encode
    with stored_so_far(load_settings()) as store, atomic_output(out) as file:
        for pattern in store.iterate_patterns():
            file.write(encode(pattern) + b"\n")
