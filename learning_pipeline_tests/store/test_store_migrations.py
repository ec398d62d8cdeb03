"""The migrations give exactly the schema; databases of earlier versions still load."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.pool import NullPool

from learning_pipeline.model import Counters, Fingerprint
from learning_pipeline.store import Store, index_feed
from learning_pipeline.store.behind import partitions_behind
from learning_pipeline.store.breakers import breaker_states
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import IndexIdentity, example_places
from learning_pipeline.store.schema import VERSION_TABLE, metadata
from learning_pipeline_tests.store.examples_of import derive_all, problems
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    contents,
    digest,
    open_session,
    process,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.usefixtures("store")
def test_the_migrations_create_exactly_the_declared_schema(store_url: str) -> None:
    """Alembic finds nothing to add, remove or change."""
    engine = sa.create_engine(store_url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_golden_files_hold_every_schema_version(sqlite_url: str) -> None:
    """A migration without one would not be shown to load what is in use."""
    Store(sqlite_url).close()
    [(current,)] = contents(sqlite_url)[VERSION_TABLE]
    assert {file.stem for file in GOLDEN.iterdir()} == {
        f"state_{number:04}" for number in range(1, int(current) + 1)
    }


def test_a_state_database_of_schema_0001_still_loads(tmp_path: Path) -> None:
    """Checkpoint, counts, history, rows and dead letters; and a run goes on."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "state_0001.sql").read_text("utf-8"))
    connection.close()
    with Store(f"sqlite:///{path}") as store:
        [checkpoint] = store.checkpoints()
        assert (checkpoint.stage, checkpoint.partition) == (STAGE, PARTITION)
        assert (checkpoint.generation, checkpoint.offset) == (0, 200)
        assert (checkpoint.sequence, checkpoint.run_id) == (3, "run-1")
        assert (checkpoint.synced_offset, checkpoint.seen_signature) == (200, None)
        assert checkpoint.fingerprint == Fingerprint(
            200, digest("prefix200"), 64, digest("guard200")
        )
        assert checkpoint.counters == Counters(
            record_count=20,
            event_count=18,
            row_count=8,
            quality_count=8,
            dead_letter_count=2,
            events_by_kind={"kind_0": 7, "kind_1": 7, "kind_2": 6},
            redactions_by_kind={"api_key": 2},
        )
        assert [step.end_offset for step in store.history()] == [0, 100, 200]
        offsets = [20, 40, 60, 80, 120, 140, 160, 180]
        rows = list(store.iterate_patterns())
        assert [row["offset"] for row in rows] == offsets
        assert rows[0]["prompt"] == "prompt of 20"
        assert rows[0]["content_hash"] == digest("20").hex()
        letters = list(store.iterate_dead_letters())
        assert [letter["start_offset"] for letter in letters] == [0, 100]
        process(store, 300)
        assert len(list(store.iterate_patterns())) == 12


def test_a_state_database_of_schema_0001_knows_where_it_left_a_generation(
    tmp_path: Path,
) -> None:
    """As far as its history tells; else the generation counts as read to its end."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "state_0001.sql").read_text("utf-8"))
    for number in (1, 2):
        connection.execute(
            "INSERT INTO generations VALUES (1, ?, 1, x'00', 'truncated', '')",
            (number,),
        )
    connection.execute("UPDATE checkpoints SET generation = 2")
    connection.commit()
    connection.close()
    with Store(f"sqlite:///{path}") as store:
        store.checkpoints()
    positions = contents(f"sqlite:///{path}")["generation_positions"]
    assert [(row[2], row[3]) for row in positions] == [(0, 200), (1, 2**62)]


def test_a_state_database_of_schema_0002_still_loads(tmp_path: Path) -> None:
    """Generations, where each was left, sightings and tombstones; and a run goes on."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "state_0002.sql").read_text("utf-8"))
    connection.close()
    with Store(f"sqlite:///{path}") as store:
        [checkpoint] = store.checkpoints()
        assert (checkpoint.generation, checkpoint.offset) == (1, 100)
        assert (checkpoint.seen_signature, checkpoint.synced_offset) == ("seen", 100)
        assert checkpoint.counters.lost_bytes == 800
        assert [letter["kind"] for letter in store.iterate_dead_letters()] == [
            "kind_0",
            None,
            None,
        ]
        with open_session(store) as session:
            claim = session.claim(PARTITION)
            first, second = session.known_generations(claim)
            [sighting] = session.sightings(claim)
        assert first.landmarks == bytes(range(16))
        assert first.position is not None
        assert (first.position.offset, first.position.synced_offset) == (200, 200)
        assert (first.position.size_bytes, first.position.lost_bytes) == (1000, 800)
        assert second.position is None
        assert (sighting.file_key, sighting.content_bytes) == ("a.jsonl.1", 1000)
        assert sighting.end_digest == digest("end")
        process(store, 300)
        assert len(list(store.iterate_patterns())) == 20


def test_a_state_database_of_schema_0003_still_loads(tmp_path: Path) -> None:
    """Examples, what waits for the index, its identity; and the stages go on."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "state_0003.sql").read_text("utf-8"))
    connection.close()
    url = f"sqlite:///{path}"
    with Store(url) as store:
        assert list(problems(store, url)) == []
        behind = partitions_behind(store, EXAMPLES_STAGE, STAGE)
        assert [each.partition for each in behind] == ["c.jsonl"]
        identity = index_feed.index_identity(store)
        assert identity == IndexIdentity("somewhere/index", "0123456789abcdef", "bm25")
        assert index_feed.count_changes(store) == 1
        indexed = {each.partition: each.is_due for each in example_places(store)}
        assert indexed == {PARTITION: False, "b.jsonl": True, "c.jsonl": False}
        [breaker] = breaker_states(store)
        assert (breaker.name, breaker.state, breaker.failure_count) == (
            *("qdrant", "open"),
            5,
        )
        derive_all(store, [PARTITION, "b.jsonl", "c.jsonl"])
        assert list(problems(store, url)) == []
        assert all(each.is_due for each in example_places(store))
    kept = contents(url)
    for table in ("measurements", "signals", "proposals", "custom_metrics"):
        assert len(kept[table]) == 1
