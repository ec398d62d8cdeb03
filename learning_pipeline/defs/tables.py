"""Tables of Dagster's metadata, whose cells fit on a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import dagster as dg

from learning_pipeline.store.chunks import NONE_STATED

Cell = str | int | float | bool | None

TEXT: Final = "string"
INT: Final = "int"
FLOAT: Final = "float"

UNKNOWN: Final = ""
"""What a cell shows of which nothing is known: the UI writes `null` otherwise."""


def table(
    columns: Mapping[str, str], rows: Iterable[Sequence[Cell]]
) -> dg.TableMetadataValue:
    """Make a table, also of no rows.

    Args:
        columns: Their types by name, in order.
        rows: Cells in that order; None shows as nothing.
    """
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    name: UNKNOWN if cell is None else cell
                    for name, cell in zip(columns, row, strict=True)
                }
            )
            for row in rows
        ],
        schema=dg.TableSchema(
            [dg.TableColumn(name, kind) for name, kind in columns.items()]
        ),
    )


def rounded(value: float | None, digits: int) -> float | None:
    """A figure as it is read; None stays None."""
    return None if value is None else round(value, digits)


__all__ = ["FLOAT", "INT", "NONE_STATED", "TEXT", "Cell", "rounded", "table"]
