"""Compare-and-swap: of all claims on a file only the newest can move it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import FencedError
from learning_pipeline.store import Claim, StageSession, Store
from learning_pipeline_tests.store import child
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    batch_output,
    begin,
    commit_to,
    contents,
    open_session,
    process,
)

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

Write = Callable[[StageSession, Claim], object]

WRITES: dict[str, Write] = {
    "commit": lambda session, claim: commit_to(session, claim, 300),
    "begin_generation": lambda session, claim: begin(session, claim, generation=1),
    "finish_pass": lambda session, claim: session.finish_pass(
        claim, seen_signature="seen", size_bytes=300
    ),
}
write_of_any_kind = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@write_of_any_kind
def test_an_older_claim_writes_nothing_and_the_newest_goes_on(
    store: Store, store_url: str, write: Write
) -> None:
    """The zombie of a killed run is fenced, with an error that says so."""
    with (
        open_session(store, run_id="zombie") as zombie,
        open_session(store, run_id="newest") as newest,
    ):
        old = commit_to(zombie, begin(zombie, zombie.claim(PARTITION)), 200)
        new = newest.claim(PARTITION)
        before = contents(store_url)
        with pytest.raises(FencedError, match="another run") as caught:
            write(zombie, old)
        assert contents(store_url) == before
        assert (caught.value.stage, caught.value.partition) == (STAGE, PARTITION)
        assert not caught.value.retryable

        new = commit_to(newest, new, 300)
    assert store.checkpoints() == [new.checkpoint]
    rows = batch_output(0, 300).rows
    assert [row["offset"] for row in store.iterate_patterns()] == [
        row[0] for row in rows
    ]


@write_of_any_kind
@pytest.mark.parametrize("take_back", ["rewind", "clear", "replay"])
def test_taking_work_back_fences_the_run_that_is_under_way(
    store: Store, store_url: str, write: Write, take_back: str
) -> None:
    """It read ahead of the point to which its file went back."""
    with open_session(store) as session:
        claim = commit_to(session, begin(session, session.claim(PARTITION)), 200)
        if take_back == "rewind":
            # To where it stands: no offset moves, and still it is another history.
            store.rewind(stage=STAGE, partition=PARTITION, to_offset=200)
        elif take_back == "clear":
            store.clear(stage=STAGE, partition=PARTITION)
        else:
            store.replay(stage=STAGE, partition=PARTITION, replayed_by="run-9")
        before = contents(store_url)
        with pytest.raises(FencedError):
            write(session, claim)
        assert contents(store_url) == before
        # The fence alone would do: it moved, as for a new claim.
        assert session.claim(PARTITION).fence == claim.fence + 2


@write_of_any_kind
@pytest.mark.parametrize("end_offset", [0, 100])
def test_a_claim_from_before_a_commit_of_the_same_run_is_refused(
    store: Store, store_url: str, write: Write, end_offset: int
) -> None:
    """The fence is the same, the offset or the generation is not."""
    with open_session(store) as session:
        stale = session.claim(PARTITION)
        commit_to(session, begin(session, stale), end_offset)
        before = contents(store_url)
        with pytest.raises(FencedError):
            write(session, stale)
        assert contents(store_url) == before


def test_claims_of_other_stages_and_files_do_not_fence(store: Store) -> None:
    """A fence is per stage and partition."""
    with open_session(store) as session:
        first = begin(session, session.claim(PARTITION))
        second = session.claim("b.jsonl")
        commit_to(session, first, 100)
        commit_to(session, second, 100)
    assert [each.offset for each in store.checkpoints()] == [100, 100]


def test_threads_that_claim_at_once_get_different_fences(store: Store) -> None:
    """Each is either before or after another, never beside it."""
    start = threading.Barrier(4)
    fences: list[int] = []

    def claim_often() -> None:
        with open_session(store) as session:
            start.wait(timeout=60)
            fences.extend(session.claim(PARTITION).fence for _ in range(10))

    threads = [threading.Thread(target=claim_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(fences) == list(range(1, 41))


def test_processes_that_create_and_claim_at_once_share_one_database(
    store_url: str, processes: ForkServerContext
) -> None:
    """Whoever creates it, all use it: no fence is given twice."""
    start = processes.Barrier(3)
    ends = [processes.Pipe(duplex=False) for _ in range(3)]
    running = [
        processes.Process(target=child.claim_often, args=(store_url, 5, start, answer))
        for _, answer in ends
    ]
    for process_ in running:
        process_.start()
    fences: list[int] = []
    for (receive, answer), process_ in zip(ends, running, strict=True):
        answer.close()
        fences += receive.recv()
        receive.close()
        process_.join(timeout=60)
        assert process_.exitcode == 0
    assert sorted(fences) == list(range(1, 16))


def test_a_new_claim_starts_where_the_last_commit_ended(store: Store) -> None:
    """And carries the counts that it goes on from."""
    before = process(store, 300)
    with open_session(store, run_id="run-2") as session:
        claim = session.claim(PARTITION)
    assert claim.fence == before.fence + 1
    assert claim.checkpoint.offset == 300
    assert claim.checkpoint.counters == before.checkpoint.counters
    assert claim.checkpoint.run_id == "run-2"


def test_the_newest_generation_is_known_to_every_stage(store: Store) -> None:
    """With the longest prefix that any commit has seen of it."""
    with open_session(store) as session:
        claim = session.claim(PARTITION)
        assert session.known_generations(claim) == []
        claim = commit_to(session, begin(session, claim), 500)
        claim = commit_to(session, begin(session, claim, generation=1), 200)
        _, latest = session.known_generations(claim)
    fingerprint = claim.checkpoint.fingerprint
    assert fingerprint is not None
    assert (latest.number, latest.prefix_length_bytes) == (1, 200)
    assert latest.prefix_digest == fingerprint.prefix_digest
