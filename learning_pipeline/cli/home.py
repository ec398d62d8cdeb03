"""Where Dagster keeps its history: DAGSTER_HOME, else in the state directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.atomic_file import atomic_file
from learning_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

_YAML = "dagster.yaml"
_DATABASES = ("history", "schedules")
"""The folders in which Dagster's SQLite storages make their databases."""

_MAKING = ".making-"

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
        if not (home / _YAML).exists():
            with atomic_file(home / _YAML) as file:
                file.write(DAGSTER_YAML.encode())
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
    # It reads the settings; wrong ones are to be told by the command. And Dagster takes
    # a while to import.
    from dagster import DagsterInstance  # noqa: PLC0415

    from learning_pipeline.defs.partitions import telemetry_files  # noqa: PLC0415

    home = dagster_home(settings)
    try:
        if home.parent == settings.state_dir.absolute():
            # Two that make Dagster's databases at once leave them with two versions,
            # which it refuses from then on.
            with FileLock(home / "opening.lock"):
                _make_databases(home)
                opened = DagsterInstance.from_config(str(home))
        else:
            # A home of one's own is one's own to make, and may not be ours to write to.
            opened = DagsterInstance.from_config(str(home))
        # Asks its databases whether they are of this version, and whole.
        opened.has_dynamic_partition(str(telemetry_files.name), "")
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


def _make_databases(home: Path) -> None:
    # Dagster makes them table by table, and never completes what a kill left
    # half-made: so they are made elsewhere and put in place by a rename.
    from dagster import DagsterInstance  # noqa: PLC0415

    if all((home / name).exists() for name in _DATABASES):
        return
    for left in home.glob(f"{_MAKING}*"):
        shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=home))
    try:
        shutil.copyfile(home / _YAML, making / _YAML)
        with DagsterInstance.from_config(str(making)):
            pass
        for name in _DATABASES:
            # Other storages, set in dagster.yaml, have none.
            if (making / name).exists() and not (home / name).exists():
                (making / name).rename(home / name)
    finally:
        shutil.rmtree(making, ignore_errors=True)
