"""Progress of the files: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import click
from rich.progress import (
    BarColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from learning_pipeline.model import Progress
from learning_pipeline.stages.names import PATTERNS_STAGE

LINE_INTERVAL_SECONDS = 5.0
MAX_BARS = 20
"""Finished bars beyond these are taken off the screen."""


@dataclass(frozen=True)
class Tally:
    """What became of records, over one or several runs.

    Attributes:
        event_count: Events processed.
        row_count: Rows written.
        dead_letter_count: Dead letters.
    """

    event_count: int = 0
    row_count: int = 0
    dead_letter_count: int = 0

    def plus(self, progress: Progress) -> Tally:
        """With those of the run that `progress` is about."""
        return Tally(
            self.event_count + progress.run_event_count,
            self.row_count + progress.run_row_count,
            self.dead_letter_count + progress.run_dead_letter_count,
        )


class ProgressDisplay:
    """Shows each file's progress; call it with every `Progress`.

    A file's first stage is shown always, the others when they take long.

    Attributes:
        event_count: Events processed so far, over all files.
        row_count: Rows written so far.
        dead_letter_count: Dead letters so far.
    """

    def __init__(self) -> None:
        """Bars if standard error is a terminal."""
        self._ended = Tally()
        self._under_way: dict[str, Progress] = {}
        self._earlier: dict[str, Tally] = {}
        self._said_at: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = (
            Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[events]} events", markup=False),
                TimeRemainingColumn(),
            )
            if sys.stderr.isatty()
            else None
        )
        if self._bars is not None:
            self._bars.console.stderr = True

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        if self._bars is not None:
            self._bars.stop()

    @property
    def event_count(self) -> int:
        """Events of these runs."""
        return self._total().event_count

    @property
    def row_count(self) -> int:
        """Rows of these runs."""
        return self._total().row_count

    @property
    def dead_letter_count(self) -> int:
        """Dead letters of these runs."""
        return self._total().dead_letter_count

    def _total(self) -> Tally:
        total = self._ended
        for progress in self._under_way.values():
            total = total.plus(progress)
        return total

    def __call__(self, progress: Progress) -> None:
        """Take in a file's progress."""
        if progress.stage != PATTERNS_STAGE:
            self._show_later_stage(progress)
            return
        partition = progress.partition
        tally = self._earlier.get(partition, Tally()).plus(progress)
        if self._bars is None:
            self._say(progress, tally)
        else:
            self._draw(self._bars, progress, tally, progress.partition)
        if not progress.is_final:
            self._under_way[partition] = progress
            return
        self._ended = self._ended.plus(progress)
        self._under_way.pop(partition, None)
        # Of a file that is done nothing is kept: there may be very many.
        self._earlier.pop(partition, None)
        if progress.is_complete:
            self._said_at.pop(partition, None)
        else:
            self._earlier[partition] = tally

    def _show_later_stage(self, progress: Progress) -> None:
        name = f"{progress.partition}: {progress.stage}"
        now = time.monotonic()
        said_at = self._said_at.setdefault(name, now)
        if progress.is_final:
            del self._said_at[name]
            if self._bars is not None and name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
        elif now - said_at >= LINE_INTERVAL_SECONDS:
            if self._bars is not None:
                tally = Tally().plus(progress)
                self._draw(self._bars, progress, tally, name)
                return
            self._said_at[name] = now
            click.echo(
                f"{name}: {progress.percent:.0f} % "
                f"({progress.offset} of {progress.size_bytes} bytes)"
            )

    def _draw(self, bars: Bars, progress: Progress, tally: Tally, name: str) -> None:
        task = self._tasks.get(name)
        if task is None:
            while len(self._tasks) >= MAX_BARS:
                oldest = next(iter(self._tasks))
                bars.remove_task(self._tasks.pop(oldest))
            task = self._tasks[name] = bars.add_task(
                name, total=max(progress.size_bytes, 1), events=0
            )
        bars.update(
            task,
            # A later run of the file may find it larger.
            total=max(progress.size_bytes, 1),
            completed=progress.offset if progress.size_bytes else 1,
            events=tally.event_count,
        )

    def _say(self, progress: Progress, tally: Tally) -> None:
        now = time.monotonic()
        said_at = self._said_at.setdefault(progress.partition, now)
        is_end = progress.is_final and progress.is_complete
        if not is_end and now - said_at < LINE_INTERVAL_SECONDS:
            return
        self._said_at[progress.partition] = now
        click.echo(
            f"{progress.partition}: {progress.percent:.0f} % "
            f"({progress.offset} of {progress.size_bytes} bytes), "
            f"{tally.event_count} events, {tally.row_count} patterns, "
            f"{tally.dead_letter_count} dead letters"
        )
