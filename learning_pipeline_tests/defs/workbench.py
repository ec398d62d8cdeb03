"""A pipeline and a Dagster instance of its own, for tests inside this process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.partitions import add_keys, known_keys, range_tags
from learning_pipeline.model import Checkpoint
from learning_pipeline.store import Store
from learning_pipeline.telemetry import encode_key
from learning_pipeline_tests.pipeline import PROJECT, Pipeline

REAL_FILE = PROJECT / "learning_pipeline" / "testing" / "data" / "hybrid-events.jsonl"
REAL_EVENTS, REAL_PATTERNS, REAL_QUALITY = 106, 46, 44
STAGE = "interaction_patterns"
PATTERNS = dg.AssetKey(STAGE)
SOURCE = dg.AssetKey("telemetry_file")

_ORIGIN = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="learning_pipeline.definitions")
    ),
    "__repository__",
)


@dataclass
class Workbench:
    """Runs the real definitions in this process.

    Attributes:
        pipeline: Its telemetry root and state directory; the settings point there.
        instance: Dagster's.
        job: What `run` runs.
    """

    pipeline: Pipeline
    instance: dg.DagsterInstance
    job: dg.JobDefinition = field(
        default_factory=lambda: build_definitions().resolve_job_def("learn")
    )

    def store(self) -> Store:
        """Its state database."""
        return Store(self.pipeline.store_url)

    def write(self, name: str, content: bytes) -> str:
        """Write a telemetry file; gives its partition key."""
        path = self.pipeline.telemetry / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return encode_key(name)

    def append(self, name: str, content: bytes) -> None:
        """Let a telemetry file grow."""
        with (self.pipeline.telemetry / name).open("ab") as file:
            file.write(content)

    def copy_real_file(self, name: str = "real.jsonl") -> str:
        """Put the real telemetry there."""
        shutil.copyfile(REAL_FILE, self.pipeline.telemetry / name)
        return encode_key(name)

    def run(
        self,
        keys: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
        replay: bool = False,
        stages: Sequence[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run the job over a range of partitions, which are added in this order.

        With `stages`, only these.
        """
        known = known_keys(self.instance)
        add_keys(self.instance, [key for key in keys if key not in known])
        config: dict[str, Any] = {
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "resources": {
                "checkpoint_io_manager": {"config": {"replay_from_start": replay}}
            },
        }
        return self.job.execute_in_process(
            instance=self.instance,
            tags={**range_tags(keys), **(tags or {})},
            run_config=config,
            raise_on_error=False,
            asset_selection=(
                None if stages is None else [dg.AssetKey(stage) for stage in stages]
            ),
        )

    def record_run(
        self,
        status: dg.DagsterRunStatus,
        tags: Mapping[str, str],
        job: dg.JobDefinition | None = None,
    ) -> str:
        """A run of a status, as a launcher would have recorded it; gives its id."""
        return self.instance.create_run_for_job(
            job or self.job,
            status=status,
            tags=tags,
            remote_job_origin=_ORIGIN.get_job_origin("learn"),
        ).run_id

    def checkpoint(self, key: str) -> Checkpoint:
        """Where the stage stands in a file."""
        with Store(self.pipeline.store_url) as store:
            (found,) = store.checkpoints(stage=STAGE, keys=[key])
        return found

    def materialized(self) -> set[str]:
        """The partitions that have a materialisation."""
        return set(self.instance.get_materialized_partitions(PATTERNS))

    def metadata(self, key: str, asset_key: dg.AssetKey = PATTERNS) -> dict[str, Any]:
        """The values of the newest materialisation of a partition."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[key]), limit=1
        ).records
        materialization = records[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def reports(self, key: str, asset_key: dg.AssetKey) -> list[dict[str, Any]]:
        """The values of all that was reported of a partition, oldest first.

        Observations; of the file itself also the first report, a materialisation.
        """
        wanted = dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[key])
        records = [*self.instance.fetch_observations(wanted, limit=1000).records]
        if asset_key == SOURCE:
            records += self.instance.fetch_materializations(wanted, limit=1000).records
        records.sort(key=lambda record: record.storage_id)
        found = [
            record.asset_observation or record.asset_materialization
            for record in records
        ]
        return [
            {name: value.value for name, value in each.metadata.items()}
            for each in found
            if each is not None
        ]


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What a failed run's step says."""
    texts = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None:
                texts.append(data.user_failure_data.description or "")
            if data.error is not None:
                texts.append(data.error.to_string())
    return "\n".join(texts)


def reference_lines(folder: Path, content: bytes) -> list[dict[str, Any]]:
    """What `export patterns` gives after one undisturbed pass of the real command."""
    pipeline = Pipeline(folder)
    (pipeline.telemetry / "a.jsonl").write_bytes(content)
    pipeline.process()
    return pipeline.export()
