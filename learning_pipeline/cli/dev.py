"""`dev`: the Dagster UI, daemon, schedules and sensors on this machine."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

import click

from learning_pipeline.cli.home import dagster_home, dagster_instance
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.telemetry import discover

LOOPBACK = "127.0.0.1"
WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: learning_pipeline.definitions
      location_name: learning_pipeline
"""


@click.command()
@click.option(
    "--host", default=LOOPBACK, show_default=True, help="Address to listen on."
)
@click.option(
    "--port",
    default=3000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port.",
)
def dev(host: str, port: int) -> None:
    """Run the Dagster UI, daemon, schedules and sensors on this machine.

    Runs whose processes died with an earlier `dev` are ended first, and retried.
    The UI has no log-in: whoever reaches the address can start runs.
    """
    settings = load_settings()
    # Wrong settings and a damaged database show here, not in a daemon's log.
    discover(settings.telemetry_dir, settings.patterns)
    Store(settings.resolved_store_url).close()
    home = dagster_home(settings)
    _hold_lock(home / "dev.lock")

    from learning_pipeline.defs.settling import settle_lost_runs  # noqa: PLC0415

    with dagster_instance(settings) as instance:
        for run_id in settle_lost_runs(instance):
            click.echo(f"run {run_id} died with its process; it was ended", err=True)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["LEARNING_PIPELINE_TELEMETRY_DIR"] = str(
        settings.telemetry_dir.absolute()
    )
    os.environ["LEARNING_PIPELINE_STATE_DIR"] = str(settings.state_dir.absolute())
    # Started in the background by a script, SIGINT would be ignored for good.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--workspace",
        str(_workspace(home)),
        "--host",
        host,
        "--port",
        str(port),
    ]
    # In place of this process: signals reach it, and the lock lives as long as it.
    os.execv(sys.executable, arguments)  # noqa: S606 - no shell, fixed arguments


def _workspace(home: Path) -> Path:
    # With the location's name as in pyproject.toml: sensors remember by it.
    path = home / "workspace.yaml"
    path.write_text(WORKSPACE_YAML)
    return path


def _hold_lock(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        message = (
            f"`learning-pipeline dev` runs already on {path.parent} (process {owner}); "
            "use it, or set LEARNING_PIPELINE_STATE_DIR to another directory"
        )
        raise ConfigurationError(message) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - takes no keyword
