"""Every system call of a run that changes a file fails, or the run is killed at it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline_tests.crash.one_pass import fill, fill_half
from learning_pipeline_tests.crash.traced import Outcome, TracedRuns, traced_runs
from learning_pipeline_tests.pipeline import Pipeline
from learning_pipeline_tests.stages.engine import Engine

SWEEP_POINTS = os.environ.get("LEARNING_PIPELINE_TEST_POINTS", "400")
"""How many points the sweep takes; or `all`, some 5,000, of five a second."""

OPENING = ("creat", "open", "openat")
CHANGING = (
    *("fallocate", "ftruncate", "pwrite64", "pwritev", "truncate", "write", "writev"),
    *("fdatasync", "fsync", "sync_file_range"),
    *("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat"),
    *("fchmod", "fchown", "mkdir", "mkdirat"),
)
READING = ("getdents64", "pread64", "preadv", "read", "readv")
ERRORS = {
    **dict.fromkeys(OPENING, ("ENOSPC", "EIO", "EMFILE")),
    **dict.fromkeys(CHANGING, ("ENOSPC", "EIO")),
    **dict.fromkeys(READING, ("EIO",)),
}
"""What each system call fails with."""

CAUSE = (
    r"No space left on device|Input/output error|Too many open files"
    r"|disk is full|disk I/O error|unable to open database file|cannot be listed"
)
"""How the system and SQLite name it, unless SQLite names it otherwise."""

CAUSE_OF_CALL = {
    # A file that cannot be opened to be written is opened to be read.
    **dict.fromkeys(OPENING, rf"{CAUSE}|attempt to write a readonly database"),
    # Which SQLite calls malformed: https://sqlite.org/rescode.html#ioerr_corruptfs
    "pread64": rf"{CAUSE}|a read of the state database .* failed",
}

SCENARIOS = ("no database", "a database", "a killed run's database")


@dataclass(frozen=True)
class Point:
    """One way to disturb one run.

    Attributes:
        scenario: What the run finds.
        call: The system call that is disturbed.
        injection: How, and at which of these calls, as `strace` takes it.
    """

    scenario: str
    call: str
    injection: str

    @property
    def kills(self) -> bool:
        """Whether it ends the run."""
        return "KILL" in self.injection


class Sweep:
    """Disturbs runs one by one, each from the same beginning."""

    def __init__(self, runs: TracedRuns, folder: Path) -> None:
        """Prepare the beginnings, and what has to come out in the end."""
        self._runs = runs
        self._folder = folder
        self._prepare()
        reference = self._begin("no database")
        assert self._runs.run(reference).commits
        self._reference = state(reference)
        self.points = [
            point for scenario in SCENARIOS for point in self._points_of(scenario)
        ]

    def violations(self, points: list[Point]) -> list[str]:
        """What is wrong after each point."""
        return [
            f"{point}: {wrong}" for point in points for wrong in self._violations(point)
        ]

    def disturbed(self, point: Point) -> Outcome:
        """How a run ends that is disturbed at a point."""
        folder = self._begin(point.scenario)
        return self._runs.run_disturbed(folder, point.call, point.injection)

    def _prepare(self) -> None:
        new, existing, killed = (Engine(self._folder / each) for each in SCENARIOS)
        fill_half(existing)
        assert self._runs.run(existing.folder).commits
        for engine in (new, existing):
            fill(engine)
        shutil.copytree(existing.folder, killed.folder, dirs_exist_ok=True)
        self._runs.run_disturbed(killed.folder, "pwrite64", "signal=KILL:when=60")
        assert (killed.folder / "state.db-wal").stat().st_size > 0

    def _points_of(self, scenario: str) -> Iterator[Point]:
        calls = self._runs.calls(self._begin(scenario), ERRORS)
        for call, count in sorted(calls.items()):
            for number in range(1, count + 1):
                for error in ERRORS[call]:
                    yield Point(scenario, call, f"error={error}:when={number}")
                    yield Point(scenario, call, f"error={error}:when={number}+")
                if call not in READING:
                    yield Point(scenario, call, f"signal=KILL:when={number}")

    def _begin(self, scenario: str) -> Path:
        folder = self._folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._folder / scenario, folder)
        return folder

    def _violations(self, point: Point) -> Iterator[str]:
        folder = self._begin(point.scenario)
        disturbed = self._runs.run_disturbed(folder, point.call, point.injection)
        yield from wrong_end(disturbed, point)
        rerun = self._runs.run(folder)
        if rerun.commits is None:
            yield f"the next run failed: {rerun}"
            return
        if disturbed.commits is not None and rerun.commits:
            yield f"it said that it had succeeded, but left {rerun.commits} commits"
        after = state(folder)
        if after == self._reference:
            return
        # A file that cannot be read in its turn begins its generation later.
        may_come_later = disturbed.error == "TelemetryFileUnreadableError"
        if not may_come_later or unnumbered(after) != unnumbered(self._reference):
            yield "rows, counts or ranges are not those of one undisturbed pass"


def wrong_end(outcome: Outcome, point: Point) -> Iterator[str]:
    """Whether a run ended neither well nor with an error that names the cause."""
    if outcome.code is None:
        yield "it hung"
    elif outcome.traceback:
        yield f"it ended with an error of another kind: {outcome.traceback}"
    elif outcome.code != (-signal.SIGKILL if point.kills else 0):
        yield f"it ended otherwise: {outcome}"
    elif outcome.error:
        cause = CAUSE_OF_CALL.get(point.call, CAUSE)
        if not re.search(cause, outcome.message):
            yield f"its error does not name the cause: {outcome.message}"


def state(folder: Path) -> dict[str, Any]:
    """What a pass left, by which it is compared with another one."""
    database = folder / "state.db"
    pipeline = Pipeline(folder, {"STORE_URL": f"sqlite:///{database}"})
    with contextlib.closing(sqlite3.connect(database)) as connection:
        integrity = connection.execute("PRAGMA integrity_check").fetchall()
    return {
        "integrity": integrity,
        "patterns": pipeline.export(),
        "counters": pipeline.counters(),
        "dead_letters": pipeline.dead_letters(),
        "range_problems": pipeline.audit(),
    }


def unnumbered(state: dict[str, Any]) -> dict[str, Any]:
    """The same whatever numbers the generations have; which rows are of one, stays."""
    generations: dict[tuple[str, int], list[str]] = {}
    for kind in ("patterns", "dead_letters"):
        for row in state[kind]:
            content = dict(row)
            at = (content.pop("partition"), content.pop("generation"))
            generations.setdefault(at, []).append(json.dumps(content))
    by_content = sorted((key, rows) for (key, _), rows in generations.items())
    return state | {"patterns": by_content, "dead_letters": None}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """All points, and what disturbs them."""
    folder = tmp_path_factory.mktemp("error-sweep")
    with traced_runs(folder) as runs:
        yield Sweep(runs, folder)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_survives_some_failing_system_calls(sweep: Sweep, scenario: str) -> None:
    """A few points of the sweep: it ends clearly, and the next run makes it whole."""
    points = [point for point in sweep.points if point.scenario == scenario]
    assert sweep.violations(spread(points, 5, seed=scenario)) == []


def test_a_failed_read_of_the_database_is_not_called_damage(sweep: Sweep) -> None:
    """SQLite calls it malformed; for once or for good, the run can be retried."""
    points = [
        point
        for point in sweep.points
        if (point.scenario, point.call) == ("a database", "pread64")
    ]
    outcomes = [sweep.disturbed(point) for point in points[12:76:9]]
    assert {outcome.error for outcome in outcomes} == {"StoreUnavailableError"}
    for cause in ("was read again and is sound", "cannot be read: Input/output error"):
        assert any(cause in outcome.message for outcome in outcomes)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_a_run_survives_each_of_its_system_calls_failing(sweep: Sweep) -> None:
    """The sweep: as many points as LEARNING_PIPELINE_TEST_POINTS says, or `all`."""
    count = len(sweep.points) if SWEEP_POINTS == "all" else int(SWEEP_POINTS)
    points = spread(sweep.points, count, seed="sweep")
    violations = sweep.violations(points)
    print(f"{len(points)} of {len(sweep.points)} points")
    assert violations == []


def spread(points: list[Point], count: int, *, seed: str) -> list[Point]:
    """Points at random: a few of each system call before more of a frequent one."""
    shuffled = random.Random(seed).sample(points, len(points))
    met: Counter[str] = Counter()
    turns: list[tuple[int, Point]] = []
    for point in shuffled:
        met[point.call] += 1
        turns.append((met[point.call], point))
    turns.sort(key=lambda turn: turn[0])
    return [point for _, point in turns[:count]]
