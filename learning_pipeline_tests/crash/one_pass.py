"""One pass over two partitions in a process of its own: what the error sweep disturbs.

    python -m learning_pipeline_tests.crash.one_pass DESCRIPTOR SCRATCH_FOLDER

imports everything, warms up, and then forks a process for each folder that it is sent
over the socket. That process answers and waits before it begins, so that a tracer can
be attached; from then on every system call is one of the pass.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from learning_pipeline import logs
from learning_pipeline.errors import LearningPipelineError
from learning_pipeline.store import opening, patterns
from learning_pipeline.telemetry import discover
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import STAGE, Engine

PARTITIONS = ("a.jsonl", "b.jsonl")
MESSAGE_BYTES = 65_536


def one_pass(engine: Engine) -> int:
    """Look, drain both partitions, sync, close; gives the count of commits."""
    with (
        engine.store() as store,
        store.session(
            stage=STAGE, table=patterns, run_id="run", history_count=20
        ) as session,
    ):
        found = discover(engine.root, ["**/*.jsonl"], store.known_partitions())
        keys = tuple(file.partition for file in found.files)
        assert found.problems or keys == PARTITIONS, keys
        passes = [engine.drain_into(session, each) for each in PARTITIONS]
        session.sync([claim for claim, _ in passes])
    return sum(progress.commit_count for _, progress in passes)


def fill_half(engine: Engine) -> None:
    """One file, cut wherever that is; one of which a first file was rotated away."""
    for seed, name in ((1, "a.jsonl"), (3, "b.jsonl")):
        content = _content(seed)
        engine.write(content[: len(content) // 2], name)
    engine.write(_without_end(2), "b.jsonl.1")


def fill(engine: Engine) -> None:
    """The first file whole; the other rotated once more, and the oldest compressed."""
    engine.write(_content(1), "a.jsonl")
    active = engine.root / "b.jsonl"
    if active.exists():
        active.rename(engine.root / "b.jsonl.1")
    engine.write(_without_end(3), "b.jsonl.1")
    engine.write(gzip.compress(_without_end(2), mtime=0), "b.jsonl.2.gz")
    engine.write(_content(4), "b.jsonl")


def _content(seed: int) -> bytes:
    lines = list(generate_lines(14, seed=seed))
    lines[6:6] = [b"{broken\n", b'["no object"]\n']
    return b"".join(lines)


def _without_end(seed: int) -> bytes:
    return _content(seed).removesuffix(b"\n")


def serve(connection: socket.socket, scratch: Path) -> None:
    """Fork a process for each folder that is asked for, until nobody asks."""
    logs.configure()
    engine = Engine(scratch)
    fill(engine)
    one_pass(engine)
    while folder := connection.recv(MESSAGE_BYTES).decode():
        child = os.fork()
        if child == 0:
            _run_child(connection, Path(folder))
        _, status = os.waitpid(child, 0)
        _send(connection, code=os.waitstatus_to_exitcode(status))


def _run_child(connection: socket.socket, folder: Path) -> None:
    engine = Engine(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    # As a process that has just begun: this one has read the migrations before.
    opening._script.cache_clear()
    # Sockets are spoken to with calls that the sweep does not disturb.
    _send(connection, pid=os.getpid())
    connection.recv(MESSAGE_BYTES)
    try:
        outcome: dict[str, Any] = {"commits": one_pass(engine)}
    except LearningPipelineError as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        outcome = {"traceback": traceback.format_exc()[-8_000:]}
    _send(connection, **outcome)
    os._exit(0)


def _send(connection: socket.socket, **message: object) -> None:
    connection.send(json.dumps(message).encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
