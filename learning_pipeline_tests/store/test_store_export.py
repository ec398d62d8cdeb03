"""What is read back: in order, streamed, from one snapshot, in bounded queries."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from learning_pipeline.model import BatchOutput, Counters
from learning_pipeline.store import Store
from learning_pipeline.store import queries as store_queries
from learning_pipeline.store.queries import KEYS_PER_QUERY
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    begin,
    commit_to,
    fingerprint_at,
    open_session,
    pattern_row,
    process,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = ("Z.jsonl", "a.jsonl", "b.jsonl", "é.jsonl", "日本.jsonl", "😀.jsonl")
"""In the order of their code points."""


def _fill(store: Store, row_count: int, *, text: str) -> None:
    with open_session(store) as session:
        claim = begin(session, session.claim(PARTITION))
        for start in range(0, row_count, 1000):
            session_rows = [
                pattern_row(10 * number, text=text)
                for number in range(start, start + 1000)
            ]
            end = 10 * (start + 1000)
            claim = session.commit(
                claim,
                BatchOutput(session_rows, [], Counters()),
                end_offset=end,
                fingerprint=fingerprint_at(end),
                size_bytes=end,
            )


def test_patterns_come_by_partition_generation_offset_and_ordinal(
    store: Store,
) -> None:
    """However they were committed, and whatever the database's locale."""
    with open_session(store) as session:
        for key in reversed(KEYS):
            claim = begin(session, session.claim(key))
            for generation in (1, 2):
                rows = [pattern_row(5, 1), pattern_row(5, 0), pattern_row(3)]
                claim = session.commit(
                    claim,
                    BatchOutput(rows, [], Counters()),
                    end_offset=10,
                    fingerprint=fingerprint_at(10),
                    size_bytes=10,
                )
                claim = begin(session, claim, generation=generation)
    found = [
        (row["partition"], row["generation"], row["offset"], row["ordinal"])
        for row in store.iterate_patterns()
    ]
    assert found == [
        (key, generation, offset, ordinal)
        for key in KEYS
        for generation in (0, 1)
        for offset, ordinal in ((3, 0), (5, 0), (5, 1))
    ]


def test_dead_letters_come_by_partition_and_offset_with_and_without_keys(
    store: Store,
) -> None:
    """In the order that Python gives the keys."""
    for key in reversed(KEYS):
        process(store, 200, partition=key)
    expected = [(key, offset) for key in KEYS for offset in (0, 100)]

    def found(letters: Iterator[dict[str, Any]]) -> list[tuple[str, int]]:
        return [(each["partition"], each["start_offset"]) for each in letters]

    assert found(store.iterate_dead_letters()) == expected
    assert found(store.iterate_dead_letters(keys=[*KEYS, *KEYS])) == expected
    assert found(store.iterate_dead_letters(stage="unknown")) == []


def test_a_pattern_is_exported_with_its_json_decoded(store: Store) -> None:
    """The same values from both databases."""
    process(store, 30)
    [row] = store.iterate_patterns()
    assert row == {
        "partition": PARTITION,
        "generation": 0,
        "offset": 20,
        "ordinal": 0,
        "kind": "task_completed",
        "prompt": "prompt of 20",
        "response": "response",
        "quality": True,
        "content_hash": row["content_hash"],
        "iterations": 1,
        "backend": None,
        "context": {"a": 1},
        "success_metrics": {"iterations": 1},
        "timestamp": None,
    }
    assert len(bytes.fromhex(row["content_hash"])) == 16


def test_an_export_shows_one_moment_while_others_commit(store: Store) -> None:
    """Also files that come later in its order are those of the moment it began."""
    for key in ("a.jsonl", "c.jsonl"):
        process(store, 100, partition=key)
    before = list(store.iterate_patterns())
    export = store.iterate_patterns()
    seen = [next(export)]
    process(store, 300, partition="c.jsonl")
    process(store, 300, partition="b.jsonl")
    store.rewind(stage=STAGE, partition="a.jsonl", to_offset=0)
    seen += export
    assert seen == before
    assert list(store.iterate_patterns()) != before


def test_an_export_is_streamed_in_bounded_memory(store: Store) -> None:
    """16 MB of patterns go through a window of a few."""
    _fill(store, 8000, text="x" * 2000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in store.iterate_patterns())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 8000
    assert peak_bytes < 8_000_000


