"""Progress of the files: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
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

LINE_INTERVAL_SECONDS = 5.0
MAX_BARS = 20
"""Finished bars beyond these are taken off the screen."""


class ProgressDisplay:
    """Shows each file's progress; call it with every `Progress`.

    Attributes:
        event_count: Events processed so far, over all files.
        row_count: Rows written so far.
        dead_letter_count: Dead letters so far.
    """

    def __init__(self) -> None:
        """Bars if standard error is a terminal."""
        self._latest: dict[str, Progress] = {}
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
        return sum(each.run_event_count for each in self._latest.values())

    @property
    def row_count(self) -> int:
        """Rows of these runs."""
        return sum(each.run_row_count for each in self._latest.values())

    @property
    def dead_letter_count(self) -> int:
        """Dead letters of these runs."""
        return sum(each.run_dead_letter_count for each in self._latest.values())

    def __call__(self, progress: Progress) -> None:
        """Take in a file's progress."""
        self._latest[progress.partition] = progress
        if self._bars is None:
            self._say(progress)
        else:
            self._draw(self._bars, progress)

    def _draw(self, bars: Bars, progress: Progress) -> None:
        task = self._tasks.get(progress.partition)
        if task is None:
            while len(self._tasks) >= MAX_BARS:
                oldest = next(iter(self._tasks))
                bars.remove_task(self._tasks.pop(oldest))
            task = self._tasks[progress.partition] = bars.add_task(
                progress.partition, total=max(progress.size_bytes, 1), events=0
            )
        bars.update(
            task,
            completed=progress.offset if progress.size_bytes else 1,
            events=progress.run_event_count,
        )

    def _say(self, progress: Progress) -> None:
        now = time.monotonic()
        said_at = self._said_at.setdefault(progress.partition, now)
        if not progress.is_final and now - said_at < LINE_INTERVAL_SECONDS:
            return
        self._said_at[progress.partition] = now
        click.echo(
            f"{progress.partition}: {progress.percent:.0f} % "
            f"({progress.offset} of {progress.size_bytes} bytes), "
            f"{progress.run_event_count} events, {progress.run_row_count} patterns, "
            f"{progress.run_dead_letter_count} dead letters"
        )
