"""What the store's tests run in other processes, to race with them or to kill them."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import sqlalchemy as sa

from learning_pipeline.store import Store
from learning_pipeline.testing.crash_points import kill_at
from learning_pipeline_tests.store import samples

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier


def process_and_die(url: str, step: str, occurrence: int, end_offset: int) -> None:
    """Process the made-up file, and be killed at a step on the way."""
    kill_at(step, occurrence)
    with Store(url) as store:
        samples.process(store, end_offset)


def claim_often(url: str, count: int, start: Barrier, answer: Connection) -> None:
    """Open the store at the same time as others, and claim; answer with the fences."""
    start.wait(timeout=60)
    with Store(url) as store, samples.open_session(store) as session:
        answer.send([session.claim(samples.PARTITION).fence for _ in range(count)])
    answer.close()


def create_and_die(url: str, fatal_step: int) -> None:
    """Open a new store, killed before its `fatal_step`-th statement or file change."""
    left = fatal_step

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_statement(*_: object) -> None:
        count_down()

    def on_audit(event: str, _: object) -> None:
        if event in {"os.link", "os.remove", "sqlite3.connect"}:
            count_down()

    sa.event.listen(sa.Engine, "before_cursor_execute", on_statement)
    sys.addaudithook(on_audit)
    Store(url).close()
