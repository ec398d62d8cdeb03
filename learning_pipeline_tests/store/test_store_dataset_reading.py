"""Examples for a dataset, and where a content comes from."""

from __future__ import annotations

import hashlib
import tracemalloc

import sqlalchemy as sa

from learning_pipeline.model import Example
from learning_pipeline.store import Store
from learning_pipeline.store.dataset_reading import (
    MAX_PLACES,
    DatasetSnapshot,
    dataset_snapshot,
    find_examples,
    find_other_patterns,
    places_of,
)
from learning_pipeline.store.schema import ROW_KEY, finetuning_examples, patterns
from learning_pipeline_tests.store.examples_of import derive, learn

KEYS = ["z.jsonl", "ä.jsonl", "Z.jsonl", "a/b.jsonl", "a.jsonl"]


def digest(text: str) -> bytes:
    """The content hash that `learn` gives a text."""
    return hashlib.sha256(text.encode()).digest()


def all_of(store: Store) -> list[Example]:
    """Every example in order."""
    with dataset_snapshot(store) as snapshot:
        return list(snapshot.examples())


def test_examples_come_by_key_in_code_points_then_place(store: Store) -> None:
    """Whatever the database thinks of letters, and in whatever order they came."""
    for number, key in enumerate(KEYS):
        learn(store, key, [f"text {number} {line}" for line in range(3)])
        derive(store, key)
    found = [(each.partition, each.offset) for each in all_of(store)]
    assert found == [(key, 10 * line) for key in sorted(KEYS) for line in range(3)]


def test_examples_carry_their_pattern_and_place(store: Store) -> None:
    """Every field."""
    learn(store, "a.jsonl", ["first", "text"])
    derive(store, "a.jsonl")
    assert all_of(store)[1] == Example(
        content_hash=digest("text"),
        kind="task_completed",
        prompt="text",
        response="a response",
        iterations=1,
        backend=None,
        success_metrics="{}",
        event_timestamp=None,
        partition="a.jsonl",
        generation=0,
        offset=10,
        ordinal=0,
        run_id="run-2",
    )


def test_duplicates_and_others_are_no_examples(store: Store) -> None:
    """They are counted, and their places are told."""
    learn(store, "a.jsonl", ["same", "NO QUALITY", "other"])
    learn(store, "b.jsonl", ["same", "same"])
    for key in ("a.jsonl", "b.jsonl"):
        derive(store, key)
    with dataset_snapshot(store) as snapshot:
        assert [each.prompt for each in snapshot.examples()] == ["same", "other"]
        counts = snapshot.counts
        assert (counts.example_count, counts.duplicate_count) == (2, 2)
        assert counts.by_kind == {"task_completed": 2}
        assert counts.by_backend == {None: 2}
        assert [
            (each.stage, each.partition, each.offset) for each in snapshot.checkpoints
        ] == [
            ("finetuning_examples", "a.jsonl", 30),
            ("finetuning_examples", "b.jsonl", 20),
        ]
    places = places_of(store, digest("same"))
    assert places.total_count == 3
    assert [
        (each.partition, each.offset, each.is_example) for each in places.places
    ] == [("a.jsonl", 0, True), ("b.jsonl", 0, False), ("b.jsonl", 10, False)]


def test_by_content_they_come_by_hash(store: Store) -> None:
    """The same ones."""
    learn(store, "a.jsonl", [f"text {line}" for line in range(20)])
    derive(store, "a.jsonl")
    with dataset_snapshot(store) as snapshot:
        hashes = [each.content_hash for each in snapshot.examples_by_content()]
        assert hashes == sorted(each.content_hash for each in snapshot.examples())


def test_a_prefix_finds_those_that_begin_like_it(store: Store) -> None:
    """Of any length, odd ones too; by hash, and no more than asked for."""
    texts = [f"text {line}" for line in range(200)]
    learn(store, "a.jsonl", texts)
    derive(store, "a.jsonl")
    hashes = sorted(map(digest, texts))
    for count in (1, 2, 3, 7, 64):
        prefix = hashes[50].hex()[:count]
        expected = [each for each in hashes if each.hex().startswith(prefix)]
        found = find_examples(store, prefix, count=300)
        assert [each.content_hash for each in found] == expected
    assert len(find_examples(store, "", count=3)) == 3


def test_patterns_that_are_no_examples_are_found(store: Store) -> None:
    """Those without quality, and those that the stage has not come to."""
    learn(store, "a.jsonl", ["same", "NO QUALITY"])
    derive(store, "a.jsonl")
    learn(store, "a.jsonl", ["later"])
    (other,) = find_other_patterns(store, digest("NO QUALITY").hex()[:12])
    assert (other.offset, other.is_quality) == (10, False)
    (other,) = find_other_patterns(store, digest("later").hex())
    assert (other.content_hash, other.partition) == (digest("later"), "a.jsonl")
    assert other.is_quality
    assert find_other_patterns(store, digest("same").hex()) == []


def test_very_many_places_are_counted_but_not_all_listed(sqlite_url: str) -> None:
    """A text that an agent says a thousand times."""
    with Store(sqlite_url) as store:
        learn(store, "a.jsonl", ["same"] * (MAX_PLACES + 20))
        derive(store, "a.jsonl")
        places = places_of(store, digest("same"))
    assert places.total_count == MAX_PLACES + 20
    assert [each.offset for each in places.places] == [
        10 * number for number in range(MAX_PLACES)
    ]


def test_examples_are_streamed_from_sqlite(sqlite_url: str) -> None:
    """4,000 of 10 kB are 40 MB; a thousand at a time are in memory."""
    with Store(sqlite_url) as store:
        learn(store, "a.jsonl", ["x" * 10_000])
        _multiply(store, 4_000)
        tracemalloc.start()
        try:
            with dataset_snapshot(store) as snapshot:
                assert sum(1 for _ in snapshot.examples()) == 4_000
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 25_000_000


def test_examples_are_streamed_from_postgres(postgres_url: str) -> None:
    """By a cursor of the server's: else the driver would have them all."""
    with Store(postgres_url) as store:
        learn(store, "a.jsonl", ["text"])
        _multiply(store, 10)
        with store.snapshot() as connection:
            examples = DatasetSnapshot(connection).examples()
            next(examples)
            cursors = sa.text("SELECT count(*) FROM pg_cursors WHERE name <> ''")
            assert connection.execute(cursors).scalar_one() == 1
            assert sum(1 for _ in examples) == 9


def _multiply(store: Store, count: int) -> None:
    """Make so many examples of the first pattern, quickly."""
    with store.change() as connection:
        first = dict(
            connection.execute(sa.select(patterns).order_by(patterns.c.offset).limit(1))
            .mappings()
            .one()
        )
        connection.execute(sa.delete(patterns))
        made = [
            {**first, "offset": number, "content_hash": digest(str(number))}
            for number in range(count)
        ]
        connection.execute(sa.insert(patterns), made)
        table = finetuning_examples
        own = {name: first[name] for name in ROW_KEY}
        connection.execute(
            sa.insert(table),
            [
                {
                    **own,
                    "offset": each["offset"],
                    "content_hash": each["content_hash"],
                    "is_duplicate": False,
                    "run_id": "run-1",
                }
                for each in made
            ],
        )
