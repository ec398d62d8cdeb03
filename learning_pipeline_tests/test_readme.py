"""What the README says is so: its commands run, its tables are complete."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from learning_pipeline.cli import cli
from learning_pipeline.settings import Settings
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.pipeline import COMMAND, PROJECT, Pipeline

README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return [text for name, text in BLOCKS if name == language]


def table_rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]


def shown_default(name: str) -> str:
    """A setting's default as the README writes it."""
    default = Settings.model_fields[name].default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, Path):
        return f"`./{default}`"
    if default == "":
        return "SQLite in the state directory" if name == "store_url" else "none"
    return f"`{default}`"


def test_the_settings_table_lists_every_setting_as_it_is() -> None:
    """Names, defaults and meanings are those of the code, in its order."""
    expected = [
        [f"`{name.upper()}`", shown_default(name), field.description]
        for name, field in Settings.model_fields.items()
    ]
    assert table_rows("Settings") == expected


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    """The README's table and the command's tree are the same."""
    documented = {
        re.split(r" \[| FILE| ID| QUERY|`", row[0].strip("`"))[0].strip()
        for row in table_rows("Commands")
    }
    existing = set()
    for name, command in cli.commands.items():
        if isinstance(command, click.Group):
            existing |= {f"{name} {inner}" for inner in command.commands}
            existing |= {name} if command.invoke_without_command else set()
        else:
            existing.add(name)
    assert documented == existing


def test_the_start_commands_run_as_written(tmp_path: Path) -> None:
    """The demo, and what the README does with it afterwards; not the endless `dev`."""
    shutil.copytree(
        PROJECT,
        tmp_path / "project",
        ignore=shutil.ignore_patterns(".git", ".venv*", ".*cache", "__pycache__"),
    )
    (tmp_path / "project" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "project" / ".venv" / "bin" / "learning-pipeline").symlink_to(COMMAND)
    first, second = blocks("bash")[:2]
    assert first.startswith("python3 -m venv .venv && .venv/bin/pip install . && ")
    demo = first.rsplit(" && ", 1)[1]
    lines = [
        line for line in second.splitlines() if "learning-pipeline dev" not in line
    ]
    script = "set -e\n" + demo + "\n".join(lines)
    completed = subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=tmp_path / "project",
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LEARNING_PIPELINE_", "DAGSTER_"))
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert "106 events, 46 patterns" in completed.stdout
    assert "1 files processed, 0 failed: 5 events" in completed.stdout


EXAMPLE_RUN = """
import os, signal, sys
import dagster as dg
from learning_pipeline import steps
{example}
def kill_at(count):
    seen = 0
    def listener(step):
        nonlocal seen
        seen += step == "commit.rows_written"
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
    steps.listen(listener)
if sys.argv[1] != "never":
    kill_at(int(sys.argv[1]))
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("telemetry_files", ["a.jsonl"])
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, partition_key="a.jsonl", asset_selection=[slow_steps.key]
    )
    assert result.success
"""


def test_the_asset_of_ones_own_is_exactly_once(tmp_path: Path) -> None:
    """The README's ten lines, killed in two commits and run again."""
    (example,) = blocks("python")
    pipeline = Pipeline(tmp_path, {"CHECKPOINT_INTERVAL": "50"})
    write_telemetry(pipeline.telemetry / "a.jsonl", 400)
    script = EXAMPLE_RUN.format(example=example)

    def run(kill_at: str) -> int:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, kill_at],
            env=pipeline.environment,
            cwd=tmp_path,
            check=False,
            capture_output=True,
        ).returncode

    assert run("3") == -signal.SIGKILL
    assert run("4") == -signal.SIGKILL
    assert run("never") == 0
    engine = sa.create_engine(pipeline.store_url)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text('SELECT "offset", ms FROM slow_steps ORDER BY "offset"')
        ).all()
    engine.dispose()
    expected = []
    offset = 0
    for line in (pipeline.telemetry / "a.jsonl").read_bytes().splitlines(keepends=True):
        found = re.search(rb'"latency_ms": (\d+)', line)
        if found and int(found[1]) > 60_000:
            expected.append((offset, int(found[1])))
        offset += len(line)
    assert [tuple(row) for row in rows] == expected
    assert expected


@pytest.mark.parametrize("name", ["workspace.yaml", "pyproject.toml"])
def test_dagster_finds_the_project(name: str) -> None:
    """A plain `dagster -w workspace.yaml` and a bare one load the definitions."""
    option = ["-w", name] if name == "workspace.yaml" else []
    completed = subprocess.run(
        [str(Path(COMMAND).parent / "dagster"), "definitions", "validate", *option],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
