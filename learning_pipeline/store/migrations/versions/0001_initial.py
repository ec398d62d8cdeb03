"""Partitions, stages, generations, checkpoints, counts, dead letters, patterns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "checkpoint_history",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("start_offset", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("prefix_length_bytes", sa.Integer(), nullable=True),
        sa.Column("prefix_digest", sa.LargeBinary(), nullable=True),
        sa.Column("guard_length_bytes", sa.Integer(), nullable=True),
        sa.Column("guard_digest", sa.LargeBinary(), nullable=True),
        sa.Column("counters", sa.Text(), nullable=False),
        sa.Column("is_generation_start", sa.Boolean(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("committed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "partition_id", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "checkpoints",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("prefix_length_bytes", sa.Integer(), nullable=True),
        sa.Column("prefix_digest", sa.LargeBinary(), nullable=True),
        sa.Column("guard_length_bytes", sa.Integer(), nullable=True),
        sa.Column("guard_digest", sa.LargeBinary(), nullable=True),
        sa.Column("counters", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seen_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("seen_mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("synced_offset", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("replayed_by", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "partition_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("checkpoints_by_run", "checkpoints", ["run_id"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("rejected_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "partition_id", "generation", "start_offset"),
    )
    op.create_table(
        "event_counts",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "partition_id", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "generations",
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prefix_length_bytes", sa.Integer(), nullable=False),
        sa.Column("prefix_digest", sa.LargeBinary(), nullable=False),
        sa.Column("began_because", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "generation"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "partitions",
        sa.Column("id", _identity, nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("partition_key"),
    )
    op.create_table(
        "patterns",
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("iterations", sa.BigInteger(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=True),
        sa.Column("context", sa.Text(), nullable=True),
        sa.Column("success_metrics", sa.Text(), nullable=False),
        sa.Column("event_timestamp", sa.Text(), nullable=True),
        sa.Column("quality", sa.Boolean(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "generation", "offset", "ordinal"),
    )
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage"),
    )


def downgrade() -> None:
    """Refuse: there is no earlier version."""
    raise NotImplementedError
