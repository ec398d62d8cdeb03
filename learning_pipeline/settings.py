"""Every knob: its name, unit, default and what it trades.

Each is read from the environment variable `LEARNING_PIPELINE_<NAME>`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.connection_settings import checked_key, checked_url
from learning_pipeline.errors import ConfigurationError

MIB = 1024 * 1024


class Settings(BaseSettings):
    """The settings of one process; immutable."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        frozen=True,
        extra="forbid",
        # A key that is refused must not stand in the error.
        hide_input_in_errors=True,
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
    learn_stages: str = Field(
        default="all",
        description=(
            "the stages that `learn`, the sensor and `process` run, separated by `|`; "
            "fewer take less time, and what is left out catches up when it is not any "
            "more"
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
    index_lock_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description=(
            "how long to wait for the embedded index while another process has it; "
            "longer fails less often, shorter says sooner who has it"
        ),
    )
    qdrant_url: str = Field(
        default="",
        description=(
            "URL of a Qdrant server, with its port; empty: the embedded engine, in the "
            "state directory"
        ),
    )
    qdrant_api_key: SecretStr = Field(
        default=SecretStr(""), description="sent to the Qdrant server as `api-key`"
    )
    qdrant_collection: str = Field(
        default="learning_pipeline",
        pattern=r"^[A-Za-z0-9_.-]{1,200}$",
        description="name of the collection there; one that is not ours is not touched",
    )
    qdrant_timeout_seconds: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="how long a request to the Qdrant server may take",
    )
    embeddings_url: str = Field(
        default="",
        description=(
            "URL of an OpenAI-compatible embeddings endpoint, such as "
            "`http://127.0.0.1:8080/v1/embeddings`: search by meaning too; empty: by "
            "words only"
        ),
    )
    embeddings_model: str = Field(
        default="",
        validate_default=True,
        description="name of the model there; another needs `index rebuild`",
    )
    embeddings_api_key: SecretStr = Field(
        default=SecretStr(""), description="sent to it as bearer token"
    )
    embeddings_batch: int = Field(
        default=64,
        ge=1,
        le=2048,
        description="texts a request; larger is faster, smaller is refused less often",
    )
    embeddings_max_chars: int = Field(
        default=8_000,
        ge=100,
        le=100_000,
        description=(
            "a text is embedded up to here; larger covers long answers, smaller keeps "
            "within what the model takes"
        ),
    )
    embeddings_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="how long a request for embeddings may take",
    )
    breaker_failures: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description=(
            "after so many failures in a row a service is left alone; larger bears "
            "more, smaller fails faster"
        ),
    )
    breaker_reset_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description=(
            "then it is tried again after so long; shorter catches up sooner, longer "
            "spares the service"
        ),
    )
    proposals_url: str = Field(
        default="",
        description=(
            "URL of an endpoint that takes tasks: `proposals post` posts what is "
            "proposed there, to be approved; empty: nothing is posted"
        ),
    )
    proposals_api_key: SecretStr = Field(
        default=SecretStr(""), description="sent to it as `X-API-Key`"
    )
    dataset_format: Literal["openai", "sharegpt", "alpaca", "parquet"] = Field(
        default="openai",
        description="format of the asset `finetuning_dataset`",
    )
    dataset_metadata: bool = Field(
        default=True,
        description=(
            "each example of the asset says where it comes from; turn it off for an "
            "upload that takes lines of `messages` only"
        ),
    )
    dataset_validation_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description=(
            "share of the asset's examples that are kept apart for validation; larger "
            "measures better, smaller leaves more to train on"
        ),
    )
    dataset_split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="decides which examples those are; another one deals them anew",
    )
    dataset_near_duplicates: float = Field(
        default=1.0,
        ge=0.5,
        le=1,
        description=(
            "the asset leaves out examples at least this similar to one that it has; "
            "1: none; smaller repeats less and leaves out more that differs"
        ),
    )
    dataset_tokenizer: str = Field(
        default="o200k_base",
        min_length=1,
        max_length=4096,
        description=(
            "counts a dataset's tokens: an encoding of `tiktoken`, if its file is in "
            "its cache; the path of a `tokenizer.json`, if `tokenizers` is installed; "
            "or `none`, which is faster"
        ),
    )
    training_threshold: int = Field(
        default=1_000,
        ge=1,
        description="examples that a dataset should have before one trains on it",
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

    @field_validator("qdrant_url", "embeddings_url", "proposals_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("qdrant_api_key", "embeddings_api_key", "proposals_api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        return checked_key(value)

    @field_validator("embeddings_model")
    @classmethod
    def _model_of_endpoint(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("embeddings_url") and not value.strip():
            message = "is needed with EMBEDDINGS_URL"
            raise ValueError(message)
        return value.strip()

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
