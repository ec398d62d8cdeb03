"""Dagster finds the project, its names and its settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from learning_pipeline.defs import build_definitions
from learning_pipeline.stages.names import ALL_STAGES
from learning_pipeline_tests.pipeline import PROJECT, Pipeline

LOAD = """
from learning_pipeline.definitions import defs
defs.get_repository_def().load_all_definitions()
"""
BIN = Path(sys.executable).parent


def test_the_public_names_are_there(pipeline: Pipeline) -> None:
    """Those of design.md's list which this part of the project has."""
    assert pipeline.telemetry.is_dir()
    repository = build_definitions().get_repository_def()
    assert repository.has_job("learn")
    assert repository.has_sensor_def("telemetry_sensor")
    assert repository.has_job("search")
    assert repository.has_job("report")
    assert repository.has_schedule_def("learn_hourly")
    assert repository.has_schedule_def("report_hourly")
    graph = repository.asset_graph
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == {
        *("telemetry_file", "finetuning_dataset", "learning_report"),
        *ALL_STAGES,
    }
    for stage in ALL_STAGES:
        partitions = graph.get(dg.AssetKey(stage)).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == "telemetry_files"
    policy = graph.get(dg.AssetKey("interaction_patterns")).backfill_policy
    assert policy is not None
    assert policy.max_partitions_per_run == 250


def test_loading_the_definitions_warns_of_nothing() -> None:
    """In a fresh process where every warning is an error."""
    subprocess.run(
        [
            *(sys.executable, "-W", "error::DeprecationWarning:learning_pipeline"),
            *("-W", "error::UserWarning", "-c"),
            LOAD,
        ],
        check=True,
        cwd=PROJECT,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("dagster", "definitions", "validate", "-w", "workspace.yaml"),
        ("dagster", "definitions", "validate"),
        ("dg", "check", "defs"),
    ],
    ids=["workspace.yaml", "pyproject.toml", "dg"],
)
def test_dagsters_own_commands_find_the_project(
    arguments: tuple[str, ...], pipeline: Pipeline
) -> None:
    """From the project's folder, without an option of ours."""
    completed = subprocess.run(
        [BIN / arguments[0], *arguments[1:]],
        cwd=PROJECT,
        env=pipeline.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
