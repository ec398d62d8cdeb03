"""Batches of a made-up file, and what a state database holds, for the store's tests."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from learning_pipeline.model import (
    BatchOutput,
    Counters,
    DeadLetter,
    Fingerprint,
    Generation,
    Row,
)
from learning_pipeline.store import Claim, StageSession, Store, patterns

STAGE = "interaction_patterns"
PARTITION = "agents/a.jsonl"
LINE_BYTES = 10
"""Each made-up line is so long; every second gives a pattern, every tenth fails."""


def digest(text: str) -> bytes:
    """16 bytes that stand for `text`."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def fingerprint_at(offset: int) -> Fingerprint:
    """The identity of the made-up file at `offset`."""
    prefix = min(max(offset, 1), 1024)
    guard = min(max(offset, 1), 64)
    return Fingerprint(
        prefix, digest(f"prefix{prefix}"), guard, digest(f"guard{offset}")
    )


def pattern_row(offset: int, ordinal: int = 0, *, text: str = "") -> Row:
    """A row of the `patterns` table."""
    return (
        offset,
        ordinal,
        "task_completed",
        text or f"prompt of {offset}",
        "response",
        1,
        None,
        '{"a":1}',
        '{"iterations":1}',
        None,
        True,
        digest(str(offset)),
    )


def batch_output(start_offset: int, end_offset: int) -> BatchOutput:
    """What a stage makes of the lines of `[start_offset, end_offset)`."""
    lines = range(start_offset, end_offset, LINE_BYTES)
    numbers = [offset // LINE_BYTES for offset in lines]
    rows = [pattern_row(n * LINE_BYTES) for n in numbers if n % 2 == 0 and n % 10]
    letters = [
        DeadLetter(
            n * LINE_BYTES, (n + 1) * LINE_BYTES, "malformed_json", "no JSON", b"{"
        )
        for n in numbers
        if n % 10 == 0
    ]
    kinds: dict[str, int] = {}
    for number in numbers:
        kind = f"kind_{number % 3}"
        kinds[kind] = kinds.get(kind, 0) + 1
    return BatchOutput(
        rows,
        letters,
        Counters(
            record_count=len(numbers),
            event_count=len(numbers) - len(letters),
            row_count=len(rows),
            quality_count=len(rows),
            dead_letter_count=len(letters),
            events_by_kind=kinds,
            redactions_by_kind={"api_key": 1},
        ),
    )


def open_session(
    store: Store,
    *,
    stage: str = STAGE,
    table: sa.Table = patterns,
    run_id: str = "run-1",
    history_count: int = 20,
) -> StageSession:
    """A session with the defaults of these tests."""
    return store.session(
        stage=stage, table=table, run_id=run_id, history_count=history_count
    )


def begin(session: StageSession, claim: Claim, *, generation: int = 0) -> Claim:
    """Begin a generation of the made-up file, or enter it where it was left."""
    for known in session.known_generations(claim):
        if known.number == generation:
            return session.enter_generation(claim, known, size_bytes=1000)
    prefix = fingerprint_at(1)
    return session.begin_generation(
        claim,
        Generation(
            number=generation,
            prefix_length_bytes=prefix.prefix_length_bytes,
            prefix_digest=prefix.prefix_digest,
        ),
        because="first_seen" if generation == 0 else "truncated",
        size_bytes=1000,
    )


def commit_to(
    session: StageSession, claim: Claim, end_offset: int, *, step: int = 100
) -> Claim:
    """Commit the lines up to `end_offset`, `step` bytes at a time."""
    while claim.checkpoint.offset < end_offset:
        start = claim.checkpoint.offset
        end = min(start + step, end_offset)
        claim = session.commit(
            claim,
            batch_output(start, end),
            end_offset=end,
            fingerprint=fingerprint_at(end),
            size_bytes=1000,
        )
    return claim


def process(
    store: Store,
    end_offset: int,
    *,
    partition: str = PARTITION,
    run_id: str = "run-1",
    history_count: int = 20,
) -> Claim:
    """Read the made-up file from where it stands up to `end_offset`, as a run does."""
    with open_session(store, run_id=run_id, history_count=history_count) as session:
        claim = session.claim(partition)
        if claim.checkpoint.sequence == 0:
            claim = begin(session, claim)
        return commit_to(session, claim, end_offset)


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, read over a connection of the test's own."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        return {
            name: sorted(
                (
                    tuple(row)
                    for row in connection.execute(
                        sa.select(sa.text("*")).select_from(sa.table(name))
                    )
                ),
                key=repr,
            )
            for name in names
        }
