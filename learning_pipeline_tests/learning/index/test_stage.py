"""The stage `pattern_index`: a view that never runs ahead of its word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from learning_pipeline import logs, steps
from learning_pipeline.errors import (
    FencedError,
    IndexChangedError,
    IndexMissingError,
)
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import SearchHit, index_folder, index_home
from learning_pipeline.learning.index.comparison import IndexComparison, compare_index
from learning_pipeline.learning.index.rebuilding import index_everything, start_anew
from learning_pipeline.learning.index.searching import search
from learning_pipeline.learning.index.stage import ensure_known, indexing
from learning_pipeline.model import Progress
from learning_pipeline.settings import Settings
from learning_pipeline.stages import DerivedDrain
from learning_pipeline.store import Store, index_feed
from learning_pipeline.store.index_feed import INDEX_STAGE
from learning_pipeline_tests.store.examples_of import (
    FROM_EXAMPLES,
    derive,
    learn,
)
from learning_pipeline_tests.store.samples import STAGE

A, B = "a.jsonl", "b.jsonl"


@dataclass
class Indexed:
    """A state database and its embedded index.

    Attributes:
        settings: Of both.
        store: Open.
    """

    settings: Settings
    store: Store

    def learn(self, partition: str, *texts: str) -> None:
        """Learn patterns and make examples of them."""
        learn(self.store, partition, texts)
        derive(self.store, partition)

    def index(self, *partitions: str) -> int:
        """One run of the stage; gives how many rows it took over."""
        count = 0
        with (
            self.store.session(
                stage=INDEX_STAGE,
                table=None,
                run_id="run-3",
                history_count=20,
                reads=FROM_EXAMPLES,
            ) as session,
            indexing(self.settings)(self.store) as derivation,
        ):
            for partition in partitions or (A, B):
                _, progress = DerivedDrain(
                    session,
                    partition=partition,
                    derivation=derivation,
                    require_free_space=lambda: None,
                    on_commit=lambda _: None,
                    log=logs.get_logger(),
                ).run()
                count += progress.run_row_count
        return count

    def compare(self) -> IndexComparison:
        """How index and database differ."""
        breakers = Breakers(self.store, self.settings)
        with (
            index_home(self.settings, breakers) as home,
            home.open("compare") as opened,
        ):
            return compare_index(self.store, opened)

    def found(self, query: str) -> list[SearchHit]:
        """What a search finds."""
        return list(search(query, settings=self.settings).hits)


@contextmanager
def opened(folder: Path) -> Iterator[Indexed]:
    """A state directory."""
    settings = Settings(state_dir=folder, telemetry_dir=folder / "telemetry")
    with Store(settings.resolved_store_url) as store:
        yield Indexed(settings, store)


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[Indexed]:
    """An empty state directory."""
    with opened(tmp_path / "state") as found:
        yield found
    steps.listen(None)


def test_the_index_gets_each_example_once(indexed: Indexed) -> None:
    """No duplicates, nothing again when nothing is new; what is new later on."""
    indexed.learn(A, "how to bake bread", "how to mend a fence", "how to bake bread")
    indexed.learn(B, "how to bake bread", "how to sharpen a saw")
    assert indexed.index() == 5
    found = indexed.compare()
    assert (found.example_count, found.point_count) == (3, 3)
    assert found.agrees
    assert indexed.index() == 0
    indexed.learn(A, "how to paint a door")
    assert indexed.compare().waiting_count == 1
    assert indexed.index() == 1
    assert indexed.found("paint a door")[0].offset == 30


def test_what_is_taken_back_is_gone_or_moved_after_the_next_run(
    indexed: Indexed,
) -> None:
    """An example of one file alone goes; of the other a duplicate takes the place."""
    indexed.learn(A, "only in the first file", "in both of the files")
    indexed.learn(B, "in both of the files")
    indexed.index()
    assert {hit.partition for hit in indexed.found("in both of the files")} == {A}
    indexed.store.clear(stage=STAGE, partition=A)
    indexed.index()
    assert indexed.compare().agrees
    assert [hit.partition for hit in indexed.found("both of the files")] == [B]
    indexed.learn(A, "only in the first file", "in both of the files")
    indexed.index()
    found = indexed.compare()
    assert (found.example_count, found.agrees) == (2, True)


def test_what_was_written_before_a_rewind_does_not_stay(indexed: Indexed) -> None:
    """The run is fenced after it wrote; the next one takes the points out again."""
    indexed.learn(A, "this will be taken back", "and so will this be")

    def take_back(step: str) -> None:
        if step == "index.before":
            steps.listen(None)
            # Between what was read and what is written.
            indexed.store.clear(stage=STAGE, partition=A)
            changes = index_feed.pending_changes(indexed.store, 10)
            index_feed.drop_changes(indexed.store, changes)

    steps.listen(take_back)
    with pytest.raises(FencedError):
        indexed.index(A)
    assert indexed.compare().stray_count == 2
    indexed.index(A)
    found = indexed.compare()
    assert (found.point_count, found.agrees) == (0, True)


def test_an_index_that_is_gone_is_not_made_anew_unasked(indexed: Indexed) -> None:
    """Its checkpoints would say that it has everything; `index rebuild` it is."""
    indexed.learn(A, "something to be found")
    indexed.index()
    folder = index_folder(indexed.settings)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(IndexMissingError, match="index rebuild"):
        indexed.index()
    with pytest.raises(IndexMissingError, match="index rebuild"):
        indexed.found("something")
    progress: list[Progress] = []
    start_anew(indexed.store, indexed.settings)
    assert index_everything(indexed.store, indexed.settings, progress.append) == 1
    assert len(progress) == 1
    assert indexed.compare().agrees
    assert len(indexed.found("something")) == 1


def test_another_index_than_the_one_written_to_is_refused(
    indexed: Indexed, tmp_path: Path
) -> None:
    """It was put in its place, and has not what the checkpoints say."""
    indexed.learn(A, "something to be found")
    indexed.index()
    with opened(tmp_path / "other") as other:
        other.learn(A, "something else")
        other.index()
        folder = index_folder(indexed.settings)
        folder.rename(folder.with_name("elsewhere"))
        index_folder(other.settings).rename(folder)
    with pytest.raises(IndexChangedError, match="index rebuild"):
        indexed.index()


def test_an_index_of_an_earlier_database_is_made_anew(
    indexed: Indexed, tmp_path: Path
) -> None:
    """In a state directory nobody else can have a claim to it; a kill left one too."""
    indexed.learn(A, "something to be found")
    indexed.index()
    with opened(tmp_path / "other") as other:
        folder = index_folder(other.settings)
        index_folder(indexed.settings).rename(folder)
        other.learn(A, "something else")
        assert other.index() == 1
        found = other.compare()
        assert (found.point_count, found.agrees) == (1, True)


def test_an_index_on_a_server_is_never_replaced_unasked(indexed: Indexed) -> None:
    """It may be that of another state database, unless it is empty."""
    breakers = Breakers(indexed.store, indexed.settings)
    with index_home(indexed.settings, breakers) as home:
        made = home.create()
        ensure_known(indexed.store, home, is_private=False)
        assert index_feed.index_identity(indexed.store) != made
    indexed.learn(A, "something to be found")
    indexed.index()
    with indexed.store.change() as connection:
        connection.exec_driver_sql("DELETE FROM index_identity")
    with (
        index_home(indexed.settings, breakers) as home,
        pytest.raises(IndexChangedError, match="does not know of"),
    ):
        ensure_known(indexed.store, home, is_private=False)


def test_nothing_indexed_yet_is_said_and_makes_no_index(indexed: Indexed) -> None:
    """A search before the first run."""
    result = search("anything", settings=indexed.settings)
    assert result.hits == ()
    assert result.degraded is not None
    assert "process" in result.degraded
    assert not index_folder(indexed.settings).exists()


def test_a_comparison_names_what_is_missing_and_what_is_stray(
    indexed: Indexed,
) -> None:
    """Put out of step on purpose."""
    indexed.learn(A, "one to be lost", "one to be kept")
    indexed.index()
    lost = next(each for each in index_feed.example_places(indexed.store))
    breakers = Breakers(indexed.store, indexed.settings)
    with (
        index_home(indexed.settings, breakers) as home,
        home.open("break it") as opened_index,
    ):
        opened_index.delete([lost.content_hash])
    found = indexed.compare()
    assert not found.agrees
    assert found.missing == (lost.content_hash.hex(),)
    with indexed.store.change() as connection:
        connection.exec_driver_sql("DELETE FROM finetuning_examples")
    found = indexed.compare()
    assert (found.missing_count, found.stray_count) == (0, 1)
