"""Working the pipeline by clicks: materialise, backfill, terminate."""

from __future__ import annotations

from pathlib import Path

import pytest

from learning_pipeline.telemetry.keys import encode_key
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.browser.dagster_ui import DagsterUI
from learning_pipeline_tests.browser.one_pass import (
    assert_files_as_from_one_pass,
    checkpoint,
    one_pass,
)
from learning_pipeline_tests.dagster_dev import Dev, add_partition, launch, wait_for

pytestmark = pytest.mark.sweep

UGLY_NAME = "agents, old/x [1], 50% 'ünï' 日志 a...b (\"copy\") %41.jsonl"
FILE_COUNT = 30
PARTITIONS = """
{assetNodes(assetKeys: [{path: ["interaction_patterns"]}]) {partitionKeys}}
"""


def test_a_run_terminated_in_mid_file_keeps_all_and_a_rerun_completes_it(
    ui: DagsterUI, dev: Dev, tmp_path: Path
) -> None:
    """It ends as canceled, with exactly the rows before the committed offset."""
    key = "terminated.jsonl"
    path = dev.pipeline.telemetry / key
    write_telemetry(path, 30_000, seed=5)
    reference = one_pass(dev.pipeline, [key], tmp_path / "reference")
    run_id = launch(dev, key)
    wait_for(lambda: dev.status(run_id) == "STARTED", 60, "the run to start")
    ui.terminate(run_id)
    wait_for(lambda: dev.status(run_id) == "CANCELED", 60, "the run to be canceled")

    kept = checkpoint(dev.pipeline, key)
    assert 0 < kept.offset < path.stat().st_size
    rows = [row for row in dev.pipeline.export() if row["partition"] == key]
    assert rows == [row for row in reference.export() if row["offset"] < kept.offset]
    assert dev.pipeline.audit() == []

    rerun = launch(dev, key)
    wait_for(lambda: dev.status(rerun) == "SUCCESS", 90, "the rerun's success")
    assert_files_as_from_one_pass(dev.pipeline, reference)
    ui.open_partition("interaction_patterns", key)
    assert ui.metadata()["resumed_from_offset"] == str(kept.offset)


def test_a_file_with_an_ugly_name_is_materialised_by_clicking(
    ui: DagsterUI, dev: Dev, tmp_path: Path
) -> None:
    """Chosen in the dialog, launched, found again in the list of partitions."""
    key = encode_key(UGLY_NAME)
    write_telemetry(dev.pipeline.telemetry / UGLY_NAME, 50, seed=6)
    add_partition(dev, key)
    ui.materialize([key])
    run = next(run for run in dev.runs() if run["tags"].get("dagster/partition") == key)
    assert run["tags"]["dagster/from_ui"] == "true"
    wait_for(lambda: dev.status(run["runId"]) == "SUCCESS", 90, "the run's success")
    reference = one_pass(dev.pipeline, [key], tmp_path / "reference")
    assert_files_as_from_one_pass(dev.pipeline, reference)
    ui.click_partition("interaction_patterns", key)
    assert ui.metadata()["event_count"] == "50"


def test_a_backfill_of_all_files_shares_a_run(
    ui: DagsterUI, dev: Dev, tmp_path: Path
) -> None:
    """Launched from the dialog; one run for all files, not one each."""
    names = [f"fleet/node {index}, [a].jsonl" for index in range(FILE_COUNT)]
    keys = [encode_key(name) for name in names]
    for index, name in enumerate(names):
        write_telemetry(dev.pipeline.telemetry / name, 20, seed=100 + index)
        add_partition(dev, keys[index])
    partition_count = len(dev.query(PARTITIONS)["assetNodes"][0]["partitionKeys"])
    ui.backfill_all(partition_count)

    def backfill_runs() -> list[str]:
        return [
            run["status"] for run in dev.runs() if "dagster/backfill" in run["tags"]
        ]

    wait_for(lambda: "SUCCESS" in backfill_runs(), 120, "the backfill's run")
    assert backfill_runs() == ["SUCCESS"]
    reference = one_pass(dev.pipeline, keys, tmp_path / "reference")
    assert_files_as_from_one_pass(dev.pipeline, reference)
    ui.open("/runs")
    ui.page.get_by_text("interaction_patterns").first.wait_for()
    ui.screenshot("runs")
    ui.open_asset("interaction_patterns", view="partitions")
    ui.page.get_by_text(f"Materialized ({partition_count})").wait_for()
