"""Terminating a run at a batch boundary instead of anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import dagster as dg
from dagster import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt

INTERRUPTED = "Interrupted; everything up to the last commit is kept."


@contextlib.contextmanager
def interrupts_at_boundaries(context: dg.OutputContext) -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back inside the block.

    Args:
        context: The output's.

    Yields:
        A function to call where everything is committed. If a signal came since
        the block was entered it raises, by which Dagster ends the run as canceled.

    Outside the main thread signals cannot be held back; there the function does
    nothing and Dagster raises wherever it stands, which loses at most a batch that
    is read again.
    """

    def raise_if_interrupted() -> None:
        if not pop_captured_interrupt():
            return
        if context.step_context.op_retry_policy is not None:
            # Dagster would take an interrupt for a reason to retry the step.
            raise dg.Failure(INTERRUPTED, allow_retries=False)
        raise DagsterExecutionInterruptedError(INTERRUPTED)

    with capture_interrupts():
        yield raise_if_interrupted
        # Leaving forgets a signal that came since the last look.
        raise_if_interrupted()
