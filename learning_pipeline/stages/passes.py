"""What a stage's asset described, opened: a pass over each of its partitions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from learning_pipeline.model import Progress
from learning_pipeline.stages.committing import Reading
from learning_pipeline.stages.deriving import Derivation, DerivedDrain, DerivedOutput
from learning_pipeline.stages.drain import PartitionDrain
from learning_pipeline.stages.stream import StageOutput
from learning_pipeline.store import Claim, StageSession, Store


class Drain(Protocol):
    """One pass of a stage over a partition."""

    @property
    def claim(self) -> Claim | None:
        """The run's claim on the partition; None before there is one."""
        ...

    def run(self) -> tuple[Claim, Progress]:
        """Drain the partition up to its end as it is now."""
        ...


@dataclass(frozen=True)
class Passes:
    """Makes the passes of one run of a stage.

    Attributes:
        output: What the asset described.
        session: The run's session on the stage.
        reading: How files are read.
        derivation: What takes rows over, if the stage reads another's.
    """

    output: StageOutput | DerivedOutput
    session: StageSession
    reading: Reading
    derivation: Derivation | None

    def over(
        self, partition: str, on_commit: Callable[[Progress], None], log: Any
    ) -> Drain:
        """A pass over one partition; see `PartitionDrain` and `DerivedDrain`."""
        if self.derivation is not None:
            return DerivedDrain(
                self.session,
                partition=partition,
                derivation=self.derivation,
                require_free_space=self.reading.require_free_space,
                on_commit=on_commit,
                log=log,
            )
        assert isinstance(self.output, StageOutput)  # noqa: S101 - as it was opened
        return PartitionDrain(
            self.session,
            partition=partition,
            transform=self.output.transform,
            reading=self.reading,
            on_commit=on_commit,
            log=log,
        )


@contextlib.contextmanager
def open_passes(
    output: StageOutput | DerivedOutput,
    store: Store,
    session: StageSession,
    reading: Reading,
) -> Iterator[Passes]:
    """Have at hand what the passes need, such as the search index's writer lock."""
    if isinstance(output, StageOutput):
        yield Passes(output, session, reading, None)
        return
    with output.opening(store) as derivation:
        yield Passes(output, session, reading, derivation)
