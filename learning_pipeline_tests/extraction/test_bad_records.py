"""Every record has an outcome, whatever its bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.extraction import PatternExtractor, decode_event
from learning_pipeline.model import Counters, DeadLetter, Record, RecordBatch
from learning_pipeline_tests.extraction.extraction_records import (
    NOWHERE,
    batch_of,
    records_of,
    run,
    step,
)

EXTRACTOR = PatternExtractor()


def nested(depth: int, kind: str = "heartbeat") -> bytes:
    """Make an event with so many arrays in one another, in an object."""
    return b'{"event":"%s","x":%s1%s}' % (kind.encode(), b"[" * depth, b"]" * depth)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "malformed_json"),
        (b"{} {}", "malformed_json"),
        (b"{'event': 1}", "malformed_json"),
        (b'{"x": NaN}', "malformed_json"),
        (b'{"x": Infinity}', "malformed_json"),
        (b'{"x": 01}', "malformed_json"),
        (b'{"x": [1,]}', "malformed_json"),
        (b'{"x": "\t"}', "malformed_json"),
        (b'{"x": "\\x"}', "malformed_json"),
        (b'{"event": 1', "malformed_json"),
        (b"[1,", "malformed_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"17", "not_an_object"),
        (b'{"x": "\xff"}', "invalid_utf8"),
        (b'{"\xc3": 1}', "invalid_utf8"),
        (b'{"event": "\xed\xa0\x80"}', "invalid_utf8"),
        (b'{"x": "\x00"}', "nul_bytes"),
        (b"\x00" * 100, "nul_bytes"),
        (nested(500), "nesting_too_deep"),
        (nested(1_000_000), "nesting_too_deep"),
        (b'{"x":' * 1_000_000, "nesting_too_deep"),
        (nested(600, "task_completed"), "nesting_too_deep"),
        (b'{"x": "\\ud800"}', "lone_surrogate"),
        (b'{"x": "\\udc00 and text"}', "lone_surrogate"),
        (b'{"event": 5}', "wrong_field_type"),
        (b'{"event": {}, "event_type": "error_resolution"}', "wrong_field_type"),
        (b'{"event_type": 5}', "wrong_field_type"),
        (step(query=5), "wrong_field_type"),
        (step(latency_ms="5"), "wrong_field_type"),
        (step(latency_ms=True), "wrong_field_type"),
        (step(backend=["b"]), "wrong_field_type"),
        (b'{"event":"task_completed","task":"t"}', "wrong_field_type"),
        (step(query="a\0b"), "nul_bytes"),
        (step(context={"k": "a\0b"}), "nul_bytes"),
    ],
)
def test_a_bad_record_becomes_a_dead_letter(raw: bytes, reason: str) -> None:
    """Its neighbours are processed all the same."""
    output = run(step(), raw, step())
    (letter,) = output.dead_letters
    assert letter.reason == reason
    assert (letter.start_offset, letter.end_offset) == (
        len(step()) + 1,
        len(step()) + 1 + len(raw) + 1,
    )
    assert len(output.rows) == 2
    assert len(letter.raw) <= 4096


@pytest.mark.parametrize(
    "raw",
    [
        b'{"event":"heartbeat","latency_ms":"x","task":5,"query":[]}',
        b'{"event":"heartbeat","event_type":5}',
        b'{"event":"heartbeat","x":1e999,"y":' + b"9" * 5000 + b"}",
        b'{"event":"heartbeat","x":"\\ud83d\\ude00"}',
        b"{}",
        b'{"event":null}',
        nested(499),
        json.dumps({"x": "[{" * 1000 + '\\"'}).encode(),
    ],
)
def test_what_an_ignored_event_holds_does_not_matter(raw: bytes) -> None:
    """As long as it is JSON."""
    output = run(raw)
    assert (output.counters.ignored_count, output.counters.event_count) == (1, 1)
    assert not output.dead_letters


def test_details_do_not_quote_the_text() -> None:
    """A dead letter is shown to people who may not see the telemetry."""
    for raw in (step(query=["hush"]), b'{"hush": hush}', b'{"event": ["hush"]}'):
        (letter,) = run(raw).dead_letters
        assert "hush" not in letter.detail


def test_a_dead_letter_is_redacted_before_it_is_cut() -> None:
    """No half of a secret is kept at the cut."""
    secret = b"ghp_" + b"a1B2" * 9
    for at in range(4040, 4100):
        (letter,) = run(b"{" + b"x " * (at // 2) + secret).dead_letters
        assert b"ghp_" not in letter.raw


def test_the_end_of_a_line_that_the_reader_cut_is_dropped() -> None:
    """A secret may have begun there that nobody can recognise."""
    rejected = DeadLetter(0, 20_000, "record_too_long", "", b"x " * 1000 + b"ghp_a1B2")
    late = records_of([b"y" * 20_000, b"{"])[1]
    output = EXTRACTOR(RecordBatch(0, 20_002, [late], [rejected], 0, NOWHERE))
    assert [letter.start_offset for letter in output.dead_letters] == [0, 20_001]
    assert b"ghp" not in output.dead_letters[0].raw
    assert output.counters.record_count == 2


def test_no_raw_bytes_are_kept_when_none_are_wanted() -> None:
    """The limit may be zero."""
    (letter,) = run(b"{", extractor=PatternExtractor(None, 0)).dead_letters
    assert letter.raw == b""


def test_kinds_are_counted_under_names_that_are_safe_to_store() -> None:
    """Redacted, without control characters, at most 100 characters."""
    secret = "ghp_" + "a1B2" * 9
    lines = [
        json.dumps({"event": kind}).encode()
        for kind in ("a\0b\n", "k" * 10_000, secret, "")
    ]
    counters = run(*lines, b'{"event": 7}').counters
    assert counters.events_by_kind == {
        "ab": 1,
        "k" * 100: 1,
        "[REDACTED:github_token]": 1,
        "(none)": 2,
    }
    assert counters.event_count == 5


def test_one_event_decodes_by_the_same_rules() -> None:
    """A stage of a user's own rejects what the patterns stage rejects."""
    assert decode_event(Record(0, 8, b'{"a":1}')) == {"a": 1}
    bad = decode_event(Record(3, 9, b'"\xff"'))
    assert isinstance(bad, DeadLetter)
    assert (bad.start_offset, bad.reason) == (3, "invalid_utf8")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
