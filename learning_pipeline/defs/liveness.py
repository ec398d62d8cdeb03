"""Telling whether the process of a run still lives, by a tag that it leaves."""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil

PROCESS_TAG = "learning_pipeline/process"

_CLOCK_TOLERANCE_SECONDS = 1.0


def process_tag() -> str:
    """This process, for `PROCESS_TAG`: host, number and start time.

    The start time tells it from a later process with the same number.
    """
    started = psutil.Process().create_time()
    return f"{socket.gethostname()}/{os.getpid()}/{started:.2f}"


def names_its_process(run: dg.DagsterRun) -> bool:
    """Whether the run says which process it is in.

    One that was re-executed from the UI has the tags of the run before it.
    """
    return PROCESS_TAG in run.tags and run.parent_run_id is None


def process_is_alive(run: dg.DagsterRun) -> bool:
    """Whether the process that the run's tag names lives; without a tag: no.

    A process of another host cannot be looked at; it counts as alive.
    """
    if not names_its_process(run):
        return False
    try:
        host, number, started = run.tags[PROCESS_TAG].rsplit("/", 2)
        if host != socket.gethostname():
            return True
        process = psutil.Process(int(number))
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and abs(process.create_time() - float(started)) < _CLOCK_TOLERANCE_SECONDS
        )
    except (psutil.NoSuchProcess, ValueError):
        return False
