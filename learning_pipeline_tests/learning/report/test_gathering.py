"""The facts of a report: counted by hand, on each of the stores."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from learning_pipeline.learning.breakers import EMBEDDINGS, Breakers, unavailable
from learning_pipeline.learning.proposals.listing import decide, list_proposals
from learning_pipeline.learning.report.charts import draw_charts
from learning_pipeline.learning.report.wording import headline
from learning_pipeline.store import report_counts, report_days
from learning_pipeline.store.report_counts import state_mark
from learning_pipeline_tests.learning.event_lines import REAL_LINES, line
from learning_pipeline_tests.learning.report.conftest import Reported
from learning_pipeline_tests.store.samples import open_session

REAL_EVENTS, REAL_PATTERNS, REAL_QUALITY = 106, 46, 44


def answered(
    number: int, timestamp: Any = None, kind: str = "local_inference"
) -> bytes:
    """An event that gives an example of its own."""
    return line(
        event=kind,
        query=f"How does one get to station number {number}, please?",
        response=f"Take the train at {number} o'clock from the main station.",
        latency_ms=number + 1,
        timestamp=timestamp,
    )


def test_the_facts_of_the_real_file_are_those_counted_by_hand(
    reported: Reported,
) -> None:
    """And of a copy of it, all of whose examples are duplicates."""
    reported.learn("a.jsonl", *REAL_LINES)
    reported.learn("b.jsonl", *REAL_LINES)
    facts = reported.facts()
    assert facts.files.file_count == 2
    assert facts.files.event_count == 2 * REAL_EVENTS
    assert facts.patterns.pattern_count == 2 * REAL_PATTERNS
    assert [msgspec.structs.astuple(each) for each in facts.patterns.by_kind] == [
        ("agent_step_complete", 2 * REAL_PATTERNS, REAL_QUALITY)
    ]
    examples = facts.examples
    assert examples.example_count == REAL_QUALITY
    assert examples.duplicate_count == REAL_QUALITY
    assert examples.training_threshold_reached
    assert facts.metrics.measured_count == 2 * REAL_PATTERNS
    assert facts.metrics.since == "2026-05-10"
    backends = {each.backend: each for each in facts.metrics.backends}
    assert backends["apparmor-fix-agent"].event_count == 22
    assert backends[None].success_rate == 1.0
    assert facts.proposals.by_status["preliminary"] == 4
    assert [each.sample_count for each in facts.proposals.first] == [2, 2, 2, 2]


def test_examples_by_day_add_up_to_all_of_them(reported: Reported) -> None:
    """Those of the real file, by the day that their lines state."""
    reported.learn("a.jsonl", *REAL_LINES)
    facts = reported.facts()
    exported = [row for row in reported.store.iterate_patterns() if row["quality"]]
    by_day = Counter(row["timestamp"][:10] for row in exported)
    growth = facts.examples.by_day
    assert {each.day: each.example_count for each in growth} == by_day
    assert [each.day for each in growth] == sorted(by_day)
    assert growth[-1].total_count == REAL_QUALITY


def test_what_is_of_no_day_or_of_one_to_come_is_told_apart(
    reported: Reported,
) -> None:
    """The undated count from the start, those to come not at all."""
    times = [None, None, "2026-06-01", "2026-06-01", "2026-06-03", "2999-01-01"]
    lines = [answered(number, at) for number, at in enumerate(times)]
    reported.learn("a.jsonl", *lines)
    facts = reported.facts()
    examples = facts.examples
    assert (examples.undated_count, examples.later_count) == (2, 1)
    assert [msgspec.structs.astuple(each) for each in examples.by_day] == [
        ("2026-06-01", 2, 4),
        ("2026-06-03", 1, 5),
    ]
    assert [each.day for each in facts.metrics.by_day] == ["2026-06-01", "2026-06-03"]
    assert facts.metrics.by_day[0].latency_ms_mean == 3.5


def test_a_report_of_nothing_comes_out(reported: Reported) -> None:
    """Zeros, no day, no picture; the threshold is not reached."""
    facts = reported.facts()
    assert facts.mark == ""
    assert facts.files.file_count == facts.patterns.pattern_count == 0
    assert not facts.examples.training_threshold_reached
    assert facts.examples.by_day == []
    assert facts.metrics.by_day == []
    assert facts.index.target is None
    assert draw_charts(facts) == {}
    assert headline(facts)[0].startswith("0 examples and 0 duplicates; 44 short of")


def test_a_report_comes_out_without_a_telemetry_root(
    reported: Reported, tmp_path: Path
) -> None:
    """It says so; what was learned is there all the same."""
    reported.learn("a.jsonl", *REAL_LINES)
    reported.settings.telemetry_dir.rename(tmp_path / "elsewhere")
    facts = reported.facts()
    assert facts.files.problem is not None
    assert str(reported.settings.telemetry_dir) in facts.files.problem
    assert facts.files.lag_bytes is None
    assert facts.files.file_count == 1
    assert facts.files.gone_count == 0
    assert facts.examples.example_count == REAL_QUALITY
    assert "lag_by_stage" not in draw_charts(facts)
    assert any(facts.files.problem in said for said in headline(facts))


def test_dead_letters_are_counted_by_reason_and_stage(reported: Reported) -> None:
    """Each stage that reads telemetry has its own; the total is the first one's."""
    reported.learn("a.jsonl", b"{broken", b"[1]", b"{}")
    found = reported.facts().dead_letters
    assert found.dead_letter_count == 2
    by_stage = Counter({each.stage: 0 for each in found.by_reason})
    for each in found.by_reason:
        by_stage[each.stage] += each.count
    assert by_stage["interaction_patterns"] == 2
    reasons = {each.reason for each in found.by_reason}
    assert "malformed_json" in reasons


