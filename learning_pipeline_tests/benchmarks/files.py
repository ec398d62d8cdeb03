"""Many small files: processed, and looked at when there are very many."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import dagster as dg
from dagster import DagsterInstance

from learning_pipeline import logs
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.fleet import LINE, store_as_read, write_fleet
from learning_pipeline_tests.pipeline import COMMAND

EVENTS_PER_FILE = 20


def measure_many_files(folder: Path, *, file_count: int) -> None:
    """Print files a second of a backfill from an empty state, and of doing nothing."""
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    telemetry = folder / "files"
    telemetry.mkdir()
    lines = list(generate_lines(EVENTS_PER_FILE * 50))
    for number in range(file_count):
        start = EVENTS_PER_FILE * (number % 50)
        (telemetry / f"{number:05}.jsonl").write_bytes(
            b"".join(lines[start : start + EVENTS_PER_FILE])
        )
    logs.configure(level="ERROR")
    environment = {
        "LEARNING_PIPELINE_TELEMETRY_DIR": str(telemetry),
        "LEARNING_PIPELINE_STATE_DIR": str(folder / "files-state"),
    }
    with patch.dict(os.environ, environment):
        _measure(folder, file_count)


def measure_fleet(folder: Path, *, file_count: int) -> None:
    """Print what looking at very many files costs, beside only listing them."""
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    telemetry, home = folder / "fleet", folder / "fleet-home"
    write_fleet(telemetry, file_count)
    home.mkdir()
    logs.configure(level="ERROR")
    environment = {
        "LEARNING_PIPELINE_TELEMETRY_DIR": str(telemetry),
        "LEARNING_PIPELINE_STATE_DIR": str(folder / "fleet-state"),
    }
    print(f"\n{file_count:,} files; seconds, and of only listing them with sizes")
    floor = _seconds(lambda: [path.stat() for path in telemetry.rglob("*.jsonl")])
    print(f"{'listing':<36} {floor:>7.2f} {1:>7.1f}")
    with (
        patch.dict(os.environ, environment),
        DagsterInstance.from_config(str(_configured(home))) as instance,
    ):
        for name, action in _looks(instance, telemetry, folder):
            seconds = _seconds(action)
            print(f"{name:<36} {seconds:>7.2f} {seconds / floor:>7.1f}", flush=True)


def _looks(
    instance: DagsterInstance, telemetry: Path, folder: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    from learning_pipeline.defs.sensors import plan_runs  # noqa: PLC0415 - settings first
    from learning_pipeline.settings import load_settings  # noqa: PLC0415
    from learning_pipeline.telemetry import discover  # noqa: PLC0415

    settings = load_settings()
    url = settings.resolved_store_url

    def look() -> None:
        plan_runs(instance, settings, {}, now=datetime.now(UTC))

    def command(*arguments: str) -> Callable[[], object]:
        with_import = [sys.executable, COMMAND, *arguments]
        out = folder / "fleet-output"

        def start() -> None:
            with out.open("wb") as file:
                subprocess.run(with_import, stdout=file, check=True)

        return start

    yield "discover", lambda: discover(settings.telemetry_dir, settings.patterns)
    yield "a look, all new", look
    yield "a look, all unread, none new", look
    files = discover(settings.telemetry_dir, settings.patterns).files
    with contextlib.suppress(FileNotFoundError):
        Path(url.removeprefix("sqlite:///")).unlink()
    store_as_read(url, files)
    yield "a look, nothing changed", look
    for number in range(0, len(files), max(len(files) // 5, 1)):
        with (telemetry / files[number].partition).open("ab") as file:
            file.write(LINE)
    yield "a look, five grown", look
    yield "the command: status", command("status")
    yield "the command: status --json", command("status", "--json")
    yield "the command: checkpoints show", command("checkpoints", "show")
    yield "the command: process, five grown", command("process")


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _measure(folder: Path, file_count: int) -> None:
    from learning_pipeline.defs import build_definitions  # noqa: PLC0415 - settings first
    from learning_pipeline.defs.assets import shared_runs  # noqa: PLC0415
    from learning_pipeline.defs.partitions import telemetry_files  # noqa: PLC0415

    @dg.asset(partitions_def=telemetry_files, backfill_policy=shared_runs)
    def nothing() -> None:
        pass

    idle_job = dg.Definitions(
        assets=[nothing],
        jobs=[dg.define_asset_job("idle", executor_def=dg.in_process_executor)],
    ).resolve_job_def("idle")
    idle = _files_per_second(folder / "idle-home", idle_job, file_count)
    learn = build_definitions().resolve_job_def("learn")
    learning = _files_per_second(folder / "learn-home", learn, file_count)
    print(f"\n{file_count:,} small files, {shared_runs.max_partitions_per_run} a run")
    print(f"an asset that does nothing: {idle:>7.1f} files/s")
    print(f"learn:                      {learning:>7.1f} files/s")
    print(f"ratio:                      {learning / idle:>7.2f}", flush=True)


def _files_per_second(home: Path, job: dg.JobDefinition, file_count: int) -> float:
    home.mkdir()
    keys = [f"{number:05}.jsonl" for number in range(file_count)]
    from learning_pipeline.defs.assets import shared_runs  # noqa: PLC0415
    from learning_pipeline.defs.partitions import add_keys, range_tags  # noqa: PLC0415

    size = shared_runs.max_partitions_per_run or file_count
    with DagsterInstance.from_config(str(_configured(home))) as instance:
        add_keys(instance, keys)
        began = time.perf_counter()
        for start in range(0, file_count, size):
            result = job.execute_in_process(
                instance=instance,
                tags=range_tags(keys[start : start + size]),
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}
                },
            )
            assert result.success
        return file_count / (time.perf_counter() - began)


def _configured(home: Path) -> Path:
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return home
