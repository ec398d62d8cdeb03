"""What stages tell of a partition, beside how far they are."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from learning_pipeline.learning.proposals.composing import proposal_id_of
from learning_pipeline.store import partition_counts
from learning_pipeline_tests.defs.workbench import REAL_QUALITY, Workbench

pytestmark = pytest.mark.usefixtures("all_stages")

pytestmark = pytest.mark.usefixtures("all_stages")


def told(bench: Workbench, key: str, stage: str) -> dict[str, dg.MetadataValue]:
    """The metadata of the newest materialisation of a partition."""
    records = bench.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[key]),
        limit=1,
    ).records
    materialization = records[0].asset_materialization
    assert materialization is not None
    return dict(materialization.metadata)


def rows(value: dg.MetadataValue) -> list[dict[str, Any]]:
    """The rows of a table."""
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


@pytest.fixture
def learned(bench: Workbench) -> Workbench:
    """The real file, and a copy of it."""
    keys = [bench.copy_real_file(name) for name in ("a.jsonl", "b.jsonl")]
    assert bench.run(keys).success
    return bench


def test_examples_tell_how_many_are_duplicates(learned: Workbench) -> None:
    """Of the partition, and the size of the dataset."""
    for key, example_count in (("a.jsonl", REAL_QUALITY), ("b.jsonl", 0)):
        found = told(learned, key, "finetuning_examples")
        assert found["example_count"].value == example_count
        assert found["duplicate_count"].value == REAL_QUALITY - example_count
        assert found["total_example_count"].value == REAL_QUALITY


def test_the_index_tells_where_it_is_and_what_it_needs(learned: Workbench) -> None:
    """Nothing waits for it."""
    found = told(learned, "a.jsonl", "pattern_index")
    assert str(found["index_target"].value).endswith("index")
    assert found["waiting_change_count"].value == 0
    assert [row["service"] for row in rows(found["dependencies"])] == [
        *("embeddings", "qdrant"),
    ]


def test_metrics_tell_how_well_each_backend_does(
    learned: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the partition alone; the groups of the most events when they are many."""
    first, second = rows(told(learned, "a.jsonl", "performance_metrics")["metrics"])
    assert (first["backend"], first["events"]) == ("(none)", 35)
    assert (second["kind"], second["backend"], second["success_%"]) == (
        *("agent_step_complete", "apparmor-fix-agent", 100.0),
    )
    assert (first["tokens_in"], first["tokens_out"]) == (15_585, 18_347)
    monkeypatch.setattr(partition_counts, "MAX_GROUPS", 1)
    assert learned.run(["a.jsonl"]).success
    assert len(rows(told(learned, "a.jsonl", "performance_metrics")["metrics"])) == 1


def test_proposals_tell_what_the_signals_speak_for(learned: Workbench) -> None:
    """With the ids that `proposals show` takes."""
    found = told(learned, "a.jsonl", "optimization_proposals")
    assert json.loads(json.dumps(found["signals_by_name"].value)) == {
        "connection_error": 4
    }
    [first, *others] = rows(found["proposals"])
    assert len(others) == 3
    assert first["proposal_id"] == proposal_id_of(first["proposal"], first["about"])
    assert first["signals"] == 1
