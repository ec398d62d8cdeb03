"""Signals in groups, and decisions that outlast them."""

from __future__ import annotations

import threading

from learning_pipeline.model import BatchOutput, Counters, Row
from learning_pipeline.store import Store
from learning_pipeline.store.proposals import (
    StoredDecision,
    find_signals,
    mark_posted,
    posted_urls,
    put_decision,
)
from learning_pipeline.store.schema import signals
from learning_pipeline_tests.store.samples import begin, fingerprint_at, open_session

AT = "2026-05-28T18:00:00.000000Z"
DECIDED = StoredDecision(
    "id", "kind", "subject", decision="rejected", note="no", decided_at=AT
)


def commit(store: Store, partition: str, rows: list[Row]) -> None:
    """Commit signals of a made-up file."""
    with open_session(store, stage="optimization_proposals", table=signals) as session:
        claim = begin(session, session.claim(partition))
        session.commit(
            claim,
            BatchOutput(rows, [], Counters()),
            end_offset=900,
            fingerprint=fingerprint_at(900),
            size_bytes=1000,
        )


def test_groups_say_how_many_since_when_and_up_to_what(store: Store) -> None:
    """Also of signals without times, values and thresholds."""
    later = AT.replace("18:", "19:")
    commit(
        store,
        "b.jsonl",
        [
            (0, 0, "limit", "a", 8.0, 8.0, later),
            (10, 0, "limit", "a", 9.0, 4.0, None),
            (10, 1, "limit", "b", None, None, None),
        ],
    )
    commit(
        store,
        "a.jsonl",
        [
            (0, 0, "limit", "a", 4.0, 4.0, AT),
            (10, 0, "limit", "a", 8.0, 8.0, None),
            (20, 0, "limit", "a", None, None, None),
        ],
    )
    found = find_signals(store, group_count=10, example_count=3)
    first, second = found.groups
    assert (first.subject, first.sample_count) == ("a", 5)
    assert (first.first_seen, first.last_seen) == (AT, later)
    assert (first.most_observed, first.usual_threshold) == (9.0, 8.0)
    assert [(each.partition, each.offset) for each in first.examples] == [
        ("b.jsonl", 0),
        ("a.jsonl", 0),
        ("b.jsonl", 10),
    ]
    assert (second.sample_count, second.first_seen, second.usual_threshold) == (
        1,
        None,
        None,
    )


def test_groups_are_ordered_alike_on_both_stores(store: Store) -> None:
    """By count, then by code point; those left out are counted."""
    subjects = ["b", "Z", "a", "\u00e9", "b"]
    commit(
        store,
        "a.jsonl",
        [
            (10 * number, 0, "limit", subject, None, None, None)
            for number, subject in enumerate(subjects)
        ],
    )
    found = find_signals(store, group_count=10, example_count=1)
    assert [each.subject for each in found.groups] == ["b", "Z", "a", "\u00e9"]
    put_decision(store, StoredDecision("id", "kind", "\u00e9", decision="accepted"))
    few = find_signals(store, group_count=2, example_count=1)
    assert [each.subject for each in few.groups] == ["b", "Z", "\u00e9"]
    assert few.left_out_count == 1


def test_very_many_subjects_are_asked_for_in_parts(store: Store) -> None:
    """More than a statement takes parameters comfortably; no example is lost."""
    rows: list[Row] = [
        (offset, 0, "limit", f"s{offset}", 1.0, 1.0, None) for offset in range(850)
    ]
    commit(store, "a.jsonl", rows)
    found = find_signals(store, group_count=700, example_count=5)
    assert len(found.groups) == 700
    assert found.left_out_count == 150
    assert all(len(each.examples) == 1 for each in found.groups)


def test_a_decision_and_a_post_do_not_undo_each_other(store: Store) -> None:
    """Each is remembered beside the other, in whatever order."""
    posted = StoredDecision("id", "kind", "subject", posted_at=AT)
    mark_posted(store, posted, url="http://a/")
    assert put_decision(store, DECIDED) == StoredDecision(
        "id", "kind", "subject", posted_to="http://a/", posted_at=AT
    )
    mark_posted(store, posted, url="http://b/")
    mark_posted(store, posted, url="http://a/")
    (stored,) = find_signals(store, group_count=1, example_count=1).decisions
    assert posted_urls(stored) == ["http://a/", "http://b/"]
    assert (stored.decision, stored.note, stored.decided_at) == ("rejected", "no", AT)
    assert posted_urls(None) == []


def test_decisions_at_once_leave_one(store: Store) -> None:
    """The last one, whole."""
    failures: list[BaseException] = []

    def decide(number: int) -> None:
        try:
            put_decision(
                store,
                StoredDecision(
                    "id", "kind", "s", decision="accepted", note=str(number)
                ),
            )
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    (stored,) = find_signals(store, group_count=1, example_count=1).decisions
    assert stored.note in {str(number) for number in range(4)}