def test_postgres_keeps_the_rest_of_an_export_on_its_side(postgres_url: str) -> None:
    """The client's library would otherwise hold the whole result."""
    with Store(postgres_url) as store:
        _fill(store, 3000, text="x")
        export = store.iterate_patterns()
        next(export)
        engine = sa.create_engine(postgres_url, poolclass=NullPool)
        with engine.connect() as connection:
            [query] = connection.exec_driver_sql(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'idle in transaction'"
            ).scalars()
        export.close()
    assert query.startswith("FETCH FORWARD")


@pytest.mark.parametrize("end", ["close", "forget", "raise"])
def test_an_export_that_is_given_up_gives_its_connection_back(
    store: Store, end: str
) -> None:
    """Twice as often as there are connections."""
    process(store, 100)
    for _ in range(30):
        export = store.iterate_patterns()
        next(export)
        if end == "close":
            export.close()
        elif end == "raise":
            with pytest.raises(KeyboardInterrupt):
                export.throw(KeyboardInterrupt)
        del export
    assert store._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    process(store, 200)


def test_checkpoints_of_very_many_files_are_read_in_bounded_queries(
    store: Store,
) -> None:
    """40,000 keys of 50,000: more than a statement can take parameters."""
    numbered = (
        "WITH RECURSIVE numbers (n) AS "
        "(SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 49999) "
    )
    with store._writing() as connection:
        for insert in (
            (
                "INSERT INTO partitions (id, partition_key) "
                "SELECT n, (100000 + n) || '.jsonl' FROM numbers"
            ),
            (
                "INSERT INTO checkpoints (stage, partition_id, generation, "
                '"offset", counters, sequence, size_bytes, synced_offset, fence, '
                "run_id, updated_at) SELECT 'interaction_patterns', n, 0, n, '{}', "
                "1, n, 0, 1, 'run-1', '' FROM numbers"
            ),
            (
                "INSERT INTO event_counts (stage, partition_id, kind, event_count) "
                "SELECT 'interaction_patterns', n, 'task_completed', n FROM numbers"
            ),
        ):
            connection.exec_driver_sql(numbered + insert)
    keys = [f"{100_000 + number}.jsonl" for number in range(50_000)]
    queries: list[str] = []

    def count_queries(
        _connection: object, _cursor: object, query: str, *_: object
    ) -> None:
        queries.append(query)

    sa.event.listen(store._engine, "before_cursor_execute", count_queries)
    found = store.checkpoints(stage=STAGE, keys=keys[:40_000])
    assert [each.partition for each in found] == keys[:40_000]
    assert found[300].counters.events_by_kind == {"task_completed": 300}
    assert len(queries) <= 2 * (40_000 // KEYS_PER_QUERY) + 2
    assert len(store.checkpoints(with_kinds=False)) == 50_000
    assert store.history(keys=keys[:40_000]) == []


def test_keys_that_nobody_knows_give_nothing(store: Store) -> None:
    """And no keys at all are not the same as all of them."""
    process(store, 100)
    assert store.checkpoints(keys=["", "../x", "x" * 2000, "%", "'"]) == []
    assert store.checkpoints(keys=[]) == []
    assert store.history(keys=[]) == []
    assert list(store.iterate_dead_letters(keys=[])) == []
    assert store.last_commit_by_run([]) == {}
    assert len(store.checkpoints(keys=[PARTITION, PARTITION])) == 1


def test_a_stage_reads_its_own_checkpoints_and_history(store: Store) -> None:
    """Ordered by stage and partition."""
    with open_session(store) as session:
        for key in ("b.jsonl", "a.jsonl"):
            commit_to(session, session.claim(key), 100)
    assert [each.partition for each in store.checkpoints(stage=STAGE)] == [
        "a.jsonl",
        "b.jsonl",
    ]
    assert [each.partition for each in store.history(stage=STAGE)] == [
        "a.jsonl",
        "b.jsonl",
    ]
    assert store.checkpoints(stage="unknown") == []


def test_a_streamed_history_has_the_same_steps_file_by_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few files are asked for at a time."""
    monkeypatch.setattr(store_queries, "KEYS_PER_QUERY", 2)
    keys = ["b.jsonl", "Z.jsonl", "a.jsonl", "\u00e9.jsonl", "a/b.jsonl"]
    with open_session(store) as session:
        for key in keys:
            commit_to(session, session.claim(key), 100)
    streamed = list(store.iterate_history(stage=STAGE))
    assert [each.partition for each in streamed] == sorted(keys)
    assert streamed == store.history(stage=STAGE) == store.history()
    assert list(store.iterate_history(keys=keys[:1])) == store.history(keys=keys[:1])
    assert list(store.iterate_history(keys=[])) == []