field_names = st.sampled_from(
    ["query", "response", "latency_ms", "task", "context", "timestamp", "iterations"]
)
kinds = st.sampled_from(
    ["task_completed", "error_resolution", "agent_step_complete", "heartbeat"]
)
events = st.builds(
    lambda kind, fields: {"event": kind, **fields},
    kinds,
    st.dictionaries(field_names | st.text(max_size=4), json_values, max_size=5),
)
event_lines = events.map(lambda event: json.dumps(event).encode())


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """An event with a few bytes replaced, inserted or lost."""
    line = draw(event_lines | st.just(step()))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(line)))
        stop = min(start + draw(st.integers(0, 3)), len(line))
        line = line[:start] + draw(st.binary(max_size=3)) + line[stop:]
    return line


lines = damaged_lines() | st.binary(max_size=60)


def is_json_object(raw: bytes) -> bool:
    """What the standard library says, without its extensions."""

    def refuse(_: str) -> None:
        raise ValueError

    try:
        text = raw.decode()
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return isinstance(value, dict)


@given(lines)
def test_a_line_is_an_event_when_the_standard_library_says_so(raw: bytes) -> None:
    """Also in the fields that the parser skips."""
    is_event = run(raw, extractor=EXTRACTOR).counters.event_count == 1
    assert is_event == is_json_object(raw)


@given(st.lists(lines, max_size=8))
def test_every_record_is_accounted_for(raws: list[bytes]) -> None:
    """As rows, dead letter, ignored or not taken; never more than one of them."""
    output = run(*raws, extractor=EXTRACTOR)
    counters = output.counters
    assert counters.record_count == len(raws)
    rows = {row[0] for row in output.rows}
    letters = {letter.start_offset for letter in output.dead_letters}
    assert len(letters) == len(output.dead_letters) == counters.dead_letter_count
    assert not rows & letters
    assert len(rows) + len(letters) + counters.ignored_count <= len(raws)
    assert sum(counters.events_by_kind.values()) == counters.event_count
    for row in output.rows:
        assert "\0" not in row[3] + row[4]
        json.loads(row[8])
        if row[7] is not None:
            json.loads(row[7])


@given(st.lists(lines, max_size=8), st.data())
def test_any_split_into_batches_gives_the_same(
    raws: list[bytes], data: st.DataObject
) -> None:
    """Rows, dead letters and counts."""
    records = records_of(raws)
    cut = data.draw(st.integers(0, len(records)))
    whole = EXTRACTOR(batch_of(records))
    parts = [EXTRACTOR(batch_of(part)) for part in (records[:cut], records[cut:])]
    assert whole.rows == [*parts[0].rows, *parts[1].rows]
    assert whole.dead_letters == [*parts[0].dead_letters, *parts[1].dead_letters]
    assert whole.counters == Counters() + parts[0].counters + parts[1].counters
