"""Where Dagster keeps its history: DAGSTER_HOME, else in the state directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance
from filelock import FileLock

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import Settings

DAGSTER_YAML = """\
# Written once by learning-pipeline; yours to edit.

# A run whose process was killed is started again and goes on where it stood.
run_retries:
  enabled: true
  max_retries: 3

# Frees what a killed run still holds, and ends runs that never started.
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60

telemetry:
  enabled: false
"""


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's own state; made, with its configuration, if missing.

    Raises:
        ConfigurationError: It cannot be made.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    if chosen:
        home = Path(chosen).expanduser().absolute()
        if not home.is_dir():
            message = (
                f"DAGSTER_HOME is {home}, which is no directory; make it, or unset "
                "DAGSTER_HOME to use one in the state directory"
            )
            raise ConfigurationError(message)
        return home
    home = (settings.state_dir / "dagster_home").absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.suppress(FileExistsError),
            (home / "dagster.yaml").open("x") as file,
        ):
            file.write(DAGSTER_YAML)
    except OSError as error:
        message = (
            f"{home} cannot be written: {error.strerror}; make it writable, or set "
            "LEARNING_PIPELINE_STATE_DIR to another directory"
        )
        raise ConfigurationError(message) from error
    return home


@contextlib.contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that `process` and `dev` share.

    Raises:
        ConfigurationError: Dagster cannot use its home.
    """
    home = dagster_home(settings)
    try:
        # Two that make Dagster's databases at once leave them with two versions, which
        # it refuses from then on.
        with _alone(home, settings):
            opened = DagsterInstance.from_config(str(home))
    except Exception as error:
        # Whatever its storages raise: YAML, SQL, the file system, configuration.
        first_line = str(error).partition("\n")[0]
        message = (
            f"Dagster cannot use {home}: {first_line}. Mend dagster.yaml or what is "
            "beside it; what was learned is not in there"
        )
        raise ConfigurationError(message) from error
    with opened as instance:
        yield instance


def _alone(home: Path, settings: Settings) -> contextlib.AbstractContextManager[object]:
    if home.parent != settings.state_dir.absolute():
        # A home of one's own is one's own to make, and may not be ours to write to.
        return contextlib.nullcontext()
    return FileLock(home / "opening.lock")
