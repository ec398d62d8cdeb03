"""One worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from learning_pipeline.errors import ExtractorProcessError, ExtractorRegistrationError
from learning_pipeline.extraction.custom import OUT_OF_MEMORY, RAN_OUT, CustomEvent
from learning_pipeline.extraction.isolated.messages import (
    OUT_OF_MEMORY_EXIT_CODE,
    PIECE_BYTES,
    START_SECONDS,
    Answer,
    Greeting,
    WorkerLimits,
    framed,
    take_message,
)

TIMED_OUT: Final = "extractor_timed_out"
CRASHED: Final = "extractor_crashed"

_END_SECONDS: Final = 5.0

_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
_decode_greeting = msgspec.msgpack.Decoder(Greeting).decode


class WorkerEndedError(Exception):
    """A worker cannot go on: it is over, or has to be."""

    def __init__(self, reason: str, how: str) -> None:
        """Name the reason of the dead letter, and how it ended, for people."""
        super().__init__(reason)
        self.reason = reason
        self.how = how


class WorkerProcess:
    """A worker that has loaded the extractors.

    Guarantees: it ends with this object, with this process, or when told to.

    Attributes:
        names: What its extractors are called in messages, by the kind they take.
        owner: The process that started it.
    """

    def __init__(self, limits: WorkerLimits) -> None:
        """Start it, and wait until it is ready.

        Raises:
            ExtractorRegistrationError: An extractor cannot be used.
            ExtractorProcessError: It cannot be started.
        """
        self.owner = os.getpid()
        self._timeout_seconds = limits.timeout_seconds
        self._process = _start()
        self._end = weakref.finalize(self, _end, self._process)
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None  # noqa: S101 - for the type checker
        assert answers is not None  # noqa: S101
        self._requests, self._answers = requests.fileno(), answers.fileno()
        os.set_blocking(self._requests, False)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._received = bytearray()
        try:
            greeting = self._greeting(limits)
        except BaseException:
            self.close()
            raise
        self.names = greeting.names

    def ask(self, events: Sequence[CustomEvent]) -> Iterator[Answer]:
        """Have records extracted; gives their answers in order.

        Records are sent ahead of the answers, as each wait for one wakes a process.

        Raises:
            WorkerEndedError: It ended at the record that would be next, or that took
                too long: close it.
        """
        pieces = _pieces(events)
        rest = memoryview(b"")
        for _ in events:
            while (message := take_message(self._received)) is None:
                rest = rest or memoryview(next(pieces, b""))
                rest = self._exchange(rest, self._timeout_seconds)
            try:
                answer = _decode_answer(message)
            except msgspec.DecodeError:
                raise WorkerEndedError(CRASHED, "wrote into its pipe") from None
            yield answer

    def close(self) -> None:
        """End it; more than once is fine."""
        self._end()

    def _greeting(self, limits: WorkerLimits) -> Greeting:
        rest = memoryview(framed(_encode(limits)))
        try:
            while (message := take_message(self._received)) is None:
                rest = self._exchange(rest, START_SECONDS)
            greeting = _decode_greeting(message)
        except (WorkerEndedError, msgspec.DecodeError) as error:
            how = error.how if isinstance(error, WorkerEndedError) else "no greeting"
            raise ExtractorProcessError(
                "the process for the extractors of your packages ended while it "
                f"loaded them: {how}. Its standard error may say more; fix what "
                "loading them does, or uninstall them"
            ) from None
        if greeting.error is not None:
            raise ExtractorRegistrationError(greeting.error, name=greeting.error_name)
        return greeting

    def _exchange(self, rest: memoryview, seconds: float) -> memoryview:
        """Send some of `rest` or receive something; gives what is still to be sent."""
        self._poll.register(self._requests, select.POLLOUT if rest else 0)
        # Once more: what is there counts, however late this process comes to look.
        ready = dict(self._poll.poll(seconds * 1000) or self._poll.poll(0))
        if not ready:
            raise _too_slow(seconds)
        if self._answers in ready:
            piece = os.read(self._answers, PIECE_BYTES)
            if not piece:
                raise self._ended()
            self._received += piece
        elif rest:
            # It may have answered before it ended, so look for that first.
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                return rest[os.write(self._requests, rest) :]
        return rest

    def _ended(self) -> WorkerEndedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        if code == OUT_OF_MEMORY_EXIT_CODE:
            return WorkerEndedError(OUT_OF_MEMORY, RAN_OUT)
        if code == -signal.SIGALRM:
            return _too_slow(self._timeout_seconds)
        if code is None:
            return WorkerEndedError(CRASHED, "closed its pipe")
        return WorkerEndedError(CRASHED, f"ended its process with {_code_name(code)}")


def _too_slow(seconds: float) -> WorkerEndedError:
    return WorkerEndedError(TIMED_OUT, f"took longer than {seconds:g} seconds")


def _pieces(events: Sequence[CustomEvent]) -> Iterator[bytes]:
    """Join the requests of some records to what a pipe takes at once."""
    piece = bytearray()
    for event in events:
        piece += framed(_encode(event))
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _start() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "learning_pipeline.extraction.isolated.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Ctrl-C is for this process: it stops at a batch boundary.
            process_group=0,
        )
    except OSError as error:
        raise ExtractorProcessError(
            "the process for the extractors of your packages cannot be started: "
            f"{error}. Free what it says is short, and run again"
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    # Waiting for a file system that is gone, it cannot be ended: leave it then.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)


def _code_name(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
