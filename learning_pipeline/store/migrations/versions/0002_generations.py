"""Positions in earlier generations, landmarks, sightings, tombstones."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_PASSED = 2**62
"""Beyond every file: earlier versions did not keep where they left a generation."""


def _fingerprint_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("prefix_length_bytes", sa.Integer(), nullable=True),
        sa.Column("prefix_digest", sa.LargeBinary(), nullable=True),
        sa.Column("guard_length_bytes", sa.Integer(), nullable=True),
        sa.Column("guard_digest", sa.LargeBinary(), nullable=True),
    )


def upgrade() -> None:
    """Add the tables; say of earlier generations what the history still knows."""
    op.add_column("generations", sa.Column("landmarks", sa.LargeBinary()))
    op.add_column("checkpoints", sa.Column("seen_signature", sa.Text()))
    op.drop_column("checkpoints", "seen_size_bytes")
    op.drop_column("checkpoints", "seen_mtime_ns")
    op.add_column("dead_letters", sa.Column("kind", sa.Text()))
    op.create_table(
        "generation_positions",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        *_fingerprint_columns(),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("synced_offset", sa.BigInteger(), nullable=False),
        sa.Column("lost_bytes", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "partition_id", "generation"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sightings",
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("file_key", sa.Text(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("noted_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("content_bytes", sa.BigInteger(), nullable=False),
        sa.Column("end_digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "file_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tombstones",
        sa.Column("partition_id", _identity, autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("file_key", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("start_offset", sa.BigInteger(), nullable=False),
        sa.Column("end_offset", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "generation"),
        sqlite_with_rowid=False,
    )
    _fill_positions()


def _fill_positions() -> None:
    op.execute(
        """
        INSERT INTO generation_positions
        SELECT h.stage, h.partition_id, h.generation, h."offset",
            h.prefix_length_bytes, h.prefix_digest, h.guard_length_bytes,
            h.guard_digest, h."offset", 0, 0, h.committed_at
        FROM checkpoint_history h
        JOIN checkpoints c
            ON c.stage = h.stage AND c.partition_id = h.partition_id
        WHERE h.generation < c.generation
            AND NOT h.is_generation_start
            AND h.sequence = (
                SELECT max(l.sequence) FROM checkpoint_history l
                WHERE l.stage = h.stage AND l.partition_id = h.partition_id
                    AND l.generation = h.generation
            )
        """
    )
    op.execute(
        sa.text(
            """
            INSERT INTO generation_positions
            SELECT c.stage, c.partition_id, g.generation, :passed,
                NULL, NULL, NULL, NULL, :passed, 0, 0, c.updated_at
            FROM checkpoints c
            JOIN generations g ON g.partition_id = c.partition_id
            WHERE g.generation < c.generation AND NOT EXISTS (
                SELECT 1 FROM generation_positions p
                WHERE p.stage = c.stage AND p.partition_id = c.partition_id
                    AND p.generation = g.generation
            )
            """
        ).bindparams(sa.bindparam("passed", _PASSED, sa.BigInteger()))
    )


def downgrade() -> None:
    """Refuse: what it knows would be lost."""
    raise NotImplementedError
