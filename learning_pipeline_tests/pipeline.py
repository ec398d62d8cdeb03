"""A pipeline in a folder of its own, for tests: real commands, and an oracle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learning_pipeline import steps
from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index import index_home
from learning_pipeline.learning.index.comparison import compare_index
from learning_pipeline.settings import Settings
from learning_pipeline.stages.audit import range_problems
from learning_pipeline.store import Store
from learning_pipeline.store.index_feed import (
    INDEX_STAGE,
    example_places,
    index_identity,
)
from learning_pipeline.testing import crash_points
from learning_pipeline_tests.forking import FORK_SERVER

COMMAND = str(Path(sys.executable).parent / "learning-pipeline")
PROJECT = Path(__file__).parents[1]

FIRST_STAGE_ONLY = {"LEARN_STAGES": "interaction_patterns"}
"""For tests that are about files, checkpoints and commands: half the time."""


@dataclass
class Pipeline:
    """A telemetry root and a state directory.

    Attributes:
        folder: Holds both.
        settings: More settings, by name without prefix.
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the telemetry root."""
        self.telemetry.mkdir(parents=True, exist_ok=True)

    @property
    def telemetry(self) -> Path:
        """The telemetry root."""
        return self.folder / "telemetry"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.folder / "state"

    @property
    def store_url(self) -> str:
        """The state database."""
        return self.settings.get("STORE_URL", f"sqlite:///{self.state / 'state.db'}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LEARNING_PIPELINE_", "DAGSTER_"))
        }
        own = {
            "TELEMETRY_DIR": str(self.telemetry),
            "STATE_DIR": str(self.state),
            **self.settings,
        }
        return clean | {f"LEARNING_PIPELINE_{name}": own[name] for name in own}

    def run(self, *arguments: str, timeout: float = 120) -> Completed:
        """Run the real command in a process of its own."""
        completed = subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Completed(completed.returncode, completed.stdout, completed.stderr)

    def run_forked(
        self, *arguments: str, crash_at: str | None = None, occurrence: int = 1
    ) -> int:
        """Run the command in a forked process, quickly; gives its exit code.

        With `crash_at` it kills itself with SIGKILL at that step.
        """
        process = FORK_SERVER.Process(
            target=_run_command,
            args=(self.environment, str(self.folder), arguments, crash_at, occurrence),
        )
        process.start()
        process.join(120)
        if process.exitcode is None:
            process.kill()
            process.join()
            message = f"{arguments} did not end"
            raise TimeoutError(message)
        return process.exitcode

    def process(self) -> None:
        """One undisturbed pass over everything."""
        code = self.run_forked("process")
        assert code == 0, f"process ended with {code}"

    def export(self) -> list[dict[str, Any]]:
        """The lines of `export patterns`."""
        with Store(self.store_url) as store:
            return list(store.iterate_patterns())

    def audit(self) -> list[str]:
        """What is wrong with the committed ranges."""
        with Store(self.store_url) as store:
            return range_problems(store.history(), store.checkpoints())

    def counters(self) -> list[tuple[str, str, Any]]:
        """The counters of every stage and file."""
        with Store(self.store_url) as store:
            return [
                (each.stage, each.partition, each.counters)
                for each in store.checkpoints()
            ]

    def example_contents(self) -> list[str]:
        """The content hashes of the examples."""
        with Store(self.store_url) as store:
            return [each.content_hash.hex() for each in example_places(store)]

    def index_problems(self) -> list[str]:
        """How the index differs from the examples; nothing waits."""
        settings = Settings(
            state_dir=self.state,
            telemetry_dir=self.telemetry,
            store_url=self.settings.get("STORE_URL", ""),
        )
        with (
            Store(self.store_url) as store,
            index_home(settings, Breakers(store, settings)) as home,
        ):
            if index_identity(store) is None:
                return []
            with home.open("compare") as index:
                found = compare_index(store, index)
        problems = [f"{each} is missing" for each in found.missing]
        problems += [f"{each} is stray" for each in found.stray]
        if found.waiting_count:
            problems.append(f"{found.waiting_count} wait")
        return problems

    def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters, without when and by which run."""
        with Store(self.store_url) as store:
            letters = list(store.iterate_dead_letters())
        for letter in letters:
            del letter["rejected_at"], letter["run_id"]
        return letters


@dataclass(frozen=True)
class Completed:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.output)


def assert_as_from_one_pass(pipeline: Pipeline, reference: Pipeline) -> None:
    """THE oracle: the same rows, counts and dead letters; contiguous ranges."""
    assert pipeline.export() == reference.export()
    assert pipeline.counters() == reference.counters()
    assert pipeline.dead_letters() == reference.dead_letters()
    assert pipeline.audit() == []
    stages = pipeline.settings.get("LEARN_STAGES", "all")
    if stages != "all" and INDEX_STAGE not in stages:
        return
    contents = {each["content_hash"] for each in pipeline.export() if each["quality"]}
    assert pipeline.example_contents() == sorted(contents)
    assert pipeline.index_problems() == []


def _run_command(
    environment: Mapping[str, str],
    folder: str,
    arguments: Sequence[str],
    crash_at: str | None,
    occurrence: int,
) -> None:
    from learning_pipeline.cli import main  # noqa: PLC0415 - in the forked process

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    log = os.open("commands.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["learning-pipeline", *arguments]
    if crash_at is None:
        steps.listen(None)
    else:
        crash_points.kill_at(crash_at, occurrence)
    main()
