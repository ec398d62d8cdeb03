"""Every knob: its name, unit, default and what it trades.

Each is read from the environment variable `LEARNING_PIPELINE_<NAME>`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import ConfigurationError

MIB = 1024 * 1024


class Settings(BaseSettings):
    """The settings of one process; immutable."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid"
    )

    telemetry_dir: Path = Field(
        default=Path("telemetry"), description="telemetry root, searched for files"
    )
    telemetry_patterns: str = Field(
        default="**/*.jsonl",
        description="glob patterns below the root, separated by `|`",
    )
    state_dir: Path = Field(
        default=Path(".learning_pipeline"),
        description="embedded state, and Dagster's home under `learning-pipeline dev`",
    )
    store_url: str = Field(
        default="",
        description=(
            "SQLAlchemy URL of the state database, `sqlite:///…` or "
            "`postgresql+psycopg://…`; empty: SQLite in the state directory"
        ),
    )
    checkpoint_interval: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="events per commit; larger is faster, smaller loses less work",
    )
    checkpoint_history: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="checkpoints kept per stage and file, to rewind to",
    )
    max_record_bytes: int = Field(
        default=16 * MIB,
        ge=1024,
        le=256 * MIB,
        description="a longer line becomes a dead letter; bounds memory",
    )
    max_batch_bytes: int = Field(
        default=16 * MIB,
        ge=1024,
        le=256 * MIB,
        description="a commit is made earlier at so many bytes; bounds memory",
    )
    read_ahead_bytes: int = Field(
        default=32 * MIB,
        ge=0,
        description=(
            "an unread rest of at least this is read and extracted in a process of "
            "its own while this one commits; faster, for about 50 MB of memory"
        ),
    )
    dead_letter_raw_bytes: int = Field(
        default=4096,
        ge=0,
        le=MIB,
        description="how much of a dead letter's record is kept",
    )
    extractor_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description=(
            "a record on which an extractor of yours takes longer becomes a dead letter"
        ),
    )
    extractor_memory_bytes: int = Field(
        default=1024 * MIB,
        ge=16 * MIB,
        description=(
            "a record for which an extractor of yours takes more memory becomes a dead "
            "letter"
        ),
    )
    max_bytes_per_run: int = Field(
        default=1024 * MIB,
        ge=1,
        description=(
            "a run stops in a file after so many bytes, at the next commit, and the "
            "rest is asked for again; smaller is fairer to other files"
        ),
    )
    min_free_bytes: int = Field(
        default=16 * MIB,
        ge=0,
        description=(
            "a run stops, and can be resumed, when the disk of the state directory has "
            "less than this left"
        ),
    )
    retain_after_days: float = Field(
        default=30.0,
        ge=0,
        description="`retain` takes rotated files that were not written to for so long",
    )
    retain_action: Literal["compress", "delete"] = Field(
        default="compress",
        description="what `retain` does with them",
    )
    max_files_per_run: int = Field(
        default=250,
        ge=1,
        le=10_000,
        description=(
            "files that one run of a backfill, sensor or schedule shares; larger "
            "saves run starts, smaller shows results earlier"
        ),
    )
    progress_seconds: float = Field(
        default=5.0,
        ge=0.1,
        description="least time between two progress reports of one file",
    )
    sensor_seconds: int = Field(
        default=30,
        ge=1,
        description="least time between two looks at the telemetry root",
    )
    run_lease_seconds: int = Field(
        default=120,
        ge=5,
        description=(
            "a started run that commits nothing for so long no longer keeps the "
            "sensor from asking for another; fencing keeps that safe"
        ),
    )
    max_lag_bytes: int = Field(
        default=64 * MIB,
        ge=0,
        description="the asset check `lag` fails above this",
    )
    max_dead_letter_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="the asset check `dead_letter_share` fails above this",
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        default="in_process",
        description=(
            "how assets materialised from the UI run: in the run's own process, or a "
            "process per step (seconds slower; steps in parallel)"
        ),
    )

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if not value:
            return value
        try:
            drivername = make_url(value).drivername
        except ArgumentError:
            message = "is no SQLAlchemy URL"
            raise ValueError(message) from None
        if drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
            message = "must start with sqlite:// or postgresql+psycopg://"
            raise ValueError(message)
        return value

    @field_validator("state_dir")
    @classmethod
    def _no_question_mark(cls, value: Path) -> Path:
        if "?" in str(value):
            message = "may not hold a `?`, which ends the path in a database's URL"
            raise ValueError(message)
        return value

    @cached_property
    def resolved_store_url(self) -> str:
        """The URL of the state database, with the default filled in."""
        return self.store_url or f"sqlite:///{self.state_dir.absolute() / 'state.db'}"

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """The glob patterns, one by one."""
        return tuple(part for part in self.telemetry_patterns.split("|") if part)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigurationError: A variable has a value that is not allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{ENVIRONMENT_PREFIX}{'.'.join(map(str, problem['loc'])).upper()}: "
            f"{problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("; ".join(lines)) from None
