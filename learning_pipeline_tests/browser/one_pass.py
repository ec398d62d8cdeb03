"""The oracle for single files of a state database that several tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from learning_pipeline.model import Checkpoint
from learning_pipeline.stages.names import PATTERNS_STAGE
from learning_pipeline.store import Store
from learning_pipeline.telemetry.keys import decode_key
from learning_pipeline_tests.pipeline import FIRST_STAGE_ONLY, Pipeline


def one_pass(pipeline: Pipeline, keys: Sequence[str], folder: Path) -> Pipeline:
    """Another pipeline with copies of these files only, after one undisturbed pass."""
    reference = Pipeline(folder, dict(FIRST_STAGE_ONLY))
    for key in keys:
        path = os.fsdecode(decode_key(key))
        target = reference.telemetry / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pipeline.telemetry / path, target)
    reference.process()
    return reference


def assert_files_as_from_one_pass(pipeline: Pipeline, reference: Pipeline) -> None:
    """The reference's files have the same rows and counts here; ranges contiguous."""
    # What is materialised by clicking is one asset.
    expected = [each for each in reference.counters() if each[0] == PATTERNS_STAGE]
    keys = {partition for _, partition, _ in expected}
    rows = [row for row in pipeline.export() if row["partition"] in keys]
    assert rows == reference.export()
    counted = [each for each in pipeline.counters() if each[1] in keys]
    assert [each for each in counted if each[0] == PATTERNS_STAGE] == expected
    assert pipeline.audit() == []


def checkpoint(pipeline: Pipeline, key: str) -> Checkpoint:
    """The checkpoint of a file, of the stage `interaction_patterns`."""
    with Store(pipeline.store_url) as store:
        (found,) = store.checkpoints(stage=PATTERNS_STAGE, keys=[key])
    return found
