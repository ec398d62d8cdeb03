"""Following the files of one pass through its rounds of runs."""

from __future__ import annotations

from collections.abc import Sequence

from learning_pipeline.defs.reporting import ProgressListener
from learning_pipeline.model import Progress


class PassTracker:
    """Sees how far each file comes, and which need another round of runs.

    A run stops in a large file before its end. The pass goes on with it up to where
    the file ended when it was first opened: what is appended faster than it is read
    would else keep the pass from ever ending.
    """

    def __init__(self, listener: ProgressListener) -> None:
        """Pass everything on to `listener`."""
        self._listener = listener
        self._ends: dict[tuple[str, str, int], int] = {}
        self._stops: dict[tuple[str, str], tuple[int, int]] = {}
        self._finished: set[tuple[str, str]] = set()
        self._left: dict[str, int] = {}
        self._stuck: list[str] = []

    def __call__(self, progress: Progress) -> None:
        """Take in a file's progress."""
        self._listener(progress)
        if not progress.is_final:
            return
        partition = progress.partition
        self._finished.add((progress.stage, partition))
        first_end = self._ends.setdefault(
            (progress.stage, partition, progress.generation), progress.size_bytes
        )
        # One that did not grow can have another, younger file behind it.
        has_grown = progress.size_bytes > first_end
        if progress.is_complete or (has_grown and progress.offset >= first_end):
            return
        stop = (progress.generation, progress.offset)
        if self._stops.get((progress.stage, partition)) == stop:
            self._stuck.append(partition)
        else:
            self._stops[progress.stage, partition] = stop
            self._left[partition] = max(progress.lag_bytes, 1)

    def unfinished(self, group: Sequence[str], stage: str) -> list[str]:
        """The files that a stage's failure is the failure of: all, if it did them."""
        return [key for key in group if (stage, key) not in self._finished] or [*group]

    def next_round(self) -> tuple[dict[str, int], list[str]]:
        """End the round.

        Returns:
            The bytes left of each file that has to go on; and the files that stopped
            where they had stopped before, which must not.
        """
        left, stuck = self._left, self._stuck
        self._left, self._stuck = {}, []
        self._finished.clear()
        return left, stuck
