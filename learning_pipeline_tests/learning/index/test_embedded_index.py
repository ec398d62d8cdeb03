"""The embedded index: turns, kills, damage."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from learning_pipeline.errors import (
    IndexBusyError,
    IndexChangedError,
    IndexDamagedError,
    PatternIndexError,
)
from learning_pipeline.learning.index import embedded, embedded_index
from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.turns import Turns
from learning_pipeline_tests.forking import FORK_SERVER
from learning_pipeline_tests.learning.index import child
from learning_pipeline_tests.learning.index.child import home_in
from learning_pipeline_tests.learning.index.samples import example

WRITE_OUT_KILLS = 4


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Starts other processes quickly."""
    return FORK_SERVER


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with an index of ten examples."""
    home = home_in(str(tmp_path))
    home.create()
    with home.open("a test") as index:
        index.upsert([example(number) for number in range(10)])
        index.flush()
    return tmp_path


@pytest.fixture
def home(state: Path) -> EmbeddedHome:
    """Its index; a turn is waited for 0.2 s."""
    return home_in(str(state), 0.2)


@pytest.fixture
def started(
    processes: ForkServerContext,
) -> Callable[..., Any]:
    """Runs a function of `child` in a process, which is killed at the end."""

    @contextmanager
    def start(
        function: Callable[..., None], *arguments: Any
    ) -> Iterator[tuple[BaseProcess, Connection]]:
        ours, theirs = processes.Pipe()
        process = processes.Process(target=function, args=(*arguments, theirs))
        process.start()
        theirs.close()
        try:
            yield process, ours
        finally:
            process.kill()
            process.join()
            ours.close()

    return start


def test_only_one_process_has_the_index(
    home: EmbeddedHome, state: Path, started: Callable[..., Any]
) -> None:
    """Who waits in vain is told who has it, since when and what for."""
    with started(child.hold, str(state)) as (process, answer):
        assert answer.recv() == 10
        with pytest.raises(IndexBusyError) as caught, home.open("a test"):
            pass
        assert f"process {process.pid} (hold it, since 20" in str(caught.value)
        assert "LEARNING_PIPELINE_INDEX_LOCK_SECONDS" in str(caught.value)
        assert caught.value.retryable
        with pytest.raises(IndexBusyError):
            home.drop()
        assert home.identity() is not None
        answer.send("enough")
        process.join()
        with home.open("a test") as index:
            assert index.count() == 10


def test_a_killed_holder_leaves_no_lock(
    home: EmbeddedHome, state: Path, started: Callable[..., Any]
) -> None:
    """The next one opens at once, though the note of who had it is still there."""
    with started(child.hold, str(state)) as (process, answer):
        answer.recv()
        process.kill()
        process.join()
        assert (state / "index.holder.json").exists()
        with home.open("a test") as index:
            assert index.count() == 10


def test_who_waited_in_vain_leaves_the_holder_alone(state: Path) -> None:
    """Its note of who it is stays for the next one."""
    first, second = (Turns(state / "index", wait_seconds=0.05) for _ in range(2))
    first.take("first")
    with pytest.raises(IndexBusyError):
        second.take("second")
    second.give_back()
    with pytest.raises(IndexBusyError, match="first"):
        second.take("second")
    first.give_back()
    second.take("second")
    second.give_back()


def test_two_threads_take_turns_too(home: EmbeddedHome) -> None:
    """An index that is open is open once, also within one process."""
    with (
        home.open("first"),
        pytest.raises(IndexBusyError, match="first"),
        home.open("second"),
    ):
        pass
    with home.open("third") as index:
        assert index.count() == 10


def test_a_long_writer_lets_searches_in(
    state: Path, started: Callable[..., Any]
) -> None:
    """Between two batches; then it goes on, and nothing of its work is lost."""
    with started(child.write_in_turns, str(state)) as (writer, answer):
        assert answer.recv() == "begun"
        for _ in range(2):
            with started(child.search_once, str(state), 10.0) as (_, found):
                assert found.recv() == 10
        answer.send("enough")
        written, turns = answer.recv()
        writer.join()
    assert turns == 2
    with home_in(str(state)).open("a test") as index:
        assert index.count() == max(written, 10)


def test_a_search_says_who_keeps_it_out(
    state: Path, started: Callable[..., Any]
) -> None:
    """Readers wait in line like writers."""
    with started(child.hold, str(state)) as (process, answer):
        answer.recv()
        with started(child.search_once, str(state), 0.1) as (_, found):
            assert f"process {process.pid}" in found.recv()


def test_an_index_that_was_made_anew_meanwhile_is_not_written(
    home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who let others in notices that it is another index now."""
    monkeypatch.setattr(embedded_index, "_LEAST_TURN_SECONDS", 0)
    monkeypatch.setattr(Turns, "someone_waits", lambda _: True)
    give_back = Turns.give_back

    def give_back_to_one_who_makes_it_anew(turns: Turns) -> None:
        give_back(turns)
        monkeypatch.setattr(Turns, "give_back", give_back)
        home.drop()
        home.create()

    with home.open("write") as index:
        index.upsert([example(20)])
        monkeypatch.setattr(Turns, "give_back", give_back_to_one_who_makes_it_anew)
        with pytest.raises(IndexChangedError, match="made anew meanwhile"):
            index.let_others_in()
    with home.open("a test") as index:
        assert index.count() == 0


