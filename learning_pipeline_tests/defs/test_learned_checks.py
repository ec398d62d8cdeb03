"""The checks of examples and index: each passes, and fails in its own situation."""

from __future__ import annotations

import dagster as dg
import pytest
import sqlalchemy as sa

from learning_pipeline.defs import build_definitions
from learning_pipeline.errors import DependencyUnavailableError
from learning_pipeline.learning.breakers import Breakers, unavailable
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.names import ALL_STAGES
from learning_pipeline.store import Store, example_checks
from learning_pipeline.store.index_feed import add_changes
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import REAL_QUALITY, Workbench

pytestmark = pytest.mark.usefixtures("all_stages")

CONTENTS, INDEX = "one_example_per_content", "index_lag"


def evaluations(
    result: dg.ExecuteInProcessResult,
) -> dict[str, dg.AssetCheckEvaluation]:
    """The results of these checks, by name; one each."""
    found = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name in {CONTENTS, INDEX}
    ]
    assert len(found) == 2
    return {each.check_name: each for each in found}


def checked_again(bench: Workbench) -> dict[str, dg.AssetCheckEvaluation]:
    """Only the checks, as "Execute checks" in the UI runs them."""
    selection = dg.AssetSelection.checks_for_assets(
        dg.AssetKey("finetuning_examples"), dg.AssetKey("pattern_index")
    )
    definitions = dg.Definitions.merge(
        build_definitions(),
        dg.Definitions(jobs=[dg.define_asset_job("check", selection)]),
    )
    job = definitions.resolve_job_def("check")
    return evaluations(job.execute_in_process(instance=bench.instance))


def number(evaluation: dg.AssetCheckEvaluation, name: str) -> object:
    """A number of the metadata."""
    return evaluation.metadata[name].value


def change(bench: Workbench, *statements: str) -> None:
    """Somebody changes the database behind our back."""
    engine = sa.create_engine(bench.pipeline.store_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


@pytest.fixture
def learned(bench: Workbench) -> Workbench:
    """The real file twice: all examples of the second are duplicates."""
    keys = [bench.copy_real_file(name) for name in ("a.jsonl", "b.jsonl")]
    found = evaluations(bench.run(keys))
    assert all(each.passed for each in found.values())
    assert number(found[CONTENTS], "content_count") == REAL_QUALITY
    return bench


def test_a_content_without_an_example_fails(learned: Workbench) -> None:
    """Its example became a duplicate of nothing."""
    change(
        learned,
        "UPDATE finetuning_examples SET is_duplicate = 1 WHERE (partition_id, "
        '"offset") IN (SELECT partition_id, "offset" FROM finetuning_examples '
        "WHERE NOT is_duplicate LIMIT 1)",
    )
    found = checked_again(learned)[CONTENTS]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert "1 content without an example" in (found.description or "")


def test_a_content_with_two_examples_fails(learned: Workbench) -> None:
    """Once nothing in the database prevents it any more."""
    change(
        learned,
        "DROP INDEX one_example_per_content",
        "UPDATE finetuning_examples SET is_duplicate = 0",
    )
    found = checked_again(learned)[CONTENTS]
    assert not found.passed
    assert number(found, "problem_count") == REAL_QUALITY
    assert f"{REAL_QUALITY} contents with several examples" in (found.description or "")


def test_of_very_many_those_are_looked_at_that_the_run_brought(
    learned: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, the check looks at as many as it may."""
    monkeypatch.setattr(example_checks, "MAX_ROWS_CHECKED", 20)
    learned.write("c.jsonl", b"".join(generate_lines(20, seed=5)))
    found = evaluations(learned.run(["c.jsonl"]))[CONTENTS]
    metadata = learned.metadata("c.jsonl", dg.AssetKey("finetuning_examples"))
    assert number(found, "content_count") == metadata["example_count"] > 0
    assert number(checked_again(learned)[CONTENTS], "content_count") == 20


def test_an_index_that_is_behind_warns_with_the_reason(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files, and which service is why; it passes when it has caught up."""
    monkeypatch.setenv("LEARNING_PIPELINE_EMBEDDINGS_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LEARNING_PIPELINE_EMBEDDINGS_MODEL", "test")
    monkeypatch.setenv("LEARNING_PIPELINE_BREAKER_FAILURES", "1")
    key = bench.copy_real_file()
    found = evaluations(bench.run([key]))[INDEX]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    said = found.description or ""
    assert said.startswith("real.jsonl: ")
    assert "embeddings is open since" in said
    assert number(found, "behind_file_count") == 1
    assert int(str(number(found, "lag_bytes"))) > 0
    monkeypatch.delenv("LEARNING_PIPELINE_EMBEDDINGS_URL")
    assert evaluations(bench.run([key]))[INDEX].passed


def test_changes_that_wait_warn_until_they_are_made(learned: Workbench) -> None:
    """Also when every file was taken over."""
    with Store(learned.pipeline.store_url) as store:
        add_changes(store, [bytes(32), bytes(32)])
    found = checked_again(learned)[INDEX]
    assert not found.passed
    assert "2 changes to be made in the index" in (found.description or "")
    assert "another run may be under way" in (found.description or "")
    assert evaluations(learned.run(["a.jsonl"]))[INDEX].passed


def test_why_the_index_lags_is_said_before_a_breaker_opens(
    learned: Workbench,
) -> None:
    """At the first outage already; without one, another run may be at it."""
    learned.write("c.jsonl", b"".join(generate_lines(20, seed=5)))
    assert learned.run(["c.jsonl"], stages=list(ALL_STAGES[:-1])).success
    found = checked_again(learned)[INDEX]
    assert "another run may be under way" in (found.description or "")
    with learned.store() as store:
        breaker = Breakers(store, load_settings()).of("qdrant")
        with pytest.raises(DependencyUnavailableError):
            breaker.call(refused)
    found = checked_again(learned)[INDEX]
    assert "qdrant failed 1 time in a row: refused" in (found.description or "")


def refused() -> None:
    """A call to a service that is down."""
    raise unavailable("qdrant", "refused")
