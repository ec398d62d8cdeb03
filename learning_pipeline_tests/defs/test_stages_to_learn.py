"""`LEARN_STAGES`: which stages the job, the sensor and `process` run."""

from __future__ import annotations

import dagster as dg
import pytest

from learning_pipeline.defs import build_definitions
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import Settings
from learning_pipeline.stages.names import ALL_STAGES, stages_to_learn
from learning_pipeline_tests.defs.test_sensor import Ticker
from learning_pipeline_tests.defs.workbench import Workbench


def test_all_stages_are_run_unless_some_are_named() -> None:
    """In the order of a run, however they are written."""
    assert stages_to_learn(Settings()) == ALL_STAGES
    named = "finetuning_examples | interaction_patterns"
    assert stages_to_learn(Settings(learn_stages=named)) == (
        "interaction_patterns",
        "finetuning_examples",
    )


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("interaction_patters", "'interaction_patters'; there are interaction_pat"),
        ("", "there are"),
        ("interaction_patterns|pattern_index", "without finetuning_examples"),
    ],
)
def test_names_that_make_no_sense_are_refused(named: str, said: str) -> None:
    """With what there is, or what is missing."""
    with pytest.raises(ConfigurationError, match=said):
        stages_to_learn(Settings(learn_stages=named))


def test_what_was_left_out_catches_up(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor asks for it once it is named again."""
    key = bench.copy_real_file()
    assert bench.run([key]).success
    ticker = Ticker(bench)
    assert ticker.requests() == []
    monkeypatch.setenv("LEARNING_PIPELINE_LEARN_STAGES", "all")
    assert len(ticker.requests()) == 1
    job = build_definitions().resolve_job_def("learn")
    whole = Workbench(bench.pipeline, bench.instance, job)
    assert whole.run([key]).success
    assert whole.pipeline.index_problems() == []
    assert whole.metadata(key, dg.AssetKey("performance_metrics"))["row_count"] == 46
