"""The process in which users' extractors run, one record at a time.

    python -m learning_pipeline.extraction.isolated.worker

takes its limits from standard input and greets on standard output, then answers one
event after the other. It ends with its parent, whatever an extractor is doing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import msgspec

from learning_pipeline.errors import ExtractorRegistrationError
from learning_pipeline.extraction.custom import CustomEvent, LocalExtractors
from learning_pipeline.extraction.decoding import Rejection
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
from learning_pipeline.extraction.registry import (
    check_kinds,
    load_extractors,
    type_name,
)

GRACE_SECONDS: Final = 1.0
"""How much later than its parent a worker ends itself when it hangs."""

_PARENT_LOOK_MILLISECONDS: Final = 1_000
_FIRST_PRIVATE_DESCRIPTOR: Final = 3

_encode = msgspec.msgpack.Encoder().encode
_decode_limits = msgspec.msgpack.Decoder(WorkerLimits).decode
_decode_event = msgspec.msgpack.Decoder(CustomEvent).decode


def main() -> NoReturn:
    """Load the extractors, then answer until there is nobody left to ask."""
    try:
        _serve()
    except MemoryError:
        os._exit(OUT_OF_MEMORY_EXIT_CODE)
    except (BrokenPipeError, EOFError):
        # The parent is gone.
        pass
    # What extractors left running (threads, `atexit`) cannot hold it back.
    os._exit(0)


def _serve() -> None:
    # Ctrl-C is for the parent, which ends this process when it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = _private_pipes()
    threading.Thread(
        target=_end_with_parent, args=(requests, os.getppid()), daemon=True
    ).start()
    inbox = _Inbox(requests)
    with _deadline(START_SECONDS):
        limits = _decode_limits(inbox.next(START_SECONDS) or b"")
        try:
            by_kind = check_kinds(load_extractors())
        except ExtractorRegistrationError as error:
            _send(answers, Greeting(error=str(error), error_name=error.name))
            return
    _limit_memory(limits.memory_bytes)
    names = {kind: type_name(extractor) for kind, extractor in by_kind.items()}
    _send(answers, Greeting(names))
    extractors = LocalExtractors(by_kind)
    while (request := inbox.next(limits.idle_seconds)) is not None:
        event = _decode_event(request)
        with _deadline(limits.timeout_seconds):
            answer = _answer(extractors, event, names[event.kind])
        _send(answers, answer)


def _answer(extractors: LocalExtractors, event: CustomEvent, name: str) -> Answer:
    try:
        outcome = extractors.extract_one(event)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - `sys.exit()` in an extractor
        return Answer(None, "extractor_error", f"{name} raised {type(error).__name__}")
    if isinstance(outcome, Rejection):
        return Answer(None, outcome.reason, outcome.detail)
    return Answer(outcome)


def _private_pipes() -> tuple[int, BinaryIO]:
    """Take the pipes away from what extractors print and read, in C as well."""
    requests, answers = (
        fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_DESCRIPTOR)
        for number in (0, 1)
    )
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with contextlib.suppress(OSError):  # There may be no standard error.
        os.dup2(2, 1)
    if sys.stderr is not None:
        sys.stdout = sys.stderr
    return requests, os.fdopen(answers, "wb")


def _end_with_parent(requests: int, parent: int) -> None:
    """End this process when its parent is gone, also while an extractor is at work."""
    hang_up = select.poll()
    hang_up.register(requests, 0)
    while os.getppid() == parent:
        if hang_up.poll(_PARENT_LOOK_MILLISECONDS):
            break
    os._exit(0)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Let the kernel end this process later than its parent would.

    Where an extractor hangs in C, nothing in Python can end an orphan.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory(more_bytes: int) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    size_bytes = int(statm.read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size_bytes + more_bytes
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


class _Inbox:
    """The messages from the parent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def next(self, seconds: float) -> bytes | None:
        """Wait for the next one; None when none comes for so long.

        Raises:
            EOFError: The parent is gone.
        """
        while (message := take_message(self._received)) is None:
            if not self._poll.poll(seconds * 1000):
                return None
            piece = os.read(self._descriptor, PIECE_BYTES)
            if not piece:
                raise EOFError
            self._received += piece
        return message


def _send(stream: BinaryIO, message: Greeting | Answer) -> None:
    stream.write(framed(_encode(message)))
    stream.flush()


if __name__ == "__main__":
    main()
