"""A partition with rotated files of known ages, for the tests of retention."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from learning_pipeline.stages.retention import (
    Action,
    Decision,
    Retention,
    RetentionPolicy,
)
from learning_pipeline.store import Store
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.stages.engine import Engine

DAY_NS = 86_400_000_000_000
FIRST = b"".join(generate_lines(30, seed=11))
SECOND = b"".join(generate_lines(20, seed=12))
THIRD = b"".join(generate_lines(10, seed=13))


def age(path: Path, days: float) -> None:
    """Make a file look as if it was last written to so long ago."""
    then = time.time_ns() - int(days * DAY_NS)
    os.utime(path, ns=(then, then))


def rotate(engine: Engine, name: str, *, days: float, active: str = "a.jsonl") -> Path:
    """Rename the active file away, and make it old."""
    path = engine.root / name
    (engine.root / active).rename(path)
    age(path, days)
    return path


def rotated_and_read(engine: Engine) -> Path:
    """A first generation, rotated away forty days ago, and a second; all is read."""
    engine.write(FIRST)
    engine.drain()
    path = rotate(engine, "a.jsonl.1", days=40)
    engine.write(SECOND)
    engine.drain()
    return path


def retain(  # noqa: PLR0913 - keyword-only, named at each call
    engine: Engine,
    action: Action = "delete",
    *,
    execute: bool = True,
    older_than_days: float = 30,
    keys: Sequence[str] = (),
    patterns: Sequence[str] = ("**/*.jsonl",),
    store: Store | None = None,
) -> list[Decision]:
    """One look at the rotated files."""
    policy = RetentionPolicy(action, older_than_days, execute=execute)
    with store or engine.store() as opened:
        return list(
            Retention(
                opened,
                telemetry_root=engine.root,
                patterns=patterns,
                policy=policy,
                log=structlog.wrap_logger(structlog.ReturnLogger()),
            ).run(keys)
        )


def outcomes(decisions: Sequence[Decision]) -> dict[str, str]:
    """What became of each file."""
    return {each.file: each.outcome for each in decisions}


def listing(engine: Engine) -> list[str]:
    """Everything in the telemetry root, hidden or not."""
    return sorted(path.name for path in engine.root.iterdir())


def stored(engine: Engine) -> tuple[list[dict[str, Any]], list[Any]]:
    """The rows, and the counters of each stage."""
    with engine.store() as store:
        return (
            list(store.iterate_patterns()),
            [each.counters for each in store.checkpoints()],
        )
