"""A call is waited for so long and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from learning_pipeline.learning.deadline import (
    DeadlineExceededError,
    MeanwhileError,
    pause,
    within,
)
from learning_pipeline.learning.http_requests import cause_of

INTERRUPTED = """
import time
from learning_pipeline.learning.deadline import within
print("waiting", flush=True)
within(60, lambda: time.sleep(60), abandon=lambda: None)
"""


def never() -> None:
    """Nothing is to be abandoned."""
    raise AssertionError


def test_what_comes_in_time_is_returned_or_raised() -> None:
    """As if it had been called here."""
    assert within(5, lambda: 7, abandon=never) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0, abandon=never)


def test_what_does_not_is_given_up() -> None:
    """It is told to end, and not waited for."""
    end = threading.Event()
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        within(0.1, lambda: end.wait(30), abandon=end.set)
    assert time.monotonic() - began < 5
    assert end.is_set()


def test_something_else_is_done_meanwhile_by_the_one_who_waits() -> None:
    """A few times, in a thread that may touch what is the caller's."""
    threads: list[threading.Thread] = []

    def note() -> None:
        threads.append(threading.current_thread())

    assert within(5, lambda: time.sleep(0.7), abandon=never, meanwhile=note) is None
    assert len(threads) >= 2
    assert set(threads) == {threading.current_thread()}
    threads.clear()
    pause(0.5, note)
    assert len(threads) >= 2


def test_what_fails_meanwhile_ends_the_wait() -> None:
    """It says nothing about the call: it is no `Exception`, which a breaker counts."""
    end = threading.Event()

    def fail() -> None:
        raise RuntimeError("the index is gone")

    with pytest.raises(MeanwhileError) as caught:
        within(30, lambda: end.wait(30), abandon=end.set, meanwhile=fail)
    assert isinstance(caught.value.error, RuntimeError)
    assert not isinstance(caught.value, Exception)
    assert end.is_set()


def test_an_interrupted_process_ends_at_once() -> None:
    """Though the call goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        began = time.monotonic()
        process.wait(30)
    assert time.monotonic() - began < 5
    assert process.returncode != 0


def test_the_cause_of_a_failed_request_holds_no_header() -> None:
    """The library quotes a header value that cannot be sent."""
    error = httpx.LocalProtocolError("Illegal header value b'Bearer sk-secret\\n'")
    assert "sk-secret" not in cause_of(error)
    assert "LocalProtocolError" in cause_of(error)
    assert cause_of(httpx.ConnectError("refused")) == "ConnectError: refused"
    assert cause_of(httpx.ReadError("")) == "ReadError"
