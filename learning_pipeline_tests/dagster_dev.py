"""A real `learning-pipeline dev`, for tests: started, asked over GraphQL, killed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from learning_pipeline.store import Store
from learning_pipeline_tests.pipeline import COMMAND, Pipeline

START_SECONDS = 90
REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "learning_pipeline",
}
ADD_PARTITION = """
mutation ($key: String!, $repository: RepositorySelector!) {
  addDynamicPartition(
    partitionsDefName: "telemetry_files", partitionKey: $key,
    repositorySelector: $repository
  ) { __typename }
}
"""
LAUNCH = """
mutation ($run: ExecutionParams!) {
  launchPipelineExecution(executionParams: $run) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Dev:
    """One running `learning-pipeline dev`.

    Attributes:
        pipeline: What it works on.
        process: Its main process.
        port: Where the UI listens.
    """

    pipeline: Pipeline
    process: subprocess.Popen[bytes]
    port: int
    known: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The UI."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, query: str, **variables: Any) -> Any:
        """Ask GraphQL."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Id, status and tags of all runs, newest first."""
        data = self.query(
            "{runsOrError{... on Runs{results{runId status tags{key value}}}}}"
        )
        runs = data["runsOrError"]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return list(runs)

    def status(self, run_id: str) -> str:
        """The status of one run."""
        data = self.query(
            "query ($id: ID!) {runOrError(runId: $id) {... on Run {status}}}",
            id=run_id,
        )
        return str(data["runOrError"]["status"])

    def processes(self) -> list[psutil.Process]:
        """Every process of the tree that was ever seen and still lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            for child in (main, *main.children(recursive=True)):
                self.known[child.pid] = child
        # A child whose parent died is no longer found below the main process.
        for child in list(self.known.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                for grandchild in child.children(recursive=True):
                    self.known[grandchild.pid] = grandchild
        return [each for each in self.known.values() if each.is_running()]

    def kill_tree(self) -> None:
        """SIGKILL for every process of it."""
        for _ in range(3):
            for child in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)
            time.sleep(0.2)
        self.process.wait(10)

    def stop(self) -> None:
        """End it as Ctrl-C would; what does not end is killed."""
        self.processes()
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.kill_tree()


@contextlib.contextmanager
def running_dev(
    pipeline: Pipeline, extra: Mapping[str, str] | None = None
) -> Iterator[Dev]:
    """Start `learning-pipeline dev`, wait until it answers, stop it afterwards."""
    port = free_port()
    log = (pipeline.folder / "dev.log").open("ab")
    process = subprocess.Popen(
        [COMMAND, "dev", "--port", str(port)],
        env=pipeline.environment | dict(extra or {}),
        cwd=pipeline.folder,
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    log.close()
    dev = Dev(pipeline, process, port)
    try:
        wait_for(lambda: answers(dev), START_SECONDS, "the UI to answer")
        yield dev
    finally:
        dev.stop()


def answers(dev: Dev) -> bool:
    """Whether the UI answers and has loaded the definitions."""
    assert dev.process.poll() is None, (dev.pipeline.folder / "dev.log").read_text()
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        data = dev.query(
            "{repositoriesOrError{... on RepositoryConnection{nodes{name}}}}"
        )
        return bool(data["repositoriesOrError"].get("nodes"))
    return False


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until `condition` gives something true; gives that.

    Raises:
        TimeoutError: It did not in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    message = f"waited {seconds} s for {what}"
    raise TimeoutError(message)


def add_partition(dev: Dev, key: str) -> None:
    """Add a partition, as the sensor does."""
    dev.query(ADD_PARTITION, key=key, repository=REPOSITORY)


def launch(dev: Dev, key: str) -> str:
    """Add the partition and materialise it, checks included; gives the run's id."""
    add_partition(dev, key)
    answer = dev.query(
        LAUNCH,
        run={
            "selector": {
                **REPOSITORY,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["interaction_patterns"]}],
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]},
            "runConfigData": {},
            "mode": "default",
        },
    )
    launched = answer["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def lag_bytes(pipeline: Pipeline, *, torn_bytes: int = 0) -> int:
    """Bytes of all files that no commit covers, apart from known torn tails."""
    sizes = sum(path.stat().st_size for path in pipeline.telemetry.rglob("*.jsonl"))
    return sizes - committed_bytes(pipeline) - torn_bytes


def committed_bytes(pipeline: Pipeline) -> int:
    """Sum of the committed offsets."""
    with Store(pipeline.store_url) as store:
        return sum(each.offset for each in store.checkpoints(with_kinds=False))


def run_worker(dev: Dev) -> psutil.Process:
    """The process of the run under way: the code server spawned it."""

    def find() -> psutil.Process | None:
        for child in dev.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if _runs(child, "spawn_main") and any(
                    _runs(parent, "grpc") for parent in child.parents()[:1]
                ):
                    return child
        return None

    found = wait_for(find, 30, "the process of a run")
    assert isinstance(found, psutil.Process)
    return found


def _runs(process: psutil.Process, marker: str) -> bool:
    return marker in " ".join(process.cmdline())


def unfinished(dev: Dev) -> list[str]:
    """Statuses of runs that are not over."""
    over = {"SUCCESS", "FAILURE", "CANCELED"}
    return [run["status"] for run in dev.runs() if run["status"] not in over]


__all__ = [
    "Dev",
    "add_partition",
    "answers",
    "committed_bytes",
    "free_port",
    "lag_bytes",
    "launch",
    "run_worker",
    "running_dev",
    "unfinished",
    "wait_for",
]
