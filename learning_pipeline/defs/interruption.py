"""Terminating a run at a batch boundary instead of anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from dagster import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt


@contextlib.contextmanager
def interrupts_at_boundaries() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back inside the block.

    Yields:
        A function to call where everything is committed. If a signal came since
        the block was entered it raises `DagsterExecutionInterruptedError`, by which
        Dagster knows that the run was terminated and did not fail.

    Outside the main thread signals cannot be held back; there the function does
    nothing and Dagster raises wherever it stands, which loses at most a batch that
    is read again.
    """

    def raise_if_interrupted() -> None:
        if check_captured_interrupt():
            raise DagsterExecutionInterruptedError

    with capture_interrupts():
        yield raise_if_interrupted
