"""What the web UI shows of a file: progress, metadata, plots, checks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.sync_api import expect

from learning_pipeline.testing.generator import generate_lines, write_telemetry
from learning_pipeline_tests.browser.dagster_ui import DagsterUI
from learning_pipeline_tests.browser.one_pass import checkpoint
from learning_pipeline_tests.dagster_dev import Dev, launch, wait_for

pytestmark = pytest.mark.sweep

EVENT_COUNT = 20_000
CHECKS = (
    "committed_ranges_contiguous",
    "dead_letter_share",
    "lag",
    "offset_inside_file",
    "lost_bytes",
)


def percents_while_running(
    ui: DagsterUI, asset: str, key: str, run_id: str
) -> list[float]:
    """Look at a partition's page until two looks into the run were had.

    Returns:
        The percentages that the page ascribed to this run while it went on, each
        different from the one before.
    """
    seen: list[float] = []
    while len(seen) < 2:
        ui.open_partition(asset, key)
        metadata = ui.metadata(patience_seconds=2)
        ascribed = ui.page.get_by_text(f"Observed in run {run_id[:8]}").count() > 0
        if ui.dev.status(run_id) not in {"QUEUED", "STARTING", "STARTED"}:
            break
        if ascribed and float(metadata["percent"]) not in seen:
            seen.append(float(metadata["percent"]))
            ui.screenshot(f"running-{len(seen)}")
    return seen


def assert_growing(percents: list[float]) -> None:
    """Two looks during the run, the second further than the first."""
    assert len(percents) >= 2, f"during the run the page showed only {percents}"
    assert all(before < after for before, after in pairwise(percents))
    assert all(0 < percent <= 100 for percent in percents)


def test_after_a_run_the_partition_page_shows_what_the_checkpoint_says(
    ui: DagsterUI, learned: str
) -> None:
    """Offset, counters and kinds of events stand on the page as they were stored."""
    ui.open_partition("interaction_patterns", learned)
    metadata = ui.metadata()
    stored = checkpoint(ui.dev.pipeline, learned)
    size_bytes = (ui.dev.pipeline.telemetry / learned).stat().st_size
    expected = {
        "percent": 100,
        "offset": stored.offset,
        "size_bytes": size_bytes,
        "lag_bytes": 0,
        "event_count": stored.counters.event_count,
        "row_count": stored.counters.row_count,
        "quality_count": stored.counters.quality_count,
        "ignored_count": stored.counters.ignored_count,
        "dead_letter_count": 0,
        "generation": 0,
        "run_event_count": 300,
        "run_commit_count": 300,
    }
    assert stored.offset == size_bytes
    assert {name: metadata.get(name) for name in expected} == {
        name: str(value) for name, value in expected.items()
    }
    for kind, count in stored.counters.events_by_kind.items():
        assert f'"{kind}": {count}' in metadata["events_by_kind"]


def test_after_a_run_the_files_own_page_says_how_far_it_was_read(
    ui: DagsterUI, learned: str
) -> None:
    """`telemetry_file` ends at 100 %, not at the last report during the run."""
    ui.open_partition("telemetry_file", learned)
    metadata = ui.metadata()
    assert metadata.get("percent") == "100"
    assert metadata["offset"] == str(checkpoint(ui.dev.pipeline, learned).offset)


def test_progress_can_be_seen_during_the_first_run_of_a_file(
    ui: DagsterUI, dev: Dev
) -> None:
    """The page of `telemetry_file` shows it; the stage's own has nothing yet."""
    key = "first-run.jsonl"
    write_telemetry(dev.pipeline.telemetry / key, EVENT_COUNT, seed=2)
    run_id = launch(dev, key)
    assert_growing(percents_while_running(ui, "telemetry_file", key, run_id))
    wait_for(lambda: dev.status(run_id) == "SUCCESS", 90, "the run's success")


def test_progress_can_be_seen_during_a_later_run_of_a_file(
    ui: DagsterUI, dev: Dev
) -> None:
    """The stage's partition page shows how far the run is through what was added."""
    key = "later-run.jsonl"
    path = dev.pipeline.telemetry / key
    write_telemetry(path, 100, seed=3)
    first = launch(dev, key)
    wait_for(lambda: dev.status(first) == "SUCCESS", 90, "the first run's success")
    with path.open("ab") as file:
        file.writelines(generate_lines(EVENT_COUNT, seed=4))
    later = launch(dev, key)
    assert_growing(percents_while_running(ui, "interaction_patterns", key, later))
    wait_for(lambda: dev.status(later) == "SUCCESS", 90, "the run's success")
    ui.open_partition("interaction_patterns", key)
    metadata = ui.metadata()
    assert metadata["percent"] == "100"
    assert metadata["event_count"] == str(100 + EVENT_COUNT)
    assert metadata["run_event_count"] == str(EVENT_COUNT)


@pytest.mark.usefixtures("learned")
def test_numeric_metadata_is_plotted(ui: DagsterUI) -> None:
    """The asset's page has a plot for each of our numbers."""
    ui.open_asset("interaction_patterns")
    ui.page.get_by_role("button", name="Plots").click()
    for name in ("percent", "lag_bytes", "row_count", "events_per_second"):
        expect(ui.page.get_by_text(name, exact=True)).to_be_visible()
    assert ui.page.locator("canvas").count() >= 10


@pytest.mark.usefixtures("learned")
def test_the_checks_tab_shows_every_check_and_that_it_passed(
    ui: DagsterUI,
) -> None:
    """Each with its name and result."""
    ui.open_asset("interaction_patterns", view="checks")
    expect(ui.page.get_by_text(f"Checks ({len(CHECKS)})")).to_be_visible()
    expect(ui.page.get_by_text("Succeeded", exact=True)).to_have_count(len(CHECKS))
    for check in CHECKS:
        expect(ui.page.get_by_text(check, exact=True).first).to_be_visible()
