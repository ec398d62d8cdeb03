"""The tables of the state database; the migrations create exactly these."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from learning_pipeline.errors import StageTableError

metadata = sa.MetaData()

VERSION_TABLE = "learning_pipeline_version"
"""Alembic's own default is also Dagster's, which may share a Postgres database."""

# SQLite gives INTEGER PRIMARY KEY a rowid alias; BIGINT would lose that.
_identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _fingerprint_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("prefix_length_bytes", sa.Integer),
        sa.Column("prefix_digest", sa.LargeBinary),
        sa.Column("guard_length_bytes", sa.Integer),
        sa.Column("guard_digest", sa.LargeBinary),
    )


def _row_key_columns() -> tuple[sa.Column[int], ...]:
    return (
        sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    )


ROW_KEY = ("partition_id", "generation", "offset", "ordinal")
"""First columns of every stage table: where in which file a row comes from."""

partitions = sa.Table(
    "partitions",
    metadata,
    sa.Column("id", _identity, primary_key=True),
    sa.Column("partition_key", sa.Text, nullable=False, unique=True),
)
"""One row per telemetry file ever seen."""

stages = sa.Table(
    "stages",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("upstream", sa.Text),
)
"""One row per stage: the table that its rows go to, empty if it has none, and the
stage whose rows it reads; none if it reads telemetry."""

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("prefix_length_bytes", sa.Integer, nullable=False),
    sa.Column("prefix_digest", sa.LargeBinary, nullable=False),
    sa.Column("began_because", sa.Text, nullable=False),
    sa.Column("began_at", sa.Text, nullable=False),
    sa.Column("landmarks", sa.LargeBinary),
    sqlite_with_rowid=False,
)
"""One row per physical file behind a partition, shared by all stages."""

generation_positions = sa.Table(
    "generation_positions",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    *_fingerprint_columns(),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("synced_offset", sa.BigInteger, nullable=False),
    sa.Column("lost_bytes", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Where a stage stood in the generations that it has left, or whose file is gone."""

sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("file_key", sa.Text, primary_key=True),
    sa.Column("inode", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("noted_at_ns", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("content_bytes", sa.BigInteger, nullable=False),
    sa.Column("end_digest", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Which generation a physical file was found to be; saves reading it to know again."""

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("file_key", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("start_offset", sa.BigInteger, nullable=False),
    sa.Column("end_offset", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("retired_at", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""One row per generation whose file `retain` compressed or deleted."""

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    *_fingerprint_columns(),
    sa.Column("counters", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("seen_signature", sa.Text),
    sa.Column("synced_offset", sa.BigInteger, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("replayed_by", sa.Text),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
    sa.Index("checkpoints_by_run", "run_id"),
    sqlite_with_rowid=False,
)
"""One row per stage and partition: THE checkpoint."""

checkpoint_history = sa.Table(
    "checkpoint_history",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("start_offset", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    *_fingerprint_columns(),
    sa.Column("counters", sa.Text, nullable=False),
    sa.Column("is_generation_start", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("committed_at", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""The last commits of each stage and partition, and where each generation began."""

event_counts = sa.Table(
    "event_counts",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("event_count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""One row per stage, partition and kind of event."""

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("partition_id", _identity, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("start_offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("end_offset", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("rejected_at", sa.Text, nullable=False),
    sa.Column("kind", sa.Text),
)
"""One row per record that a stage could not process."""

patterns = sa.Table(
    "patterns",
    metadata,
    *_row_key_columns(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("response", sa.Text, nullable=False),
    sa.Column("iterations", sa.BigInteger, nullable=False),
    sa.Column("backend", sa.Text),
    sa.Column("context", sa.Text),
    sa.Column("success_metrics", sa.Text, nullable=False),
    sa.Column("event_timestamp", sa.Text),
    sa.Column("quality", sa.Boolean, nullable=False),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
)
"""One row per pattern; no index on the hash: on the hot path it costs two thirds."""

finetuning_examples = sa.Table(
    "finetuning_examples",
    metadata,
    *_row_key_columns(),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
    sa.Column("is_duplicate", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""One row per quality pattern: an example, or a duplicate of one."""

sa.Index(
    "one_example_per_content",
    finetuning_examples.c.content_hash,
    unique=True,
    sqlite_where=sa.not_(finetuning_examples.c.is_duplicate),
    postgresql_where=sa.not_(finetuning_examples.c.is_duplicate),
)
sa.Index(
    "duplicate_examples",
    finetuning_examples.c.content_hash,
    sqlite_where=finetuning_examples.c.is_duplicate,
    postgresql_where=finetuning_examples.c.is_duplicate,
)

index_changes = sa.Table(
    "index_changes",
    metadata,
    sa.Column("id", _identity, primary_key=True),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""Examples that came, went or moved behind the index's back: to be looked at again."""

index_identity = sa.Table(
    "index_identity",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("index_id", sa.Text, nullable=False),
    sa.Column("vectors", sa.Text, nullable=False),
    sa.Column("built_at", sa.Text, nullable=False),
)
"""At most one row: the index that the checkpoints of `pattern_index` speak of."""

measurements = sa.Table(
    "measurements",
    metadata,
    *_row_key_columns(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("backend", sa.Text),
    sa.Column("task_type", sa.Text),
    sa.Column("event_timestamp", sa.Text),
    sa.Column("success", sa.Boolean),
    sa.Column("iterations", sa.BigInteger),
    sa.Column("latency_ms", sa.Float),
    sa.Column("resolution_seconds", sa.Float),
    sa.Column("tokens_in", sa.BigInteger),
    sa.Column("tokens_out", sa.BigInteger),
)
"""One row per event of which something was measured: what metrics are made of."""

signals = sa.Table(
    "signals",
    metadata,
    *_row_key_columns(),
    sa.Column("signal", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("observed", sa.Float),
    sa.Column("threshold", sa.Float),
    sa.Column("event_timestamp", sa.Text),
)
"""One row per sign in an event that something could be tuned."""

proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("proposal_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("decided_at", sa.Text),
    sa.Column("posted_to", sa.Text),
    sa.Column("posted_at", sa.Text),
)
"""What became of a proposal, for ever; what it says is made of the signals."""

custom_metrics = sa.Table(
    "custom_metrics",
    metadata,
    sa.Column("metric_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Text, nullable=False),
    sa.Index("custom_metrics_by_name", "name", "recorded_at"),
)
"""One row per value that a user recorded; the id makes recording it again harmless."""

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("failure_count", sa.Integer, nullable=False),
    sa.Column("success_count", sa.Integer, nullable=False),
    sa.Column("opened_at", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("updated_at", sa.Text, nullable=False),
)
"""One row per dependency: the state of its circuit breaker, shared by processes."""

_TABLE_NAME = re.compile(r"(?!sqlite_)[a-z][a-z0-9_]{0,55}")

_TAKEN = frozenset(
    {
        VERSION_TABLE,
        *metadata.tables,
        *(index.name for table in metadata.tables.values() for index in table.indexes),
    }
)


def stage_table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """Declare the table of a stage of your own: one row per thing found in an event.

    The columns `partition_id`, `generation`, `offset` and `ordinal` are added in
    front and are the primary key: they lead every row back to its line.

    Args:
        name: Table name, lower case letters, digits and underscores.
        columns: The payload; types that both SQLite and Postgres know.

    Raises:
        StageTableError: The name is taken by learning_pipeline or not allowed, or a
            column is one of the key's, there twice, or to be a key itself.
    """
    if not _TABLE_NAME.fullmatch(name) or name in _TAKEN:
        message = (
            f"{name!r} cannot be a stage's table: take another name, of lower case "
            "letters, digits and underscores"
        )
        raise StageTableError(message)
    names = [column.name.lower() for column in columns]
    if not names or set(names) & set(ROW_KEY) or len(set(names)) < len(names):
        message = (
            f"table {name!r} needs columns of its own, each once, none named {ROW_KEY}"
        )
        raise StageTableError(message)
    if any(column.primary_key for column in columns):
        message = f"table {name!r} cannot add to the primary key, which is {ROW_KEY}"
        raise StageTableError(message)
    return sa.Table(name, sa.MetaData(), *_row_key_columns(), *columns)
