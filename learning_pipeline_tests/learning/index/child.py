"""What the index's tests run in other processes, to wait for them or to kill them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from learning_pipeline.errors import IndexBusyError
from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.vectors import Vectorizer
from learning_pipeline_tests.learning.index.samples import example

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def home_in(folder: str, wait_seconds: float = 20) -> EmbeddedHome:
    """The embedded index of a state directory."""
    return EmbeddedHome(
        Path(folder) / "index", Vectorizer(None), wait_seconds=wait_seconds
    )


def hold(folder: str, answer: Connection) -> None:
    """Have the index, say so, and keep it until something is said."""
    with home_in(folder).open("hold it") as index:
        answer.send(index.count())
        answer.recv()


def write_until_killed(folder: str, answer: Connection) -> None:
    """Write batch after batch, and say how many were acknowledged."""
    with home_in(folder).open("write") as index:
        number = 0
        while True:
            index.upsert([example(each) for each in range(number, number + 100)])
            number += 100
            answer.send(number)
            if number % 300 == 0:
                index.flush()


def make_and_die(folder: str, after_seconds: float) -> None:
    """Make and drop an index again and again, and be killed at it."""
    threading.Timer(after_seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    home = home_in(folder)
    while True:
        home.create()
        home.drop()


def write_in_turns(folder: str, answer: Connection) -> None:
    """Write for as long as nobody says stop, and let others in between batches."""
    number = turns = 0
    with home_in(folder).open("write in turns") as index:
        answer.send("begun")
        while not answer.poll():
            index.upsert([example(number)])
            number += 1
            turns += index.let_others_in()
            time.sleep(0.01)
    answer.send((number, turns))


def search_once(folder: str, wait_seconds: float, answer: Connection) -> None:
    """Search, and answer with the number of hits, or who has the index."""
    try:
        with home_in(folder, wait_seconds).open("search") as index:
            answer.send(len(index.search("parser").hits))
    except IndexBusyError as error:
        answer.send(str(error))
