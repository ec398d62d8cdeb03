"""A corpus of nasty lines in one file, each with what becomes of it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline.model import Progress
from learning_pipeline_tests.extraction.extraction_records import step
from learning_pipeline_tests.stages.engine import Engine

PATTERN = "a pattern"
NOT_TAKEN = "an event of a kind that gives patterns, but not this one"
IGNORED = "an event of another kind"
BLANK = "no record"
MALFORMED = "malformed_json"
NO_OBJECT = "not_an_object"
BAD_UTF8 = "invalid_utf8"
NUL = "nul_bytes"
DEEP = "nesting_too_deep"
SURROGATE = "lone_surrogate"
WRONG_TYPE = "wrong_field_type"
TOO_LONG = "record_too_long"

MARK = b"\xef\xbb\xbf"
HEALTHY = step()
SECRET = "ghp_" + "a1B2" * 9


def event(kind: str, **fields: Any) -> bytes:
    """An event of a kind."""
    return json.dumps({"event": kind, **fields}).encode()


def task(**fields: Any) -> bytes:
    """A completed task."""
    return event("task_completed", task={"prompt": "p", "output": "o", **fields})


def error(**fields: Any) -> bytes:
    """A resolved error."""
    fields = {"error_description": "e", "solution": "s", **fields}
    return event("error_resolution", **fields)


def valued(**fields: Any) -> bytes:
    """A valued interaction."""
    fields = {"query": "q", "response": "r", "value_score": 0.9, **fields}
    return event("interaction_recorded", **fields)


def spelled(old: bytes, new: bytes) -> bytes:
    """The healthy line, with a part spelled as `json.dumps` would not."""
    assert old in HEALTHY
    return HEALTHY.replace(old, new, 1)


def padded(length_bytes: int) -> bytes:
    """A healthy line of this length."""
    return step(context="c" * (length_bytes - len(step(context=""))))


LINES: dict[str, tuple[bytes, str]] = {
    # What is no JSON
    "a single bracket": (b"{", MALFORMED),
    "a comma at the end": (b'{"event": "heartbeat",}', MALFORMED),
    "a comma at the end of an array": (b'{"event": "x", "y": [1,]}', MALFORMED),
    "single quotes": (b"{'event': 'heartbeat'}", MALFORMED),
    "a key without quotes": (b'{event: "heartbeat"}', MALFORMED),
    "a number as a key": (b'{1: "heartbeat"}', MALFORMED),
    "no colon": (b'{"event" "heartbeat"}', MALFORMED),
    "a line comment": (b'{"event": "x"} // all well', MALFORMED),
    "a block comment": (b'{"event": /* which? */ "x"}', MALFORMED),
    "a hash comment": (b"# telemetry of today", MALFORMED),
    "two objects": (HEALTHY + HEALTHY, MALFORMED),
    "two objects with a space": (b"{} {}", MALFORMED),
    "two objects with a comma": (b"{}, {}", MALFORMED),
    "an object and rubbish": (HEALTHY + b" x", MALFORMED),
    "the beginning of a line": (HEALTHY[:40], MALFORMED),
    "the end of a line": (HEALTHY[40:], MALFORMED),
    "NaN": (spelled(b"12", b"NaN"), MALFORMED),
    "Infinity": (spelled(b"12", b"Infinity"), MALFORMED),
    "minus Infinity": (spelled(b"12", b"-Infinity"), MALFORMED),
    "a leading zero": (spelled(b"12", b"012"), MALFORMED),
    "a plus sign": (spelled(b"12", b"+12"), MALFORMED),
    "a hexadecimal number": (spelled(b"12", b"0x12"), MALFORMED),
    "a dot without digits": (spelled(b"12", b"12."), MALFORMED),
    "an exponent without digits": (spelled(b"12", b"12e"), MALFORMED),
    "Python's None": (spelled(b"12", b"None"), MALFORMED),
    "Python's True": (b'{"event": "x", "y": True}', MALFORMED),
    "an unknown escape": (b'{"event": "\\x41"}', MALFORMED),
    "an escape cut short": (b'{"event": "\\u12"}', MALFORMED),
    "a string without an end": (b'{"event": "x}', MALFORMED),
    "a raw tab in a string": (b'{"event": "a\tb"}', MALFORMED),
    "a raw carriage return in a string": (b'{"event": "a\rb"}', MALFORMED),
    "an escape character in a string": (b'{"event": "\x1b[31m"}', MALFORMED),
    "control characters": (b"\x01\x02\x7f", MALFORMED),
    "a vertical tab around it": (b"\x0b" + HEALTHY, MALFORMED),
    "HTML": (b"<html><body>502 Bad Gateway</body></html>", MALFORMED),
    "a log line": (b"2026-01-09 12:00:00 INFO all well", MALFORMED),
    "CSV": (b"agent_step_complete,12,0.5", MALFORMED),
    "YAML": (b"event: heartbeat", MALFORMED),
    "a merge conflict": (b"<<<<<<< HEAD", MALFORMED),
    "a byte order mark inside": (MARK + HEALTHY, MALFORMED),
    "a record separator": (b"\x1e" + HEALTHY, MALFORMED),
    # What is no object
    "an array": (b"[]", NO_OBJECT),
    "an array of objects": (b"[" + HEALTHY + b"]", NO_OBJECT),
    "a string": (b'"heartbeat"', NO_OBJECT),
    "an object in a string": (json.dumps(HEALTHY.decode()).encode(), NO_OBJECT),
    "a number": (b"17", NO_OBJECT),
    "a number that nothing holds": (b"1e999", NO_OBJECT),
    "true": (b"true", NO_OBJECT),
    "null": (b"null", NO_OBJECT),
    # Bytes that are no text
    "a byte that begins nothing": (b'{"event": "\xff"}', BAD_UTF8),
    "a continuation byte alone": (b'{"event": "\x80"}', BAD_UTF8),
    "a character cut short": (b'{"event": "\xe2\x82"}', BAD_UTF8),
    "an overlong slash": (b'{"event": "\xc0\xaf"}', BAD_UTF8),
    "a surrogate as UTF-8": (b'{"event": "\xed\xa0\x80"}', BAD_UTF8),
    "beyond Unicode": (b'{"event": "\xf4\x90\x80\x80"}', BAD_UTF8),
    "Latin-1": ('{"event": "café"}'.encode("latin-1"), BAD_UTF8),
    "invalid UTF-8 in a skipped field": (b'{"event": "x", "y": "\xff"}', BAD_UTF8),
    "invalid UTF-8 in a key": (b'{"\xc3": 1}', BAD_UTF8),
    "invalid UTF-8 after the object": (HEALTHY + b"\xff", BAD_UTF8),
    "gzip": (gzip.compress(HEALTHY, mtime=0).replace(b"\n", b""), NUL),
    "UTF-16": (HEALTHY.decode().encode("utf-16-le"), NUL),
    "UTF-32": (HEALTHY.decode().encode("utf-32-be"), NUL),
    "a NUL": (b"\0", NUL),
    "a hole in the file": (b"\0" * 4096, NUL),
    "a hole before a line": (b"\0" * 100 + HEALTHY, NUL),
    "a NUL in a string": (b'{"event": "a\0b"}', NUL),
    "an escaped NUL in a stored text": (step(query="a\0b"), NUL),
    "an escaped NUL in the context": (step(context={"k": ["a\0b"]}), NUL),
    "an escaped NUL in the backend": (step(backend="a\0b"), NUL),
    # Text that cannot be stored
    "half a surrogate pair": (b'{"event": "x", "y": "\\ud800"}', SURROGATE),
    "the other half": (step(query="\udc00"), SURROGATE),
    "halves in the wrong order": (b'{"event": "\\udc00\\ud800"}', SURROGATE),
    # Too much
    "brackets without an end": (b'{"event": "x", "y": %s' % (b"[" * 500), MALFORMED),
    "nested 501 deep": (
        b'{"event":"x","y":%s%s}' % (b"[" * 500, b"]" * 500),
        DEEP,
    ),
    "nested 500 deep": (b'{"event":"x","y":%s%s}' % (b"[" * 499, b"]" * 499), IGNORED),
    "objects without an end": (b'{"a":' * 10_000, DEEP),
    "a line as long as allowed": (padded(65_536), PATTERN),
    "a line as long as allowed, and CR": (padded(65_536) + b"\r", PATTERN),
    "a line one byte longer": (padded(65_537), TOO_LONG),
    "rubbish longer than allowed": (b"\xff" * 70_000, TOO_LONG),
    "brackets longer than allowed": (b"[" * 70_000, TOO_LONG),
    "spaces longer than allowed": (b" " * 70_000, BLANK),
    # Fields of a wrong type, in what names the kind
    "event is a list": (b'{"event": ["heartbeat"]}', WRONG_TYPE),
    "event is an object": (b'{"event": {"name": "x"}}', WRONG_TYPE),
    "event is a number": (b'{"event": 5}', WRONG_TYPE),
    "event is true": (b'{"event": true}', WRONG_TYPE),
    "event_type is a number": (b'{"event_type": 5}', WRONG_TYPE),
    "event_type is a number, beside an event": (
        b'{"event": "heartbeat", "event_type": 5}',
        IGNORED,
    ),
    # and in each family
    "task is a string": (event("task_completed", task="t"), WRONG_TYPE),
    "task is a list": (event("task_completed", task=[{}]), WRONG_TYPE),
    "task.prompt is a number": (task(prompt=5), WRONG_TYPE),
    "task.output is an object": (task(output={"text": "o"}), WRONG_TYPE),
    "task.iteration is a string": (task(iteration="3"), WRONG_TYPE),
    "task.iteration is true": (task(iteration=True), WRONG_TYPE),
    "task.backend is a list": (task(backend=["b"]), WRONG_TYPE),
    "error_description is a list": (error(error_description=["e"]), WRONG_TYPE),
    "solution is a number": (error(solution=1.5), WRONG_TYPE),
    "resolution_time is a string": (error(resolution_time="12 s"), WRONG_TYPE),
    "query is a number": (step(query=5), WRONG_TYPE),
    "response is a list": (step(response=["r"]), WRONG_TYPE),
    "prompt is false": (step(prompt=False), WRONG_TYPE),
    "latency_ms is a string": (step(latency_ms="12"), WRONG_TYPE),
    "latency_ms is true": (step(latency_ms=True), WRONG_TYPE),
    "latency_ms is a list": (step(latency_ms=[12]), WRONG_TYPE),
    "latency_ms that nothing holds": (spelled(b"12", b"1e999"), WRONG_TYPE),
    "model is an object": (step(model={"name": "m"}), WRONG_TYPE),
    "value_score is a string": (valued(value_score="high"), WRONG_TYPE),
    "value_score is true": (valued(value_score=True), WRONG_TYPE),
    "a wrong type where it is not read": (event("x", latency_ms="y", task=5), IGNORED),
    # Values at the edge
    "latency of 0": (step(latency_ms=0), NOT_TAKEN),
    "a negative latency": (step(latency_ms=-5), NOT_TAKEN),
    "latency of minus 0": (spelled(b"12", b"-0.0"), NOT_TAKEN),
    "no latency": (step(latency_ms=None), NOT_TAKEN),
    "a tiny latency": (step(latency_ms=1e-300), PATTERN),
    "a huge latency": (step(latency_ms=10**18), PATTERN),
    "a latency of 40 digits": (spelled(b"12", b"9" * 40), PATTERN),
    "a task without a task": (event("task_completed"), PATTERN),
    "a task that is null": (event("task_completed", task=None), PATTERN),
    "iterations that are a float": (task(iteration=4.5), PATTERN),
    "too many iterations": (task(iteration=5.5), NOT_TAKEN),
    "iterations of 1e308": (task(iteration=1e308), NOT_TAKEN),
    "negative iterations": (task(iteration=-(10**30)), PATTERN),
    "a score just too low": (valued(value_score=0.6999999), NOT_TAKEN),
    "a score just high enough": (valued(value_score=0.7), PATTERN),
    "no score": (valued(value_score=None), NOT_TAKEN),
    "an empty prompt": (step(query=""), NOT_TAKEN),
    "a prompt of white space": (step(query=" \t\n\u00a0\u2003"), NOT_TAKEN),
    "a response of white space": (step(response="\r\n"), NOT_TAKEN),
    "an error without texts": (event("error_resolution"), PATTERN),
    "texts that are cut": (step(query="q" * 20_000, response="r" * 20_000), PATTERN),
    "a secret": (step(response=f"Use {SECRET} to log in."), PATTERN),
    "a secret in the context": (step(context={"token": SECRET}), PATTERN),
    "a timestamp that is none": (step(timestamp="yesterday"), PATTERN),
    "a timestamp in the year 99999": (step(timestamp=3_093_527_980_800), PATTERN),
    "a timestamp that is an object": (step(timestamp={"s": 1}), PATTERN),
    "a context of huge numbers": (
        spelled(b"12", b'12, "context": {"n": 1e999}'),
        PATTERN,
    ),
    # Odd, but JSON
    "an empty object": (b"{}", IGNORED),
    "event is null": (b'{"event": null}', IGNORED),
    "event_type is null": (b'{"event_type": null}', IGNORED),
    "event is empty": (b'{"event": "", "event_type": ""}', IGNORED),
    "event is null, event_type is not": (
        spelled(b"{", b'{"event": null, '),
        PATTERN,
    ),
    "a kind of 10,000 characters": (event("k" * 10_000), IGNORED),
    "a kind in another script": ("{'event': 'événement ☃'}".encode(), MALFORMED),
    "a kind in another script, in JSON": ('{"event": "événement ☃"}'.encode(), IGNORED),
    "a kind with control characters": (event("a\0\x1b[31m\n"), IGNORED),
    "a kind that is a secret": (event(SECRET), IGNORED),
    "a kind in other letter case": (event("Task_Completed"), IGNORED),
    "a kind with white space": (event(" task_completed "), IGNORED),
    "a key twice": (spelled(b"12", b'12, "latency_ms": 0'), NOT_TAKEN),
    "a kind twice": (b'{"event": "task_completed", "event": "x"}', IGNORED),
    "an empty key": (b'{"": 1, "event": "x"}', IGNORED),
    "a number of 5,000 digits": (b'{"event": "x", "y": %s}' % (b"9" * 5000), IGNORED),
    "a whole surrogate pair": (b'{"event": "x", "y": "\\ud83d\\ude00"}', IGNORED),
    "escapes that spell a field": (spelled(b'"query"', b'"\\u0071uery"'), PATTERN),
    "line separators of Unicode": (
        spelled(b"service", "\u2028\u2029\x85".encode()),
        PATTERN,
    ),
    "a character of four bytes": (spelled(b"service", "\U0001f600".encode()), PATTERN),
    "white space around it": (b" \t " + HEALTHY + b" \t ", PATTERN),
    "a carriage return at the end": (HEALTHY + b"\r", PATTERN),
    "carriage returns between": (HEALTHY.replace(b", ", b",\r"), PATTERN),
    "10,000 fields": (
        b'{"event":"x",%s}' % b",".join(b'"%d":0' % n for n in range(5_000)),
        IGNORED,
    ),
    # What is nothing at all
    "an empty line": (b"", BLANK),
    "a carriage return": (b"\r", BLANK),
    "carriage returns": (b"\r\r\r", BLANK),
    "white space": (b" \t \x0b\x0c ", BLANK),
}
"""What stands between two newlines, and what becomes of it."""

DEAD = {MALFORMED, NO_OBJECT, BAD_UTF8, NUL, DEEP, SURROGATE, WRONG_TYPE, TOO_LONG}


def laid_out() -> tuple[bytes, dict[int, str], list[int]]:
    """The file: its bytes, which line stands where, and where healthy ones do."""
    content = MARK
    names: dict[int, str] = {}
    healthy: list[int] = []
    for name, (line, _) in LINES.items():
        # The mark is no part of the first record, but of its range.
        healthy.append(len(content) if healthy else 0)
        content += HEALTHY + b"\n"
        names[len(content)] = name
        content += line + b"\n"
    return content + HEALTHY, names, healthy


@pytest.fixture(scope="module", params=[1, 1_000])
def drained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, Progress]:
    """The file after one pass, with a commit for each record or for all."""
    engine = Engine(tmp_path_factory.mktemp("lines"), interval=request.param)
    content, _, _ = laid_out()
    engine.write(content)
    return engine, engine.drain()


def test_the_corpus_is_as_large_as_promised_and_each_line_is_one() -> None:
    """The table itself: sixty and more, none of which a newline would split."""
    assert len(LINES) >= 60
    assert not [name for name, (line, _) in LINES.items() if b"\n" in line]
    assert {outcome for _, outcome in LINES.values()} >= DEAD


def test_each_line_has_the_outcome_of_the_table(
    drained: tuple[Engine, Progress],
) -> None:
    """Looked up by its offset in the database: a row, a dead letter, or neither."""
    engine, _ = drained
    _, names, _ = laid_out()
    rows = Counter(row["offset"] for row in engine.rows())
    with engine.store() as store:
        letters = {each["start_offset"]: each for each in store.iterate_dead_letters()}
    expected: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for offset, name in names.items():
        line, outcome = LINES[name]
        expected[name] = (
            int(outcome == PATTERN),
            (outcome, offset + len(line) + 1) if outcome in DEAD else None,
        )
        letter = letters.pop(offset, None)
        found[name] = (
            rows[offset],
            (letter["reason"], letter["end_offset"]) if letter else None,
        )
    assert found == expected
    assert letters == {}


def test_every_healthy_line_between_them_is_a_pattern(
    drained: tuple[Engine, Progress],
) -> None:
    """Once each, and all alike; so no bad line took a neighbour with it."""
    engine, _ = drained
    _, names, healthy = laid_out()
    rows = [row for row in engine.rows() if row["offset"] not in names]
    assert [row["offset"] for row in rows] == healthy
    assert {row["prompt"] for row in rows} == {"How do I restart the service?"}


def test_every_line_is_counted_once(drained: tuple[Engine, Progress]) -> None:
    """Blank ones are no records, and the torn tail waits for its newline."""
    _, progress = drained
    content, _, healthy = laid_out()
    outcomes = Counter(outcome for _, outcome in LINES.values())
    counters = progress.counters
    assert progress.offset == len(content) - len(HEALTHY)
    assert counters.record_count == len(LINES) + len(healthy) - outcomes[BLANK]
    assert counters.row_count == outcomes[PATTERN] + len(healthy)
    assert counters.ignored_count == outcomes[IGNORED]
    assert counters.dead_letter_count == sum(outcomes[each] for each in DEAD)


def test_no_secret_of_the_corpus_is_stored(drained: tuple[Engine, Progress]) -> None:
    """In no file of the state database, and each is counted."""
    engine, progress = drained
    files = [path for path in engine.folder.iterdir() if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in Path(path).read_bytes()]
    assert progress.counters.redactions_by_kind["github_token"] >= 3
