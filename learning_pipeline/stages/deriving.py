"""Draining what another stage has committed, from where this one left it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from learning_pipeline.errors import StoreError
from learning_pipeline.model import Counters, Generation, Progress
from learning_pipeline.stages.stream import Describe
from learning_pipeline.steps import reached
from learning_pipeline.store import Claim, Reads, StageSession, Store, Upstream
from learning_pipeline.store.schema import finetuning_examples, patterns

if TYPE_CHECKING:
    import sqlalchemy as sa


class Derivation(Protocol):
    """What a stage makes of the rows that its upstream stage has committed.

    Attributes:
        rows_per_commit: About how many upstream rows one commit takes over.
    """

    @property
    def rows_per_commit(self) -> int:
        """About how many upstream rows one commit takes over."""
        ...

    def derive(
        self, session: StageSession, claim: Claim, *, end_offset: int, size_bytes: int
    ) -> Claim:
        """Take over the rows before `end_offset` and commit that.

        Args:
            session: The run's session on the stage.
            claim: Stands where they begin.
            end_offset: Where they end.
            size_bytes: The telemetry file's size, to be committed along.
        """
        ...


Opening = Callable[[Store], AbstractContextManager[Derivation]]
"""Makes a derivation, and has what it needs at hand while the context is entered."""


@dataclass(frozen=True)
class DerivedOutput:
    """What a stage takes over of its upstream: drained into commits like a stream.

    Attributes:
        partitions: The partition keys, each from its own checkpoint.
        reads: The upstream stage.
        opening: Opens what takes the rows over, once for all partitions.
        table: Where the stage's own rows go; None when they go elsewhere.
        describe: Adds to what is told of a partition when it is done.
    """

    partitions: Sequence[str]
    reads: Reads
    opening: Opening
    table: sa.Table | None
    describe: Describe | None = None


@dataclass(frozen=True)
class UpstreamRows:
    """The rows of a stage that were not taken over yet, read when they are drained.

    Attributes:
        partitions: The partition keys of this run.
        stage: Whose rows.
    """

    partitions: Sequence[str]
    stage: str

    def examples(self, *, describe: Describe | None = None) -> DerivedOutput:
        """Make fine-tuning examples of patterns."""
        return DerivedOutput(
            self.partitions,
            Reads(self.stage, patterns),
            lambda _: nullcontext(ExampleDerivation()),
            finetuning_examples,
            describe,
        )

    def indexed(
        self, opening: Opening, *, describe: Describe | None = None
    ) -> DerivedOutput:
        """Hand examples to what `opening` opens; it keeps them outside the database."""
        return DerivedOutput(
            self.partitions,
            Reads(self.stage, finetuning_examples),
            opening,
            None,
            describe,
        )


class DerivedDrain:
    """One pass of one stage over what its upstream has committed of a partition.

    Guarantees:
        After any crash, what was taken over is that of the bytes before the committed
        offset. Upstream may go on, or be taken back, meanwhile: what it takes back is
        taken back here in the same transaction, and this pass is then fenced.
    """

    def __init__(  # noqa: PLR0913 - what, how, and whom to tell
        self,
        session: StageSession,
        *,
        partition: str,
        derivation: Derivation,
        require_free_space: Callable[[], None],
        on_commit: Callable[[Progress], None],
        log: Any,
    ) -> None:
        """Describe the pass.

        Args:
            session: The run's session on the stage.
            partition: Its partition key.
            derivation: Takes rows over.
            require_free_space: Called before each commit; raises when there is none.
            on_commit: Called after each commit; what it raises ends the pass there.
            log: A structlog logger.
        """
        self._session = session
        self._partition = partition
        self._derivation = derivation
        self._require_free_space = require_free_space
        self._on_commit = on_commit
        self._log = log.bind(partition=partition)
        self._started = time.monotonic()
        self._before = Counters()
        self._resumed_from_offset = 0
        self._read_bytes = 0
        self._commit_count = 0
        self.claim: Claim | None = None

    def run(self) -> tuple[Claim, Progress]:
        """Take over everything that upstream has committed by now.

        Raises:
            FencedError: Another run claimed the partition, or it was rewound.
            StoreError: The database failed; what was committed stays.
        """
        reached("load.before")
        claim = self.claim = self._session.claim(self._partition)
        self._before = claim.checkpoint.counters
        self._resumed_from_offset = claim.checkpoint.offset
        upstream = self._session.upstream(claim)
        reached("load.after")
        if upstream.signature != (claim.checkpoint.seen_signature or ""):
            claim = self._take_over(claim, upstream)
        return claim, self.progress(claim, upstream, is_final=True)

    def progress(
        self, claim: Claim, upstream: Upstream, *, is_final: bool = False
    ) -> Progress:
        """How far the pass is, at the checkpoint of `claim`."""
        checkpoint = claim.checkpoint
        counters = checkpoint.counters
        return Progress(
            stage=checkpoint.stage,
            partition=checkpoint.partition,
            generation=checkpoint.generation,
            offset=checkpoint.offset,
            size_bytes=max(upstream.size_bytes, checkpoint.offset),
            counters=counters,
            run_event_count=counters.record_count - self._before.record_count,
            run_row_count=counters.row_count - self._before.row_count,
            run_dead_letter_count=0,
            run_bytes=self._read_bytes,
            elapsed_seconds=time.monotonic() - self._started,
            commit_count=self._commit_count,
            generation_change_count=(
                counters.generation_change_count - self._before.generation_change_count
            ),
            resumed_from_offset=self._resumed_from_offset,
            is_final=is_final,
        )

    def _take_over(self, claim: Claim, upstream: Upstream) -> Claim:
        for number, end in sorted(upstream.ends.items()):
            generation = self._generation(claim, number)
            if _offset(claim, generation) < end:
                claim = self._stand_in(claim, generation, upstream)
                claim = self._read(claim, end, upstream)
        if upstream.generation >= 0:
            # Where upstream stands, this one stands, also when nothing is new there.
            generation = self._generation(claim, upstream.generation)
            claim = self._stand_in(claim, generation, upstream)
        claim = self.claim = self._session.finish_pass(
            claim,
            seen_signature=upstream.signature,
            size_bytes=upstream.size_bytes,
        )
        return claim

    def _generation(self, claim: Claim, number: int) -> Generation:
        """A generation that upstream has begun, as this stage knows it by now."""
        # Looked up anew each time: where it stood is kept only when it leaves there.
        for generation in self._session.known_generations(claim):
            if generation.number == number:
                return generation
        message = f"generation {number} of {self._partition!r} is not recorded"
        raise StoreError(message)

    def _stand_in(
        self, claim: Claim, generation: Generation, upstream: Upstream
    ) -> Claim:
        if not _is_elsewhere(claim, generation.number):
            return claim
        claim = self.claim = self._session.enter_generation(
            claim, generation, size_bytes=upstream.size_bytes
        )
        return claim

    def _read(self, claim: Claim, end: int, upstream: Upstream) -> Claim:
        while claim.checkpoint.offset < end:
            self._require_free_space()
            before = claim.checkpoint.offset
            batch_end = self._session.batch_end(
                claim, end, self._derivation.rows_per_commit
            )
            claim = self.claim = self._derivation.derive(
                self._session,
                claim,
                end_offset=batch_end,
                size_bytes=upstream.size_bytes,
            )
            self._read_bytes += batch_end - before
            self._commit_count += 1
            self._on_commit(self.progress(claim, upstream))
        return claim


def _is_elsewhere(claim: Claim, generation: int) -> bool:
    checkpoint = claim.checkpoint
    return checkpoint.sequence == 0 or checkpoint.generation != generation


def _offset(claim: Claim, generation: Generation) -> int:
    """Where the stage stands in a generation; 0 where it has not been."""
    if not _is_elsewhere(claim, generation.number):
        return claim.checkpoint.offset
    return generation.position.offset if generation.position else 0


class ExampleDerivation:
    """Makes fine-tuning examples of patterns, all in the database.

    Attributes:
        rows_per_commit: Many: what makes a unique index on a random hash bearable is
            that a batch is sorted by it.
    """

    rows_per_commit = 50_000

    def derive(
        self, session: StageSession, claim: Claim, *, end_offset: int, size_bytes: int
    ) -> Claim:
        """Make examples of the quality patterns before `end_offset`."""
        return session.derive(
            claim,
            end_offset=end_offset,
            size_bytes=size_bytes,
            write=session.make_examples,
        )
