"""What was learned, as data frames: for notebooks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from typing import Self, TypedDict, Unpack, overload

import pandas as pd

from learning_pipeline.errors import ConfigurationError, StoreUnavailableError
from learning_pipeline.learning.frames.columns import (
    CUSTOM_METRIC_COLUMNS,
    MEASUREMENT_COLUMNS,
    PATTERN_COLUMNS,
    chosen_columns,
    frames_of,
)
from learning_pipeline.learning.metrics.aggregation import (
    DEFAULT_GROUPS,
    aggregate,
    select,
)
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.store.chunks import (
    Chunk,
    custom_metric_chunks,
    example_chunks,
    measurement_chunks,
    pattern_chunks,
)
from learning_pipeline.store.read_only import is_store_url, sqlite_path


class Filters(TypedDict, total=False):
    """Which events; as `learning.metrics.aggregation.select` takes it."""

    partitions: Sequence[str] | None
    kinds: Sequence[str] | None
    backends: Sequence[str] | None
    since: datetime | str | None
    until: datetime | str | None


class TelemetryFrame:
    """What was learned of telemetry, as pandas data frames.

        frame = TelemetryFrame()
        frame.metrics(by=["kind"], since="2026-05-28")
        for chunk in frame.patterns(columns=["prompt", "kind"], chunk_rows=10_000):
            ...

    Each of `patterns`, `examples`, `measurements` and `custom_metrics` gives one frame,
    or, with `chunk_rows`, an iterator of frames of at most so many rows.

    Guarantees: each call reads one snapshot; column types are the same for every
    result, an empty one too; moments are UTC. With `chunk_rows` memory is that of one
    chunk. An iterator holds its snapshot until it is exhausted or closed. Nothing is
    created or changed, apart from the migration of an older database.
    """

    def __init__(self, store_url: str | None = None) -> None:
        """Open the state database.

        Args:
            store_url: SQLAlchemy URL; None: that of the settings.

        Raises:
            ConfigurationError: `store_url` is no URL of such a database.
            StoreUnavailableError: There is none yet.
            StoreError: It cannot be used.
        """
        url = _checked(store_url) or load_settings().resolved_store_url
        path = sqlite_path(url)
        if path is not None and not path.exists():
            message = (
                f"there is no state database at {path}: process some telemetry, or "
                "set LEARNING_PIPELINE_STATE_DIR or store_url to where it is"
            )
            raise StoreUnavailableError(message, cause="no such file")
        self._store = Store(url)

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @overload
    def patterns(
        self,
        *,
        columns: Sequence[str] | None = None,
        quality: bool | None = None,
        chunk_rows: None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame: ...

    @overload
    def patterns(
        self,
        *,
        columns: Sequence[str] | None = None,
        quality: bool | None = None,
        chunk_rows: int,
        **filters: Unpack[Filters],
    ) -> Iterator[pd.DataFrame]: ...

    def patterns(
        self,
        *,
        columns: Sequence[str] | None = None,
        quality: bool | None = None,
        chunk_rows: int | None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """One row per pattern, by partition, generation, offset and ordinal.

        Args:
            columns: Some of `PATTERN_COLUMNS`; None: all. Fewer is faster.
            quality: Only those of quality, or only the others.
            chunk_rows: Rows of one frame at most; None: all in one.
            **filters: `partitions`, `kinds`, `backends`, `since`, `until`.

        Raises:
            ConfigurationError: A column or a filter is wrong.
        """
        chosen = chosen_columns(PATTERN_COLUMNS, columns)
        where = select(**filters)

        def chunks(rows: int) -> Generator[Chunk, None, None]:
            return pattern_chunks(
                self._store, list(chosen), where, chunk_rows=rows, quality=quality
            )

        return frames_of(chosen, chunks, chunk_rows)

    @overload
    def examples(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame: ...

    @overload
    def examples(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: int,
        **filters: Unpack[Filters],
    ) -> Iterator[pd.DataFrame]: ...

    def examples(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: int | None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """One row per fine-tuning example, each content once; as `patterns`."""
        chosen = chosen_columns(PATTERN_COLUMNS, columns)
        where = select(**filters)

        def chunks(rows: int) -> Generator[Chunk, None, None]:
            return example_chunks(self._store, list(chosen), where, chunk_rows=rows)

        return frames_of(chosen, chunks, chunk_rows)

    @overload
    def measurements(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame: ...

    @overload
    def measurements(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: int,
        **filters: Unpack[Filters],
    ) -> Iterator[pd.DataFrame]: ...

    def measurements(
        self,
        *,
        columns: Sequence[str] | None = None,
        chunk_rows: int | None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """One row per measured event, of `MEASUREMENT_COLUMNS`; as `patterns`."""
        chosen = chosen_columns(MEASUREMENT_COLUMNS, columns)
        where = select(**filters)

        def chunks(rows: int) -> Generator[Chunk, None, None]:
            return measurement_chunks(self._store, list(chosen), where, chunk_rows=rows)

        return frames_of(chosen, chunks, chunk_rows)

    @overload
    def custom_metrics(
        self,
        *,
        names: Sequence[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        chunk_rows: None = None,
    ) -> pd.DataFrame: ...

    @overload
    def custom_metrics(
        self,
        *,
        names: Sequence[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        chunk_rows: int,
    ) -> Iterator[pd.DataFrame]: ...

    def custom_metrics(
        self,
        *,
        names: Sequence[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        chunk_rows: int | None = None,
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """One row per value that `record_metric` recorded, by time, name and id."""
        where = select(since=since, until=until)

        def chunks(rows: int) -> Generator[Chunk, None, None]:
            return custom_metric_chunks(
                self._store,
                list(CUSTOM_METRIC_COLUMNS),
                where,
                chunk_rows=rows,
                names=names,
            )

        return frames_of(CUSTOM_METRIC_COLUMNS, chunks, chunk_rows)

    def metrics(
        self, *, by: Sequence[str] = DEFAULT_GROUPS, **filters: Unpack[Filters]
    ) -> pd.DataFrame:
        """Metrics per group; see `learning.metrics.aggregation.aggregate`."""
        return aggregate(self._store, by=by, where=select(**filters))


def _checked(store_url: str | None) -> str | None:
    if not store_url:
        return None
    if not is_store_url(store_url):
        # Not shown: it may hold a password.
        message = (
            "store_url is no URL of a state database: give "
            "sqlite:////folder/state.db, postgresql+psycopg://user@host/database, or "
            "nothing for that of the settings"
        )
        raise ConfigurationError(message)
    return store_url
