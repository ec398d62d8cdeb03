"""What every engine's index keeps, the embedded one and the server's."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from learning_pipeline.errors import (
    IndexChangedError,
    IndexMissingError,
    PatternIndexError,
    SearchQueryError,
)
from learning_pipeline.learning.index import IndexHome, SearchFilter
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.index.points import point_id
from learning_pipeline_tests.learning.index.conftest import MakeHome
from learning_pipeline_tests.learning.index.samples import example, real_examples

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


def test_there_is_no_index_before_it_is_made(home: IndexHome) -> None:
    """Opening it says which command makes it."""
    assert not home.exists()
    assert home.identity() is None
    with (
        pytest.raises(IndexMissingError, match="learning-pipeline index rebuild"),
        home.open("a test"),
    ):
        pass
    home.drop()


def test_an_index_keeps_its_identity(make_home: MakeHome) -> None:
    """Whoever opens it later finds the one that was made; another is another one."""
    made = make_home().create()
    later = make_home()
    assert later.exists()
    assert later.identity() == made
    assert later.why_changed(made) is None
    with later.open("a test") as index:
        assert index.identity == made
        assert index.count() == 0
    later.drop()
    assert not later.exists()
    assert later.create().index_id != made.index_id


def test_an_index_is_not_made_over_another(home: IndexHome) -> None:
    """It would take its examples away."""
    made = home.create()
    with pytest.raises(PatternIndexError, match="drop it first"):
        home.create()
    assert home.identity() == made


def test_a_point_has_the_id_of_its_content() -> None:
    """The first 16 bytes of the hash: stored indexes rely on it for ever."""
    content_hash = bytes(range(32))
    assert point_id(content_hash) == UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")


def test_writing_again_changes_nothing(home: IndexHome) -> None:
    """A replay writes the same points."""
    home.create()
    examples = [example(number) for number in range(50)]
    with home.open("a test") as index:
        index.upsert(examples)
        index.flush()
        before = list(index.places())
        index.upsert(examples[10:30])
        index.flush()
    with home.open("a test") as index:
        assert index.count() == 50
        assert list(index.places()) == before
        index.upsert([])


def test_an_example_that_moved_is_written_anew(home: IndexHome) -> None:
    """Where it comes from is that of the last write."""
    home.create()
    with home.open("a test") as index:
        index.upsert([example(1)])
        index.upsert([example(1, partition="b.jsonl", generation=3, backend=None)])
        (hit,) = index.search("number1").hits
        (place,) = index.places()
    assert (hit.partition, hit.generation, hit.backend) == ("b.jsonl", 3, None)
    assert (place.partition, place.generation) == ("b.jsonl", 3)


def test_deleted_examples_are_gone(home: IndexHome) -> None:
    """Also from searches; deleting what is not there is no error."""
    home.create()
    examples = [example(number) for number in range(5)]
    with home.open("a test") as index:
        index.upsert(examples)
        index.delete([examples[2].content_hash, bytes(32)])
        index.delete([])
        index.flush()
        assert index.count() == 4
        assert not index.search("number2").hits
    with home.open("a test") as index:
        assert examples[2].content_hash not in {
            place.content_hash for place in index.places()
        }


def test_all_places_come_in_pages(home: IndexHome) -> None:
    """Each once, by content hash, whatever the size of a page."""
    home.create()
    examples = [example(number, ordinal=number % 3) for number in range(23)]
    expected = [
        (each.content_hash, each.partition, each.generation, each.offset, each.ordinal)
        for each in sorted(examples, key=lambda each: each.content_hash)
    ]
    with home.open("a test") as index:
        assert list(index.places()) == []
        index.upsert(examples)
        for page_size in (1, 7, 23, 1_000):
            found = [msgspec.structs.astuple(each) for each in index.places(page_size)]
            assert found == expected


def test_a_hit_tells_all_of_its_example(home: IndexHome) -> None:
    """Content and provenance, as they were written."""
    home.create()
    wanted = example(
        7, prompt="Why does the frobnicator stall?", generation=2, ordinal=1
    )
    with home.open("a test") as index:
        index.upsert([example(1), wanted])
        (hit,) = index.search("frobnicator").hits
    assert hit.content_hash == wanted.content_hash.hex()
    assert hit.score > 0
    for name in (
        "prompt",
        "response",
        "kind",
        "backend",
        "partition",
        "generation",
        "offset",
        "ordinal",
    ):
        assert getattr(hit, name) == getattr(wanted, name)
    assert hit.timestamp == wanted.event_timestamp


def test_a_phrase_of_any_real_example_finds_it_first(home: IndexHome) -> None:
    """Six words in a row, from prompt and response: the first hit has them."""
    home.create()
    examples = real_examples()
    assert len(examples) == 44
    with home.open("a test") as index:
        index.upsert(examples)
        for each in examples:
            for text in (each.prompt, each.response):
                words = text.split()
                middle = max(len(words) // 2 - 3, 0)
                phrase = " ".join(words[middle : middle + 6])
                hit = index.search(phrase).hits[0]
                assert hit.has_phrase
                assert phrase in " ".join(f"{hit.prompt} \n {hit.response}".split())


def test_the_best_hits_come_first(home: IndexHome) -> None:
    """By score, and at most as many as asked for."""
    home.create()
    with home.open("a test") as index:
        index.upsert([example(number) for number in range(30)])
        result = index.search("parser number3 split", limit=4)
        scores = [hit.score for hit in result.hits]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
        assert "number3" in result.hits[0].prompt
        assert result.degraded is None
        for limit in (0, -1, 1_001):
            with pytest.raises(SearchQueryError, match="hits cannot be asked for"):
                index.search("parser", limit=limit)


def test_filters_leave_only_what_they_say(home: IndexHome) -> None:
    """By kind, backend, partition and time, each alone and all together."""
    home.create()
    moments = {
        1: "2026-01-01T00:00:00.000000Z",
        2: "2026-02-01T00:00:00.000000Z",
        3: None,
    }
    with home.open("a test") as index:
        index.upsert(
            [
                example(1, event_timestamp=moments[1], kind="error_resolution"),
                example(2, event_timestamp=moments[2], backend="gpt"),
                example(3, event_timestamp=moments[3], partition="b/ö.jsonl"),
                example(4, event_timestamp=None, backend=None),
            ]
        )

        def found(**given: object) -> set[int]:
            among = SearchFilter(**given)  # type: ignore[arg-type]
            hits = index.search("parser", among=among).hits
            return {hit.offset // 100 for hit in hits}

        january = datetime(2026, 1, 1, tzinfo=UTC)
        february = datetime(2026, 2, 1, tzinfo=UTC)
        assert found() == {1, 2, 3, 4}
        assert found(kinds=("error_resolution",)) == {1}
        assert found(kinds=("error_resolution", "task_completed")) == {1, 2, 3, 4}
        assert found(backends=("gpt",)) == {2}
        assert found(backends=("(none)",)) == {4}
        assert found(backends=("(none)", "gpt")) == {2, 4}
        assert found(kinds=("(none)",)) == set()
        assert found(partitions=("b/ö.jsonl",)) == {3}
        assert found(since=january) == {1, 2}
        assert found(since=february) == {2}
        assert found(until=february) == {1}
        assert found(since=january, until=february) == {1}
        assert found(kinds=("task_completed",), backends=("claude",)) == {3}
        assert found(kinds=("nothing",)) == set()
        with pytest.raises(SearchQueryError, match="time zone"):
            found(since=datetime(2026, 1, 1))  # noqa: DTZ001 - the point


def test_meaning_finds_what_no_word_does(
    make_home: MakeHome, embeddings: Embeddings
) -> None:
    """With embeddings both are searched and fused."""
    home = make_home(embeddings)
    identity = home.create()
    assert identity.vectors == "bm25:1+dense:letters:26"
    near = example(1, prompt="zzzzzzzz zzzz zzzzz", response="zzzzzz")
    with home.open("a test") as index:
        index.upsert([near, *(example(number) for number in range(2, 40))])
        by_meaning = index.search("zz zzz").hits[0]
        by_word = index.search("number17").hits[0]
    assert by_meaning.prompt == near.prompt
    assert "number17" in by_word.prompt


def test_an_index_of_other_embeddings_is_not_written(
    make_home: MakeHome, embeddings: Embeddings
) -> None:
    """Another model, or one more or less, needs a rebuild, and says so."""
    by_words, by_meaning = make_home(), make_home(embeddings)
    for made, other in ((by_words, by_meaning), (by_meaning, by_words)):
        identity = made.create()
        assert other.why_changed(identity) is not None
        with (
            pytest.raises(IndexChangedError, match="learning-pipeline index rebuild"),
            other.open("a test"),
        ):
            pass
        other.drop()
    embeddings.model, model = "digits", embeddings.model
    identity = by_meaning.create()
    embeddings.model = model
    assert "digits" in (by_meaning.why_changed(identity) or "")
