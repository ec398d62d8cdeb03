"""Two workers that are killed at random while a writer appends and rotates.

    python -m learning_pipeline_tests.crash.rotating FOLDER KILL_COUNT SEED

imports everything once and forks the writer and the workers, so that a kill costs a
tenth of a second. Prints what came of it as JSON.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from learning_pipeline.errors import LearningPipelineError
from learning_pipeline.stages.audit import range_problems
from learning_pipeline_tests.model.lines import good_line
from learning_pipeline_tests.stages.engine import Engine

PARTITIONS = ("chained", "copied")
WORKER_COUNT = 2
MEAN_LIFE_SECONDS = 0.1


def main(folder: Path, kill_count: int, seed: int) -> None:
    """Write, rotate, work and kill; then one pass, and the outcome on stdout."""
    random_ = random.Random(seed)
    engine = Engine(folder, interval=3)
    engine.store().close()
    stop = folder / "stop"
    writer = _forked(lambda: _Writer(engine.root, seed).write_until(stop))
    workers = [_forked(lambda: _work(engine)) for _ in range(WORKER_COUNT)]
    working = 0
    before = _row_count(folder)
    for _ in range(kill_count):
        time.sleep(random_.expovariate(1 / MEAN_LIFE_SECONDS))
        index = random_.randrange(WORKER_COUNT)
        os.kill(workers[index], signal.SIGKILL)
        _, status = os.waitpid(workers[index], 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        now = _row_count(folder)
        working += now > before
        before = now
        workers[index] = _forked(lambda: _work(engine))
    stop.touch()
    _, status = os.waitpid(writer, 0)
    assert status == 0
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    print(json.dumps({"working": working, **_outcome(engine)}))


def _outcome(engine: Engine) -> dict[str, object]:
    for name in PARTITIONS:
        assert engine.drain(f"{name}.jsonl").is_complete
    written = json.loads((engine.folder / "written").read_text())
    found = Counter(_name(row["prompt"]) for row in engine.rows())
    expected = {f"{name} {n}" for name in PARTITIONS for n in range(written[name])}
    with engine.store() as store:
        checkpoints = store.checkpoints()
        problems = range_problems(store.history(), checkpoints)
    return {
        "written": len(expected),
        "lost": sorted(expected - set(found)),
        "doubled": sorted(text for text, count in found.items() if count > 1),
        "unexpected": sorted(set(found) - expected),
        "lost_bytes": sum(each.counters.lost_bytes for each in checkpoints),
        "dead_letters": sum(each.counters.dead_letter_count for each in checkpoints),
        "counted": sum(each.counters.row_count for each in checkpoints),
        "generations": sum(each.generation + 1 for each in checkpoints),
        "problems": problems,
    }


def _name(text: str) -> str:
    return " ".join(text.split()[:2])


def _forked(function: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - the child ends here
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return child


def _work(engine: Engine) -> None:
    """Pass after pass, in competition with the other worker."""
    random_ = random.Random()
    while True:
        try:
            engine.drain(f"{random_.choice(PARTITIONS)}.jsonl")
        except LearningPipelineError:
            # Fenced by the other one, or the files moved too often: go on.
            time.sleep(0.01)


def _row_count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "state.db", timeout=60)) as database:
        (count,) = database.execute("SELECT count(*) FROM patterns").fetchone()
    return int(count)


class _Writer:
    """Appends to both files, and rotates them, each in its own way."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._written = dict.fromkeys(PARTITIONS, 0)
        self._rotation_count = 0

    def write_until(self, stop: Path) -> None:
        """Write, a few lines at a time; then tell how many there were."""
        while not stop.exists():
            for name in PARTITIONS:
                self._append(name)
                if self._random.random() < 1 / 20:
                    self._rotate(name)
            time.sleep(0.02)
        (stop.parent / "written").write_text(json.dumps(self._written))

    def _append(self, name: str) -> None:
        lines = []
        for _ in range(self._random.randrange(4)):
            text = f"{name} {self._written[name]}"
            lines.append(good_line(text, padding=self._random.randrange(40)))
            self._written[name] += 1
        content = b"".join(lines)
        cut = self._random.randrange(len(content) + 1)
        with (self._root / f"{name}.jsonl").open("ab", buffering=0) as file:
            file.write(content[:cut])
            time.sleep(0.002)
            file.write(content[cut:])

    def _rotate(self, name: str) -> None:
        active = self._root / f"{name}.jsonl"
        if not active.stat().st_size:
            return
        self._rotation_count += 1
        for number in range(self._rotation_count, 0, -1):
            for end in ("", ".gz"):
                old = self._root / f"{name}.jsonl.{number}{end}"
                if old.exists():
                    old.rename(self._root / f"{name}.jsonl.{number + 1}{end}")
        first = self._root / f"{name}.jsonl.1"
        if name == "chained":
            active.rename(first)
        else:
            content = active.read_bytes()
            with first.open("wb", buffering=0) as copy:
                copy.write(content[: len(content) // 2])
                time.sleep(0.01)
                copy.write(content[len(content) // 2 :])
            os.truncate(active, 0)
        second = self._root / f"{name}.jsonl.2"
        if second.exists() and self._random.random() < 1 / 2:
            with (
                second.open("rb") as plain,
                gzip.open(f"{second}.gz", "wb") as packed,
            ):
                shutil.copyfileobj(plain, packed)
            second.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
