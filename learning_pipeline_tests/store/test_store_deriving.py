"""Examples: one per content over all files for ever, whatever is taken back."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning_pipeline.errors import FencedError, StoreError
from learning_pipeline.store import Store, ToOffset, index_feed
from learning_pipeline.store.behind import partitions_behind
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import INDEX_STAGE, IndexIdentity
from learning_pipeline_tests.store.examples_of import (
    FROM_PATTERNS,
    derive,
    derive_all,
    example_rows,
    learn,
    problems,
)
from learning_pipeline_tests.store.samples import STAGE

A, B, C = "a.jsonl", "b.jsonl", "c.jsonl"


def winners(url: str) -> list[tuple[int, int, int]]:
    """Partition, generation and offset of each example."""
    return sorted(
        (key[0], key[1], key[2])
        for key, (_, is_duplicate) in example_rows(url).items()
        if not is_duplicate
    )


def test_the_first_of_each_content_becomes_an_example(
    store: Store, store_url: str
) -> None:
    """Others are duplicates; what is of no quality is neither."""
    learn(store, A, ["one", "two", "one", "NO QUALITY"])
    learn(store, B, ["two", "three"])
    derive_all(store, [A, B])
    assert winners(store_url) == [(1, 0, 0), (1, 0, 10), (2, 0, 10)]
    assert len(example_rows(store_url)) == 5
    assert list(problems(store, store_url)) == []


def test_a_stage_goes_on_where_it_stood(store: Store, store_url: str) -> None:
    """Stopped after any commit; and nothing is done twice when nothing is new."""
    learn(store, A, ["a", "b", "c", "d", "e", "f", "g"])
    assert derive(store, A, commit_count=1) is None
    assert len(example_rows(store_url)) == 4
    progress = derive(store, A)
    assert progress is not None
    assert (progress.offset, progress.run_row_count) == (70, 3)
    progress = derive(store, A)
    assert progress is not None
    assert (progress.offset, progress.run_row_count, progress.commit_count) == (
        *(70, 0),
        0,
    )
    assert list(problems(store, store_url)) == []


def test_a_stage_is_behind_until_it_has_taken_over_everything(store: Store) -> None:
    """Also when only something late was added to an earlier generation."""
    learn(store, A, ["a"])
    learn(store, A, ["b"], generation=1)

    def behind() -> list[tuple[str, int]]:
        return [
            (each.partition, each.lag_bytes)
            for each in partitions_behind(store, EXAMPLES_STAGE, STAGE)
        ]

    assert behind() == [(A, 10)]
    derive(store, A)
    assert behind() == []
    learn(store, A, ["late"], generation=0)
    learn(store, A, [], generation=1)
    assert behind() == [(A, 1)]
    progress = derive(store, A)
    assert progress is not None
    assert (progress.generation, progress.run_row_count) == (1, 1)
    assert behind() == []


@pytest.mark.parametrize("to_offset", [0, 10, 20, 30])
def test_a_rewind_takes_back_what_was_derived(
    store: Store, store_url: str, to_offset: int
) -> None:
    """In the same transaction; learned again, it is as it was."""
    learn(store, A, ["a", "b", "c"])
    derive_all(store, [A])
    before = example_rows(store_url)
    rewound = store.rewind_all(stages=[STAGE], partition=A, to=ToOffset(to_offset, 0))
    assert [(each.stage, each.to_offset) for each in rewound] == [
        (STAGE, to_offset),
        (EXAMPLES_STAGE, to_offset),
        (INDEX_STAGE, to_offset),
    ]
    assert list(problems(store, store_url)) == []
    learn(store, A, ["a", "b", "c"][to_offset // 10 :])
    derive_all(store, [A])
    assert example_rows(store_url) == before
    assert list(problems(store, store_url)) == []


def test_a_duplicate_takes_the_place_of_an_example_that_is_taken_back(
    store: Store, store_url: str
) -> None:
    """And the index is told of both: what went, and what moved."""
    learn(store, A, ["only here", "shared"])
    learn(store, B, ["shared"])
    learn(store, C, ["shared"])
    derive_all(store, [A, B, C])
    assert winners(store_url) == [(1, 0, 0), (1, 0, 10)]
    store.clear(stage=STAGE, partition=A)
    assert winners(store_url) == [(2, 0, 0)]
    assert list(problems(store, store_url)) == []
    changes = index_feed.pending_changes(store, 10)
    assert len(changes.ids) == 2
    found = index_feed.examples_of(store, changes.hashes)
    assert [each.partition for each in found] == [B]
    index_feed.drop_changes(store, changes)
    assert index_feed.count_changes(store) == 0


def test_what_only_follows_can_be_rewound_by_itself(
    store: Store, store_url: str
) -> None:
    """It is derived again from the same patterns."""
    learn(store, A, ["a", "b", "c"])
    derive_all(store, [A])
    before = example_rows(store_url)
    store.rewind_all(stages=[EXAMPLES_STAGE], partition=A, to=ToOffset(0))
    assert example_rows(store_url) == {}
    assert len(list(store.iterate_patterns())) == 3
    derive_all(store, [A])
    assert example_rows(store_url) == before


def test_a_run_that_derives_is_fenced_by_a_rewind(store: Store, store_url: str) -> None:
    """Also one that stands before the place that upstream goes back to."""
    learn(store, A, ["a", "b", "c", "d"])
    derive(store, A, commit_count=0)
    with store.session(
        stage=EXAMPLES_STAGE,
        table=None,
        run_id="run-3",
        history_count=20,
        reads=FROM_PATTERNS,
    ) as session:
        claim = session.claim(A)
        store.rewind(stage=STAGE, partition=A, to_offset=30)
        with pytest.raises(FencedError):
            session.derive(
                claim, end_offset=40, size_bytes=40, write=session.make_examples
            )
    assert list(problems(store, store_url)) == []


def test_two_runs_that_bring_the_same_content_at_once_make_one_example(
    store_url: str,
) -> None:
    """The first in the order of commits wins; the other finds a duplicate."""
    with Store(store_url) as store:
        partitions = [f"{number}.jsonl" for number in range(4)]
        for partition in partitions:
            learn(store, partition, [f"text {number % 7}" for number in range(20)])
        barrier = threading.Barrier(len(partitions))
        errors: list[BaseException] = []

        def run(partition: str) -> None:
            barrier.wait()
            try:
                with Store(store_url) as own:
                    derive(own, partition)
            except BaseException as error:  # noqa: BLE001 - to the test
                errors.append(error)

        threads = [threading.Thread(target=run, args=(each,)) for each in partitions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(example_rows(store_url)) == 80
        assert len(winners(store_url)) == 7
        assert list(problems(store, store_url)) == []


def test_the_database_itself_refuses_a_second_example(
    store: Store, store_url: str
) -> None:
    """Whatever a later version of the code would do."""
    learn(store, A, ["a"])
    derive(store, A)
    content = bytes.fromhex(next(iter(example_rows(store_url).values()))[0])
    with pytest.raises(StoreError), store._writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO finetuning_examples SELECT partition_id, generation, 99, "
            "ordinal, content_hash, is_duplicate, run_id FROM finetuning_examples"
        )
    assert len(content) == 32


def test_a_new_index_is_to_be_given_everything(store: Store) -> None:
    """Checkpoints of the index begin anew, those of the examples do not."""
    learn(store, A, ["a", "b"])
    derive_all(store, [A])
    assert index_feed.index_identity(store) is None
    assert all(each.is_due for each in index_feed.example_places(store))
    identity = IndexIdentity("here", "id-1", "bm25")
    index_feed.restart_index(store, identity)
    assert index_feed.index_identity(store) == identity
    assert not any(each.is_due for each in index_feed.example_places(store))
    [checkpoint] = store.checkpoints(stage=INDEX_STAGE)
    assert (checkpoint.offset, checkpoint.counters.row_count) == (0, 0)
    progress = derive(store, A, stage=INDEX_STAGE)
    assert progress is not None
    assert progress.run_row_count == 2
    assert store.checkpoints(stage=EXAMPLES_STAGE)[0].offset == 20


_TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "X"]), min_size=1, max_size=4)
_PARTITIONS = st.sampled_from([A, B, C])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), _PARTITIONS, _TEXTS),
        st.tuples(st.just("learn next"), _PARTITIONS, _TEXTS),
        st.tuples(st.just("learn late"), _PARTITIONS, _TEXTS),
        st.tuples(st.just("derive"), _PARTITIONS, st.integers(0, 3)),
        st.tuples(st.just("index"), _PARTITIONS, st.integers(0, 3)),
        st.tuples(st.just("rewind"), _PARTITIONS, st.integers(0, 8)),
        st.tuples(st.just("rewind derived"), _PARTITIONS, st.integers(0, 8)),
        st.tuples(st.just("clear"), _PARTITIONS, st.none()),
    ),
    max_size=14,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_whatever_happens_each_content_has_one_example(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, object]]
) -> None:
    """After each of random steps, and complete when everything was taken over."""
    url = f"sqlite:///{tmp_path_factory.mktemp('state') / 'state.db'}"
    with Store(url) as store:
        for step, partition, given_value in steps:
            _apply(store, step, partition, given_value)
            assert list(problems(store, url)) == [], step
        derive_all(store, [A, B, C])
        assert list(problems(store, url)) == []
        assert partitions_behind(store, EXAMPLES_STAGE, STAGE) == []
        assert partitions_behind(store, INDEX_STAGE, EXAMPLES_STAGE) == []
        learned = {
            each["content_hash"] for each in store.iterate_patterns() if each["quality"]
        }
        rows = example_rows(url).values()
        assert {content for content, is_duplicate in rows if not is_duplicate} == (
            learned
        )
        counted = {each.stage: 0 for each in store.checkpoints()}
        for each in store.checkpoints():
            counted[each.stage] += each.counters.row_count
        assert counted.get(INDEX_STAGE, 0) == len(rows)


def _apply(store: Store, step: str, partition: str, value: object) -> None:
    newest = {
        each.partition: each.generation for each in store.checkpoints(stage=STAGE)
    }
    generation = newest.get(partition, 0)
    if step.startswith("learn"):
        assert isinstance(value, list)
        is_late = step == "learn late"
        number = 0 if is_late else generation + (step == "learn next" and bool(newest))
        if partition not in newest:
            number = 0
        learn(store, partition, value, generation=number)
        if is_late:
            learn(store, partition, [], generation=generation)
    elif step in {"derive", "index"}:
        assert isinstance(value, int)
        stage = EXAMPLES_STAGE if step == "derive" else INDEX_STAGE
        derive(store, partition, stage=stage, commit_count=value)
    elif step == "clear":
        if partition in newest:
            store.clear(stage=STAGE, partition=partition)
    else:
        assert isinstance(value, int)
        stage = STAGE if step == "rewind" else EXAMPLES_STAGE
        try:
            store.rewind(stage=stage, partition=partition, to_offset=value * 10)
        except StoreError:
            return