def test_points_survive_a_kill_at_any_moment(
    state: Path, started: Callable[..., Any]
) -> None:
    """What was acknowledged is there, whether or not it was flushed."""
    acknowledged = 10
    for round_number in range(4):
        pause = 0.03 * round_number
        acknowledged = max(acknowledged, write_and_kill(state, started, pause))
        require_all(state, acknowledged)


def test_points_survive_a_kill_while_they_are_written_out(
    tmp_path: Path, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine rewrites what it has in memory every 200 points here, for a second."""
    monkeypatch.setattr(embedded, "_WRITTEN_OUT_KB", 16)
    monkeypatch.setattr(embedded, "_LARGEST_SEGMENT_KB", 128)
    home_in(str(tmp_path)).create()
    acknowledged = 0
    for round_number in range(WRITE_OUT_KILLS):
        pause = 0.1 + 0.17 * round_number % 1.0
        acknowledged = max(acknowledged, write_and_kill(tmp_path, started, pause))
        require_all(tmp_path, acknowledged)
    assert len(list((tmp_path / "index" / "segments").iterdir())) > 1


def test_what_a_kill_left_half_written_is_removed(home: EmbeddedHome) -> None:
    """The engine leaves it in a folder that it never looks into again."""
    half_written = Path(home.target) / "temp_segments" / "segment_builder_3uZk1l"
    half_written.mkdir(parents=True)
    (half_written / "segment.json").write_text("{}")
    with home.open("a test") as index:
        assert index.count() == 10
        assert not half_written.exists()


def write_and_kill(
    state: Path, started: Callable[..., Any], pause_seconds: float
) -> int:
    """Kill a process that writes; gives how many points were acknowledged."""
    acknowledged = 0
    with started(child.write_until_killed, str(state)) as (process, answer):
        answer.recv()
        time.sleep(pause_seconds)
        process.kill()
        process.join()
        while answer.poll():
            try:
                acknowledged = answer.recv()
            except EOFError:
                break
    return acknowledged


def require_all(state: Path, count: int) -> None:
    """Each of the first `count` examples is there, and found."""
    with home_in(str(state)).open("a test") as index:
        places = [place.content_hash for place in index.places()]
        assert len(places) == len(set(places)) == index.count()
        assert {example(each).content_hash for each in range(count)} <= set(places)
        if count:
            assert index.search(f"number{count - 1}").hits


def test_a_kill_while_it_is_made_or_dropped_leaves_it_whole_or_not_there(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    """And nothing else after the next one was made."""
    for number in range(6):
        process = processes.Process(
            target=child.make_and_die, args=(str(tmp_path), 0.02 + 0.015 * number)
        )
        process.start()
        process.join()
        home = home_in(str(tmp_path))
        if home.exists():
            with home.open("a test") as index:
                assert index.count() == 0
            home.drop()
        home.create()
        home.drop()
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    wanted = ("segment.json", "version.info", "page_0.dat", "tracker.dat", "open-1")
    return [path for path in sorted(folder.rglob("*")) if path.name in wanted]


def test_a_damaged_index_says_how_to_make_it_anew(
    home: EmbeddedHome, state: Path
) -> None:
    """Truncated files are told, never read as something else."""
    index_folder = state / "index"
    whole = state / "whole"
    shutil.copytree(index_folder, whole)
    damages: list[str] = []
    for path in _files(whole):
        shutil.rmtree(index_folder)
        shutil.copytree(whole, index_folder)
        os.truncate(index_folder / path.relative_to(whole), 0)
        try:
            with home.open("a test") as index:
                assert index.count() == 10
                assert len(list(index.places())) == 10
                assert len(index.search("parser").hits) == 10
        except IndexDamagedError as error:
            damages.append(str(error))
    assert len(damages) >= 6
    assert all("learning-pipeline index rebuild" in damage for damage in damages)
    home.drop()
    home.create()


@pytest.mark.parametrize(
    "text",
    [
        "Failed to open: Permission denied (os error 13)",
        "Failed to open: Operation not permitted (os error 1)",
        "service error: (os error 1)",
    ],
)
@pytest.mark.parametrize("is_reading", [False, True])
def test_what_may_not_be_opened_is_not_called_damaged(
    home: EmbeddedHome,
    text: str,
    is_reading: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """Made anew it would be forbidden all the same."""
    with (
        pytest.raises(PatternIndexError, match="may not be read or written") as caught,
        home.explained(is_reading=is_reading),
    ):
        raise RuntimeError(text)
    assert not isinstance(caught.value, IndexDamagedError)
    assert "rebuild" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b'{"format":2,"index_id":"a","vectors":"b"}']
)
def test_an_index_without_a_name_is_moved_aside(
    home: EmbeddedHome, state: Path, content: bytes
) -> None:
    """It may be another program's, so it is kept; a new one can be made."""
    (state / "index" / "learning_pipeline.json").write_bytes(content)
    assert home.exists()
    with pytest.raises(IndexDamagedError, match="index rebuild"):
        home.identity()
    with pytest.raises(IndexDamagedError), home.open("a test"):
        pass
    home.drop()
    assert not home.exists()
    (aside,) = state.glob("index.damaged-*")
    assert (aside / "segments").is_dir()
    home.create()


def test_the_folder_of_another_is_not_deleted(tmp_path: Path) -> None:
    """Even a folder that is no index at all."""
    theirs = tmp_path / "index" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.write_text("three years")
    home = home_in(str(tmp_path))
    with pytest.raises(PatternIndexError):
        home.create()
    home.drop()
    (kept,) = tmp_path.glob("index.damaged-*/thesis.txt")
    assert kept.read_text() == "three years"


def _linked_elsewhere(state: Path) -> Path:
    elsewhere = state / "other disk"
    (state / "index").rename(elsewhere)
    (state / "index").symlink_to(elsewhere)
    return elsewhere


def test_an_index_behind_a_link_is_made_anew(home: EmbeddedHome, state: Path) -> None:
    """The link goes, and all files of the index that it leads to."""
    elsewhere = _linked_elsewhere(state)
    with home.open("a test") as index:
        assert index.count() == 10
    home.drop()
    assert not os.path.lexists(state / "index")
    assert list(elsewhere.iterdir()) == []
    home.create()
    with home.open("a test") as index:
        assert index.count() == 0
    assert not list(state.glob("index.old-*"))


def test_a_link_that_a_kill_left_does_not_block_the_next_index(
    home: EmbeddedHome, state: Path
) -> None:
    """Killed once the index has lost its name, whether its files were there or not."""
    elsewhere = _linked_elsewhere(state)
    (state / "index").rename(state / f"index.old-{'a' * 32}")
    (state / f"index.old-{'b' * 32}").symlink_to(state / "nowhere")
    home.create()
    assert home.exists()
    assert list(elsewhere.iterdir()) == []
    assert not list(state.glob("index.old-*"))


@pytest.mark.parametrize("is_dropped", [True, False])
@pytest.mark.parametrize("target", ["nowhere", "index"])
def test_a_link_that_leads_nowhere_does_not_block_the_next_index(
    tmp_path: Path,
    target: str,
    is_dropped: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """To what is gone, or to itself."""
    home = home_in(str(tmp_path))
    (tmp_path / "index").symlink_to(tmp_path / target)
    if is_dropped:
        home.drop()
        assert not os.path.lexists(tmp_path / "index")
    home.create()
    with home.open("a test") as index:
        assert index.count() == 0
    assert not (tmp_path / "index").is_symlink()


def test_a_link_to_the_folder_of_another_is_moved_aside(tmp_path: Path) -> None:
    """What it leads to stays as it is."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("three years")
    (tmp_path / "index").symlink_to(theirs)
    home = home_in(str(tmp_path))
    home.drop()
    home.create()
    assert (theirs / "thesis.txt").read_text() == "three years"
    (aside,) = tmp_path.glob("index.damaged-*")
    assert aside.is_symlink()


def test_the_identity_is_stored_like_this(home: EmbeddedHome, state: Path) -> None:
    """Golden: later versions read it."""
    identity = home.identity()
    assert identity is not None
    stored = json.loads((state / "index" / "learning_pipeline.json").read_bytes())
    assert stored == {
        "format": 1,
        "index_id": identity.index_id,
        "vectors": "bm25:1",
    }
    assert len(identity.index_id) == 32


def test_a_program_that_takes_no_turns_is_noticed(home: EmbeddedHome) -> None:
    """The engine's own lock is told as what it is."""
    shard = edge.EdgeShard.load(home.target)
    try:
        with (
            pytest.raises(IndexBusyError, match="another program"),
            home.open("a test"),
        ):
            pass
    finally:
        shard.close()


def test_an_index_that_was_closed_says_so(home: EmbeddedHome) -> None:
    """And closing twice is harmless."""
    with home.open("a test") as index:
        pass
    index.close()
    with pytest.raises(PatternIndexError, match="closed"):
        index.count()


def test_large_indexes_are_written_out_and_stay_whole(
    home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once there are many points in memory the engine maps them from disk."""
    monkeypatch.setattr(embedded, "_WRITTEN_OUT_KB", 100)
    home.drop()
    home.create()
    with home.open("a test") as index:
        for start in range(0, 3_000, 500):
            index.upsert([example(each) for each in range(start, start + 500)])
            index.flush()
        index.upsert([example(7, partition="moved.jsonl")])
        index.delete([example(8).content_hash])
        assert index._engine.info().segments_count > 2
        assert index.count() == 2_999
    with home.open("a test") as index:
        assert index.count() == len({each.content_hash for each in index.places()})
        assert index.search("number7").hits[0].partition == "moved.jsonl"
        assert not index.search("number8").hits
