"""What can still be read of a damaged SQLite database: for an account, never reused."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.errors import StoreError
from learning_pipeline.model import Checkpoint, Counters
from learning_pipeline.store.codec import fingerprint_from_row
from learning_pipeline.store.read_only import open_read_only
from learning_pipeline.store.schema import patterns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RowCounts = dict[tuple[str, str, int], int]
"""Rows by stage, partition key and generation."""


GIVEN = {
    "proposals": "decisions on proposals",
    "custom_metrics": "recorded metrics",
}
"""Tables of what people gave, and what that is."""


class Remains(msgspec.Struct, frozen=True):
    """What a damaged database still says. Any of it may be wrong.

    Attributes:
        positions: Where each stage stood in each generation; counters are not read.
        row_counts: How many rows each stage had of each generation.
        unreadable: Tables that could not be read, or not to their ends.
        given_counts: Rows that people gave and no telemetry holds, by table.
    """

    positions: list[Checkpoint]
    row_counts: RowCounts
    unreadable: list[str]
    given_counts: dict[str, int] = {}


def read_remains(path: Path, *, immutable: bool = False) -> Remains:
    """Read a damaged database table by table, past errors; it is not changed.

    Args:
        path: The database.
        immutable: See `open_read_only`.

    Raises:
        StoreError: The file cannot be opened at all.
    """
    try:
        connection = open_read_only(path, immutable=immutable)
    except sqlite3.Error as error:
        message = f"{path} cannot be opened: {error}"
        raise StoreError(message) from error
    with contextlib.closing(connection):
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return _Reader(connection).read()


class _Reader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unreadable: list[str] = []

    def read(self) -> Remains:
        keys = {
            row["id"]: row["partition_key"]
            for row in self._rows("partitions", "id, partition_key")
        }
        positions = []
        for table in ("checkpoints", "generation_positions"):
            for row in self._rows(table, "*"):
                position = _position(row, keys)
                if position is None:
                    self._note(table)
                else:
                    positions.append(position)
        # What is derived of others' rows is made again with them.
        tables = {
            row["stage"]: row["table_name"]
            for row in self._rows("stages", "*")
            if row.get("upstream") is None
        }
        if not tables:
            tables = {"interaction_patterns": patterns.name}
        counts: RowCounts = {}
        for stage, table in tables.items():
            # In the table's own order: an index may be what is damaged.
            for row in self._rows(
                str(table), "partition_id, generation", "NOT INDEXED"
            ):
                at = (
                    str(stage),
                    keys.get(row["partition_id"], f"partition {row['partition_id']}"),
                    row["generation"],
                )
                counts[at] = counts.get(at, 0) + 1
        given = {table: sum(1 for _ in self._rows(table, "*")) for table in GIVEN}
        return Remains(positions, counts, self._unreadable, given)

    def _rows(
        self, table: str, columns: str, how: str = ""
    ) -> Iterator[dict[str, Any]]:
        quoted = table.replace('"', '""')
        query = f'SELECT {columns} FROM "{quoted}" {how}'  # noqa: S608 - a quoted name
        try:
            cursor = self._connection.execute(query)
            names = [column[0] for column in cursor.description]
            for values in cursor:
                yield dict(zip(names, values, strict=True))
        except (sqlite3.Error, UnicodeError) as error:
            # An earlier version has not had all of them.
            if table not in GIVEN or "no such table" not in str(error):
                self._note(table)

    def _note(self, table: str) -> None:
        if table not in self._unreadable:
            self._unreadable.append(table)


def _position(row: Mapping[str, Any], keys: Mapping[Any, Any]) -> Checkpoint | None:
    try:
        return Checkpoint(
            stage=str(row["stage"]),
            partition=str(keys[row["partition_id"]]),
            generation=int(row["generation"]),
            offset=int(row["offset"]),
            fingerprint=fingerprint_from_row(row),
            counters=Counters(),
        )
    except (KeyError, TypeError, ValueError):
        return None
