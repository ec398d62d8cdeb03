"""Very many telemetry files, and a state database that knows them, made quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from learning_pipeline.model import FileStatus
from learning_pipeline.store import Store, schema

STAGE = "interaction_patterns"
FILES_PER_FOLDER = 1_000
LINE = b'{"event": "tick"}\n'
_AT = "2026-01-01T00:00:00.000000+00:00"


def write_fleet(root: Path, count: int) -> None:
    """Write so many files of one line."""
    for number in range(count):
        folder = root / f"{number // FILES_PER_FOLDER:03}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"agent-{number:06}.jsonl").write_bytes(LINE)


def store_as_read(url: str, files: Sequence[FileStatus]) -> None:
    """Let the state database say that each file was read to its end, by one commit.

    Row by row through real runs 50,000 files would take half an hour.
    """
    Store(url).close()
    numbered = list(enumerate(files, 1))
    content: dict[sa.Table, list[dict[str, Any]]] = {
        schema.partitions: [
            {"id": number, "partition_key": file.partition} for number, file in numbered
        ],
        schema.generations: [
            {
                "partition_id": number,
                "generation": 0,
                "prefix_length_bytes": 1,
                "prefix_digest": b"\0" * 16,
                "began_because": "first_seen",
                "began_at": _AT,
            }
            for number, _ in numbered
        ],
        schema.checkpoints: [
            {
                "stage": STAGE,
                "partition_id": number,
                "generation": 0,
                "offset": file.size_bytes,
                "counters": '{"record_count":1,"event_count":1,"ignored_count":1}',
                "sequence": 2,
                "size_bytes": file.size_bytes,
                "seen_signature": file.signature,
                "synced_offset": file.size_bytes,
                "fence": 1,
                "run_id": f"run-{number // 250}",
                "updated_at": _AT,
            }
            for number, file in numbered
        ],
        schema.checkpoint_history: [
            {
                "stage": STAGE,
                "partition_id": number,
                "sequence": 2,
                "generation": 0,
                "start_offset": 0,
                "offset": file.size_bytes,
                "counters": '{"event_count":1}',
                "is_generation_start": False,
                "run_id": f"run-{number // 250}",
                "committed_at": _AT,
            }
            for number, file in numbered
        ],
        schema.event_counts: [
            {
                "stage": STAGE,
                "partition_id": number,
                "kind": "tick",
                "event_count": 1,
            }
            for number, _ in numbered
        ],
    }
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for table, rows in content.items():
            connection.execute(table.insert(), rows)