def test_many_kinds_and_days_are_cut_to_the_largest_and_the_last(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left out still counts."""
    monkeypatch.setattr(report_counts, "MAX_GROUPS", 1)
    monkeypatch.setattr(report_days, "MAX_DAYS", 2)
    lines = [
        answered(
            number,
            f"2026-06-{number + 1:02}",
            "local_inference" if number % 3 else "agent_step_complete",
        )
        for number in range(6)
    ]
    reported.learn("a.jsonl", *lines, b"{broken")
    facts = reported.facts()
    assert [each.kind for each in facts.patterns.by_kind] == ["local_inference"]
    assert facts.patterns.pattern_count == 6
    assert [msgspec.structs.astuple(each) for each in facts.examples.by_day] == [
        ("2026-06-05", 1, 5),
        ("2026-06-06", 1, 6),
    ]
    assert len(facts.metrics.by_day) == 2
    assert len(facts.dead_letters.by_reason) == 1


def test_a_service_that_is_left_alone_is_told_with_since_and_why(
    reported: Reported,
) -> None:
    """By its breaker; nobody is asked."""
    settings = reported.settings.model_copy(update={"breaker_failures": 1})
    breaker = Breakers(reported.store, settings).of(EMBEDDINGS)

    def fail() -> None:
        raise unavailable(EMBEDDINGS, "it answered 503")

    with pytest.raises(Exception, match="503"):
        breaker.call(fail)
    facts = reported.facts()
    states = {each.name: each for each in facts.dependencies}
    assert states[EMBEDDINGS].state == "open"
    said = next(each for each in headline(facts) if EMBEDDINGS in each)
    assert said.startswith("embeddings is open since 20")
    assert said.endswith(": it answered 503")


def test_what_waits_for_the_index_is_counted(reported: Reported) -> None:
    """Files that it has not taken over, and changes behind its back."""
    reported.learn("a.jsonl", *REAL_LINES)
    assert reported.facts().index.behind_file_count == 1
    reported.index("a.jsonl")
    assert reported.facts().index.behind_file_count == 0
    reported.store.clear(stage="interaction_patterns", partition="a.jsonl")
    assert reported.facts().index.waiting_change_count == REAL_QUALITY


def test_an_index_that_is_not_to_be_learned_is_said_to_be_left(
    reported: Reported,
) -> None:
    """Nothing is on its way there."""
    reported.learn("a.jsonl", *REAL_LINES)
    only = {"learn_stages": "interaction_patterns"}
    reported.settings = reported.settings.model_copy(update=only)
    facts = reported.facts()
    assert not facts.index.is_learned
    assert "the search index is left as it is" in headline(facts)[3]


def test_the_mark_changes_with_a_commit_and_a_decision_but_not_with_a_claim(
    reported: Reported,
) -> None:
    """So that nothing new makes no report."""
    marks = [state_mark(reported.store)]
    reported.learn("a.jsonl", *REAL_LINES)
    marks.append(state_mark(reported.store))
    with open_session(reported.store, run_id="another") as session:
        session.claim("a.jsonl")
    assert state_mark(reported.store) == marks[-1]
    proposal = list_proposals(reported.store).proposals[0]
    decide(reported.store, proposal.proposal_id, accept=True)
    marks.append(state_mark(reported.store))
    reported.learn("a.jsonl", REAL_LINES[0])
    marks.append(state_mark(reported.store))
    assert len(set(marks)) == len(marks)
    assert reported.facts().mark == marks[-1]


def test_the_facts_are_one_json_document(reported: Reported) -> None:
    """With numbers as numbers."""
    reported.learn("a.jsonl", *REAL_LINES)
    document = json.loads(msgspec.json.encode(reported.facts()))
    assert document["examples"]["example_count"] == REAL_QUALITY
    assert document["files"]["stages"][0]["event_count"] == REAL_EVENTS
    assert document["dependencies"][0]["state"] == "closed"


@pytest.mark.parametrize("day", ["0001-01-03", "2026-06-30"])
def test_backends_are_those_of_the_month_before_the_newest_event(
    reported: Reported, day: str
) -> None:
    """Also where there is hardly a month before it."""
    reported.learn("a.jsonl", answered(1, f"{day}T10:00:00"), answered(2, "2999-01-01"))
    metrics = reported.facts(now=datetime(2026, 6, 30, tzinfo=UTC)).metrics
    first = max(date.fromisoformat(day).toordinal() - 29, 1)
    assert metrics.since == date.fromordinal(first).isoformat()
    assert [each.event_count for each in metrics.backends] == [1]
