"""Runs of `one_pass` under `strace`, which lists or disturbs their system calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning_pipeline_tests.crash.one_pass import MESSAGE_BYTES

RUN_SECONDS = 60
"""A run takes a tenth of a second; one that takes so long hangs."""

_CALL = re.compile(r"(?:\d+\s+)?(\w+)\(")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: Of its process; negative for a signal, None when it hung.
        commits: How many commits it made, when it succeeded.
        error: The class of the project's own error that ended it.
        message: That error's message.
        traceback: Of anything else that ended it.
    """

    code: int | None
    commits: int | None = None
    error: str = ""
    message: str = ""
    traceback: str = ""


class TracedRuns:
    """Starts runs of `one_pass`, each in a process of its own."""

    def __init__(self, connection: socket.socket, folder: Path) -> None:
        """Use a server that is at work behind `connection`."""
        connection.settimeout(RUN_SECONDS)
        strace = shutil.which("strace")
        assert strace, "the error sweep needs strace: apt install strace"
        self._strace = strace
        self._connection = connection
        self._log = folder / "strace.log"

    def run(self, folder: Path) -> Outcome:
        """Run undisturbed."""
        return self._finish(self._begin(folder))

    def calls(self, folder: Path, names: Iterable[str]) -> Counter[str]:
        """Run undisturbed, and count its system calls of these names."""
        # Not every machine has every one of them.
        known = ",".join(f"?{name}" for name in names)
        with self._traced(folder, f"trace={known}") as child:
            outcome = self._finish(child)
        assert outcome.commits, outcome
        return Counter(
            match[1]
            for line in self._log.read_text(errors="replace").splitlines()
            if (match := _CALL.match(line))
        )

    def run_disturbed(self, folder: Path, call: str, injection: str) -> Outcome:
        """Run with `strace`'s `inject` on one system call, which must take place."""
        options = f"trace={call}", f"inject={call}:{injection}"
        with self._traced(folder, *options) as child:
            outcome = self._finish(child)
        log = self._log.read_text(errors="replace")
        assert "(INJECTED)" in log or "killed by SIGKILL" in log, (call, injection)
        return outcome

    def _begin(self, folder: Path) -> int:
        self._connection.send(str(folder).encode())
        return int(self._receive()["pid"])

    @contextmanager
    def _traced(self, folder: Path, *expressions: str) -> Iterator[int]:
        child = self._begin(folder)
        options = [f"-e{expression}" for expression in expressions]
        tracer = subprocess.Popen(
            [self._strace, "-f", f"-o{self._log}", *options, f"-p{child}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracer.stderr is not None
        with tracer:
            # The child waits in its socket until it is stopped for the tracer.
            said = tracer.stderr.readline()
            assert "attached" in said, said
            yield child

    def _finish(self, child: int) -> Outcome:
        self._connection.send(b"go")
        told: dict[str, Any] = {}
        while "code" not in told:
            try:
                told |= self._receive()
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._receive()
                return Outcome(code=None)
        return Outcome(**told)

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(MESSAGE_BYTES))
        return message


@contextmanager
def traced_runs(folder: Path) -> Iterator[TracedRuns]:
    """A server of runs, with its warm-up and the tracer's log in `folder`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "learning_pipeline_tests.crash.one_pass",
                str(theirs.fileno()),
                str(folder / "warm-up"),
            ],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        with server:
            try:
                yield TracedRuns(ours, folder)
            finally:
                server.kill()
