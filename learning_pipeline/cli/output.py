"""Writing for people and for scripts."""

from __future__ import annotations

import contextlib
import itertools
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.atomic_file import atomic_file

STANDARD_OUTPUT = "-"
MAX_RICH_ROWS = 1_000
"""More take minutes to be laid out, as tables of 50,000 files would."""


def echo_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def echo_json_list(values: Iterable[object]) -> None:
    """Print the same for a list, one value after the other, of however many."""
    is_first = True
    for value in values:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        click.echo("[" if is_first else ",")
        click.echo(textwrap.indent(text, "  "), nl=False)
        is_first = False
    click.echo("[]" if is_first else "\n]")


def echo_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; numbers, all but the first column, to the right.

    What would move a terminal's cursor is spelled out, as `printable` does; a line
    break too, as a row is a line.
    """
    if len(rows) > MAX_RICH_ROWS or not sys.stdout.isatty():
        _echo_plain_table(columns, rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    Console(markup=False, highlight=False, soft_wrap=True).print(table)


def echo_long_table(columns: list[str], rows: Iterable[list[str]]) -> int:
    """Print a table of however many rows, if there is one; gives how many there are.

    Cells are as in `echo_table`. What comes later may be wider than what stands above.
    """
    remaining = iter(rows)
    first = list(itertools.islice(remaining, MAX_RICH_ROWS))
    row_count = len(first)
    more = list(itertools.islice(remaining, MAX_RICH_ROWS))
    if first and not more:
        echo_table(columns, first)
    elif more:
        widths = _echo_plain_rows([columns, *first], [0] * len(columns))
    while more:
        row_count += len(more)
        widths = _echo_plain_rows(more, widths)
        more = list(itertools.islice(remaining, MAX_RICH_ROWS))
    return row_count


def _echo_plain_table(columns: list[str], rows: list[list[str]]) -> None:
    # A pipe has no width: nothing is folded that `grep` and `awk` are to read.
    _echo_plain_rows([columns, *rows], [0] * len(columns))


def _echo_plain_rows(cells: list[list[str]], least_widths: list[int]) -> list[int]:
    rows = [list(map(_cell, row)) for row in cells]
    widths = [
        max(least, *map(cell_len, column))
        for least, column in zip(least_widths, zip(*rows, strict=True), strict=True)
    ]
    text = "\n".join(
        "  ".join(
            cell + padding if index == 0 else padding + cell
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            for padding in (" " * (width - cell_len(cell)),)
        )
        for row in rows
    )
    click.echo(text)
    return widths


@contextlib.contextmanager
def atomic_output(out: str) -> Iterator[BinaryIO]:
    """A stream to standard output (`-`), or to a file that appears when it is whole.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    if out == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with atomic_file(Path(out)) as file:
            yield file
    except OSError as error:
        message = f"cannot write {out}: {error.strerror or error}"
        raise ConfigurationError(message) from error


def printable(text: str) -> str:
    """Without what would move a terminal's cursor, or turn or colour its text."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1]
        for each in text
    )


def _cell(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
