"""The columns of data frames: their names, their types, and rows made into them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.store.chunks import Chunk

WHOLE_ROWS: Final = 10_000
"""Rows fetched at once where a whole frame is asked for."""

MOMENT: Final = "datetime64[us, UTC]"
HEX: Final = "hex"

_KEY: Final = {
    "partition": "string",
    "generation": "int64",
    "offset": "int64",
    "ordinal": "int64",
}

PATTERN_COLUMNS: Final = {
    **_KEY,
    "kind": "string",
    "prompt": "string",
    "response": "string",
    "iterations": "int64",
    "backend": "string",
    "context": "string",
    "success_metrics": "string",
    "event_timestamp": MOMENT,
    "quality": "bool",
    "content_hash": HEX,
}
"""Columns of patterns and examples, and their types; the hash as hexadecimal text."""

MEASUREMENT_COLUMNS: Final = {
    **_KEY,
    "kind": "string",
    "backend": "string",
    "task_type": "string",
    "event_timestamp": MOMENT,
    "success": "boolean",
    "iterations": "Int64",
    "latency_ms": "Float64",
    "resolution_seconds": "Float64",
    "tokens_in": "Int64",
    "tokens_out": "Int64",
}

CUSTOM_METRIC_COLUMNS: Final = {
    "metric_id": "string",
    "name": "string",
    "value": "float64",
    "labels": "string",
    "recorded_at": MOMENT,
}
"""Columns of custom metrics; the labels as JSON text of an object."""


def chosen_columns(
    known: Mapping[str, Any], columns: Sequence[str] | None
) -> Mapping[str, Any]:
    """Return the columns that were asked for, with their types; None: all.

    Raises:
        ConfigurationError: One is unknown.
    """
    if columns is None:
        return known
    unknown = [name for name in columns if name not in known]
    if isinstance(columns, str) or unknown or not columns:
        message = f"columns are a list of some of {', '.join(known)}"
        raise ConfigurationError(message)
    return {name: known[name] for name in columns}


def frames_of(
    columns: Mapping[str, Any],
    chunks: Callable[[int], Generator[Chunk, None, None]],
    chunk_rows: int | None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Return rows as one frame, or as frames of at most `chunk_rows` each.

    Args:
        columns: Their names and types, in the order of the rows' values.
        chunks: Begins to read; takes how many rows to fetch at once.
        chunk_rows: None: one frame of all.

    Raises:
        ConfigurationError: `chunk_rows` is no number of rows.
    """
    if chunk_rows is None:
        frames = [_frame(columns, chunk) for chunk in chunks(WHOLE_ROWS)]
        return pd.concat(frames, ignore_index=True) if frames else _frame(columns, [])
    if isinstance(chunk_rows, bool) or chunk_rows < 1:
        message = "chunk_rows is how many rows a frame has at most, from 1"
        raise ConfigurationError(message)
    return _iterate(columns, chunks(chunk_rows))


def _iterate(
    columns: Mapping[str, Any], chunks: Generator[Chunk, None, None]
) -> Generator[pd.DataFrame, None, None]:
    with contextlib.closing(chunks):
        for chunk in chunks:
            yield _frame(columns, chunk)


def _frame(columns: Mapping[str, Any], chunk: Chunk) -> pd.DataFrame:
    values = zip(*chunk, strict=True) if chunk else [()] * len(columns)
    return pd.DataFrame(
        {
            name: _column(dtype, list(column))
            for (name, dtype), column in zip(columns.items(), values, strict=True)
        }
    )


def _column(dtype: Any, values: list[Any]) -> Any:
    if dtype == MOMENT:
        # Not by `to_datetime`: it knows only the years 1678 to 2262.
        moments = [value[:-1] if value else "NaT" for value in values]
        array = np.array(moments, dtype="datetime64[us]")
        return pd.Series(array).dt.tz_localize("UTC")
    if dtype == HEX:
        return pd.array([bytes(value).hex() for value in values], dtype="string")
    return pd.array(values, dtype=dtype)
