"""Proposals: made of signals, decided for ever."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning_pipeline.errors import UnknownProposalError
from learning_pipeline.learning.proposals import listing
from learning_pipeline.learning.proposals.composing import Proposal, proposal_id_of
from learning_pipeline.learning.proposals.listing import (
    decide,
    find_proposal,
    list_proposals,
)
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.event_lines import REAL_LINES, line
from learning_pipeline_tests.learning.learned import learn, write_lines
from learning_pipeline_tests.learning.proposals.samples import limit_hit, refused

STAGE = "optimization_proposals"

MIXED = [
    *(limit_hit(number, limit=8 if number % 3 else 12) for number in range(24)),
    *(refused(number) for number in range(7)),
    line(event="task_failed", error="timed out after 30s", duration_seconds=31),
    line(event="x_failed", service="aidb", message="timed out", elapsed_seconds=2.5),
    line(event="task_completed", task={"prompt": "Deploy it", "iteration": 14}),
    *(line(event="task_completed", total_iterations=2) for _ in range(3)),
]


def by_kind(store: Store) -> dict[str, Proposal]:
    """The proposals by kind, of which each has one."""
    return {each.kind: each for each in list_proposals(store).proposals}


@pytest.fixture
def learned(store: Store, tmp_path: Path) -> Store:
    """Signals of every kind, in two files."""
    write_lines(tmp_path, "b.jsonl", MIXED[:20])
    write_lines(tmp_path, "a.jsonl", MIXED[20:])
    learn(store, tmp_path, "b.jsonl", "a.jsonl")
    return store


def test_the_real_file_gives_its_known_proposals(store: Store, tmp_path: Path) -> None:
    """A check before work begins for each of four zones, all preliminary."""
    write_lines(tmp_path, "hybrid-events.jsonl", REAL_LINES)
    learn(store, tmp_path, "hybrid-events.jsonl")
    found = list_proposals(store)
    assert [(each.kind, each.subject, each.status) for each in found.proposals] == [
        ("add_preflight_check", zone, "preliminary")
        for zone in ("aidb", "dashboard", "hybrid-coordinator", "switchboard")
    ]
    (place,) = found.proposals[0].evidence.examples
    assert (place.partition, place.generation, place.offset) == (
        "hybrid-events.jsonl",
        0,
        73_774,
    )
    assert found.left_out_count == 0


def test_a_limit_that_is_hit_is_to_be_raised_by_a_quarter(learned: Store) -> None:
    """The one that was hit most often; rounded up; with its evidence."""
    found = by_kind(learned)["raise_iteration_limit"]
    assert found.status == "proposed"
    assert found.title == "Raise the iteration limit of debugging tasks by 25 %"
    assert found.rationale == (
        "24 events (of 24 of debugging) ended at the iteration limit, most often 8; "
        "up to 12 iterations were needed."
    )
    assert msgspec.structs.astuple(found.change) == (
        "iteration limit of debugging tasks",
        "8",
        "10",
    )
    evidence = found.evidence
    assert (evidence.sample_count, evidence.task_count) == (24, 24)
    assert evidence.first_seen == "2026-05-28T18:00:00.000000Z"
    assert evidence.last_seen == "2026-05-28T18:00:23.000000Z"
    assert [each.event_timestamp for each in evidence.examples] == [
        f"2026-05-28T18:00:{second}.000000Z" for second in (23, 22, 21, 20, 19)
    ]
    assert [each.partition for each in evidence.examples] == [
        *("a.jsonl", "a.jsonl", "a.jsonl", "a.jsonl", "b.jsonl")
    ]


@pytest.mark.parametrize(
    ("limit", "to"),
    [(1, "2"), (4, "5"), (5, "7"), (8, "10"), (2**31 - 1, "2684354559")],
)
def test_a_limit_is_rounded_up(
    sqlite_url: str, tmp_path: Path, limit: int, to: str
) -> None:
    """So that it always grows."""
    write_lines(tmp_path, "a.jsonl", [limit_hit(limit=limit)])
    with Store(sqlite_url) as store:
        learn(store, tmp_path, "a.jsonl", stages=STAGE)
        assert by_kind(store)["raise_iteration_limit"].change.to_value == to


def test_every_kind_says_what_to_change(learned: Store) -> None:
    """From what to what; what is not known is said."""
    found = by_kind(learned)
    assert {
        kind: (each.subject, each.change.from_value, each.change.to_value)
        for kind, each in found.items()
    } == {
        "raise_iteration_limit": ("debugging", "8", "10"),
        "add_preflight_check": (
            "qdrant",
            None,
            "connect to qdrant before a task begins; wait or fail early",
        ),
        "raise_task_timeout": ("general", "30 s", "36 s"),
        "raise_service_timeout": (
            "aidb",
            None,
            "20 % more than now; no event states the limit",
        ),
        "reduce_iterations": (
            "deployment",
            "10 iterations or more",
            "smaller tasks, or prompts that name files, constraints and the goal",
        ),
    }
    assert found["raise_task_timeout"].rationale == (
        "1 event (of 4 of general) ran out of time, most often after 30 s allowed; "
        "up to 31 s were taken."
    )
    assert found["add_preflight_check"].evidence.task_count is None


def test_twenty_samples_make_it_a_proposal(sqlite_url: str, tmp_path: Path) -> None:
    """Nineteen are preliminary; the id stays."""
    write_lines(tmp_path, "a.jsonl", [refused(number) for number in range(19)])
    with Store(sqlite_url) as store:
        learn(store, tmp_path, "a.jsonl", stages=STAGE)
        (before,) = list_proposals(store).proposals
        write_lines(tmp_path, "a.jsonl", [refused(19)])
        learn(store, tmp_path, "a.jsonl", stages=STAGE)
        (after,) = list_proposals(store).proposals
    assert (before.status, after.status) == ("preliminary", "proposed")
    assert before.proposal_id == after.proposal_id == "5b4fe6c6b8dc604c"
    assert before.proposal_id == proposal_id_of("add_preflight_check", "qdrant")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(st.integers(1, 40), st.integers(0, len(MIXED)), st.booleans())
def test_any_history_gives_the_same_proposals(
    tmp_path_factory: pytest.TempPathFactory,
    interval: int,
    cut: int,
    replayed: bool,  # noqa: FBT001
) -> None:
    """Other batches, another order of files, a replay, a clear."""
    folder = tmp_path_factory.mktemp("history")
    write_lines(folder, "a.jsonl", MIXED[20:])
    write_lines(folder, "b.jsonl", MIXED[:20])
    with Store(f"sqlite:///{folder / 'one.db'}") as store:
        learn(store, folder, "a.jsonl", "b.jsonl")
        expected = list_proposals(store)
    with Store(f"sqlite:///{folder / 'other.db'}") as store:
        write_lines(folder / "grow", "b.jsonl", MIXED[:20])
        write_lines(folder / "grow", "a.jsonl", MIXED[20:][:cut])
        learn(store, folder / "grow", "b.jsonl", "a.jsonl", interval=interval)
        write_lines(folder / "grow", "a.jsonl", MIXED[20:][cut:])
        if replayed:
            store.replay(stage=STAGE, partition="a.jsonl", replayed_by="run-2")
            store.clear(stage=STAGE, partition="b.jsonl")
        learn(store, folder / "grow", "a.jsonl", "b.jsonl")
        assert list_proposals(store) == expected


def test_a_rejected_proposal_never_comes_back(learned: Store, tmp_path: Path) -> None:
    """Through clear, replay and new evidence; its evidence may grow."""
    (chosen,) = [
        each
        for each in list_proposals(learned).proposals
        if each.kind == "add_preflight_check"
    ]
    decided = decide(
        learned, chosen.proposal_id, accept=False, note="bob@example.com knows", now="t"
    )
    assert decided.before is None
    assert decided.proposal == find_proposal(learned, chosen.proposal_id)
    assert decided.proposal.status == "rejected"
    assert decided.proposal.note == "[REDACTED:email] knows"
    for partition in ("a.jsonl", "b.jsonl"):
        learned.clear(stage=STAGE, partition=partition)
    cleared = find_proposal(learned, chosen.proposal_id)
    assert (cleared.status, cleared.evidence.sample_count) == ("rejected", 0)
    assert cleared.title == chosen.title
    write_lines(tmp_path, "a.jsonl", [refused(number) for number in range(30)])
    learn(learned, tmp_path, "a.jsonl", "b.jsonl")
    again = by_kind(learned)["add_preflight_check"]
    assert (again.status, again.evidence.sample_count) == ("rejected", 37)
    assert (again.note, again.decided_at) == ("[REDACTED:email] knows", "t")


def test_deciding_again_the_other_way_is_allowed_and_said(learned: Store) -> None:
    """The last decision counts."""
    chosen = list_proposals(learned).proposals[0]
    assert decide(learned, chosen.proposal_id, accept=True, note="a").before is None
    again = decide(learned, chosen.proposal_id, accept=False)
    assert again.before == "accepted"
    assert (again.proposal.status, again.proposal.note) == ("rejected", None)
    assert [each.status for each in list_proposals(learned).proposals].count(
        "rejected"
    ) == 1


def test_a_list_is_of_the_statuses_asked_for(learned: Store) -> None:
    """The most samples first."""
    first = list_proposals(learned).proposals[0]
    decide(learned, first.proposal_id, accept=True)
    assert list_proposals(learned, statuses=["proposed"]).proposals == []
    accepted = list_proposals(learned, statuses=["accepted", "rejected"]).proposals
    assert [each.proposal_id for each in accepted] == [first.proposal_id]
    counts = [each.evidence.sample_count for each in list_proposals(learned).proposals]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("wrong", ["", "zz", "0" * 17, "%", "'"])
def test_an_unknown_id_is_refused(learned: Store, wrong: str) -> None:
    """With the command that shows them."""
    with pytest.raises(UnknownProposalError, match="proposals list"):
        decide(learned, wrong, accept=True)


def test_the_beginning_of_several_ids_is_refused(store: Store, tmp_path: Path) -> None:
    """It names them; one that is unique is enough."""
    lines = [refused(host=f"host{number}") for number in range(17)]
    write_lines(tmp_path, "a.jsonl", lines)
    learn(store, tmp_path, "a.jsonl", stages=STAGE)
    ids = [each.proposal_id for each in list_proposals(store).proposals]
    shared = next(
        each[0] for each in ids if sum(other[0] == each[0] for other in ids) > 1
    )
    with pytest.raises(UnknownProposalError, match="several"):
        find_proposal(store, shared)
    assert find_proposal(store, ids[0][:12].upper()).proposal_id == ids[0]


def test_too_many_subjects_are_left_out_and_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the fewest samples; not those that were decided."""
    lines = [refused(host=f"h{n}") for n in range(6) for _ in range(6 - n)]
    write_lines(tmp_path, "a.jsonl", lines)
    learn(store, tmp_path, "a.jsonl", stages=STAGE)
    decide(store, proposal_id_of("add_preflight_check", "h5"), accept=False)
    monkeypatch.setattr(listing, "MAX_PROPOSALS", 3)
    found = list_proposals(store)
    assert [each.subject for each in found.proposals] == ["h0", "h1", "h2", "h5"]
    assert found.left_out_count == 2
