"""Deriving examples of made-up patterns, and what must hold of them at any time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from learning_pipeline import logs
from learning_pipeline.model import BatchOutput, Counters, Progress
from learning_pipeline.stages import Derivation, DerivedDrain
from learning_pipeline.stages.deriving import ExampleDerivation
from learning_pipeline.store import Claim, Reads, StageSession, Store, patterns
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import INDEX_STAGE
from learning_pipeline.store.schema import finetuning_examples
from learning_pipeline_tests.store.samples import (
    STAGE,
    begin,
    contents,
    fingerprint_at,
    open_session,
)

FROM_PATTERNS = Reads(STAGE, patterns)
FROM_EXAMPLES = Reads(EXAMPLES_STAGE, finetuning_examples)


class FewAtATime(ExampleDerivation):
    """A commit every two rows."""

    rows_per_commit = 2


class Counting:
    """Takes examples over and keeps none: the index, as the store sees it."""

    rows_per_commit = 3

    def derive(
        self, session: StageSession, claim: Claim, *, end_offset: int, size_bytes: int
    ) -> Claim:
        """Only move on."""
        return session.derive(
            claim,
            end_offset=end_offset,
            size_bytes=size_bytes,
            write=session.count_examples,
        )


def learn(
    store: Store,
    partition: str,
    texts: Sequence[str],
    *,
    generation: int = 0,
    run_id: str = "run-1",
) -> None:
    """Commit one line of ten bytes per text, from where the file stands."""
    with open_session(store, run_id=run_id) as session:
        claim = session.claim(partition)
        checkpoint = claim.checkpoint
        if checkpoint.sequence == 0 or checkpoint.generation != generation:
            claim = begin(session, claim, generation=generation)
        later = [
            each
            for each in session.known_generations(claim)
            if each.number > generation
        ]
        for text in texts:
            start = claim.checkpoint.offset
            row = (
                *(start, 0, "task_completed", text, "a response", 1, None, None),
                *("{}", None, text.islower(), hashlib.sha256(text.encode()).digest()),
            )
            claim = session.commit(
                claim,
                BatchOutput([row], [], Counters(record_count=1, row_count=1)),
                end_offset=start + 10,
                fingerprint=fingerprint_at(start + 10),
                size_bytes=1000,
                is_late=bool(later),
            )


def derive(
    store: Store,
    partition: str,
    *,
    stage: str = EXAMPLES_STAGE,
    commit_count: int | None = None,
) -> Progress | None:
    """Take over what is there; or stop after so many commits, as a kill would."""
    is_examples = stage == EXAMPLES_STAGE
    left = commit_count

    def on_commit(_: Progress) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left < 0:
                raise InterruptedError

    derivation: Derivation = FewAtATime() if is_examples else Counting()
    with store.session(
        stage=stage,
        table=finetuning_examples if is_examples else None,
        run_id="run-2",
        history_count=20,
        reads=FROM_PATTERNS if is_examples else FROM_EXAMPLES,
    ) as session:
        drain = DerivedDrain(
            session,
            partition=partition,
            derivation=derivation,
            require_free_space=lambda: None,
            on_commit=on_commit,
            log=logs.get_logger(),
        )
        try:
            return drain.run()[1]
        except InterruptedError:
            return None


def derive_all(store: Store, partitions: Sequence[str]) -> None:
    """Both stages over all partitions."""
    for stage in (EXAMPLES_STAGE, INDEX_STAGE):
        for partition in partitions:
            derive(store, partition, stage=stage)


def example_rows(url: str) -> dict[tuple[Any, ...], tuple[str, bool]]:
    """Hash and whether it is a duplicate, by partition, generation, offset, ordinal."""
    return {
        tuple(row[:4]): (bytes(row[4]).hex(), bool(row[5]))
        for row in contents(url)["finetuning_examples"]
    }


def problems(store: Store, url: str) -> Iterator[str]:
    """What does not hold of the examples, as far as their stage has come."""
    rows = example_rows(url)
    stored = contents(url)
    quality = {
        tuple(row[:4]): bytes(row[13]).hex() for row in stored["patterns"] if row[12]
    }
    ends: dict[tuple[int, int], int] = {}
    for row in (*stored["generation_positions"], *stored["checkpoints"]):
        if row[0] == EXAMPLES_STAGE:
            ends[row[1], row[2]] = row[3]
    passed = {
        key: content
        for key, content in quality.items()
        if key[2] < ends.get(key[:2], 0)
    }
    if {key: content for key, (content, _) in rows.items()} != passed:
        yield f"rows {sorted(rows)} are not those of the patterns {sorted(passed)}"
    winners = [content for content, is_duplicate in rows.values() if not is_duplicate]
    if sorted(winners) != sorted(set(passed.values())):
        yield f"{len(winners)} examples of {len(set(passed.values()))} contents"
    yield from store.contradictions()
