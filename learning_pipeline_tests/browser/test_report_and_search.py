"""The report's page and the search in the web UI: pictures, tables, results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from learning_pipeline.defs.search import EXAMPLE_QUERY
from learning_pipeline_tests.browser.dagster_ui import DagsterUI
from learning_pipeline_tests.dagster_dev import (
    LAUNCH,
    REPOSITORY,
    Dev,
    add_partition,
    wait_for,
)
from learning_pipeline_tests.learning.event_lines import REAL_LINES, line
from learning_pipeline_tests.learning.learned import write_lines

pytestmark = pytest.mark.sweep

KEY = "reported.jsonl"
UNREAD_KEY = "telemetry_of_an_agent_that_nobody_has_looked_at_yet.jsonl"
HOSTILE = "a|b $x^2$ <img src=x onerror=alert(1)> \u554f\u984c"


def launch_job(
    dev: Dev, job: str, *, tags: dict[str, str] | None = None, **config: Any
) -> str:
    """Launch a job and wait for its success; gives the run's id."""
    answer = dev.query(
        LAUNCH,
        run={
            "selector": {**REPOSITORY, "pipelineName": job},
            "executionMetadata": {
                "tags": [
                    {"key": name, "value": value}
                    for name, value in (tags or {}).items()
                ]
            },
            "runConfigData": json.dumps(config),
            "mode": "default",
        },
    )
    launched = answer["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = str(launched["run"]["runId"])
    wait_for(lambda: dev.status(run_id) == "SUCCESS", 90, f"the success of {job}")
    return run_id


@pytest.fixture(scope="module")
def learned_all(dev: Dev) -> str:
    """The key of the real telemetry, which every stage has learned."""
    write_lines(dev.pipeline.telemetry, KEY, REAL_LINES)
    refused = line(
        event="error_resolution",
        error_description=f"{EXAMPLE_QUERY} by the store of {HOSTILE}",
        solution="Start the store before the worker; it takes a while to listen.",
        backend=HOSTILE,
        timestamp="2026-06-08T12:00:00Z",
    )
    write_lines(dev.pipeline.telemetry, KEY, [refused])
    write_lines(dev.pipeline.telemetry, UNREAD_KEY, REAL_LINES[:1])
    add_partition(dev, KEY)
    launch_job(dev, "learn", tags={"dagster/partition": KEY})
    return KEY


@pytest.fixture(scope="module")
def reported(dev: Dev, learned_all: str) -> str:
    """The id of the run of a report."""
    assert learned_all
    return launch_job(dev, "report")


@pytest.mark.usefixtures("reported")
def test_the_reports_page_has_its_summary_and_tables(
    ui: DagsterUI, learned_all: str
) -> None:
    """Names from telemetry stand there as they are spelled, and none is too wide."""
    ui.open_asset("learning_report")
    page = ui.page
    expect(page.get_by_text("45 examples and 0 duplicates")).to_be_visible()
    expect(page.get_by_text("955 short of the training threshold")).to_be_visible()
    tables = {
        name: page.get_by_role("row", name=name, exact=False)
        for name in ("files", "stages", "patterns_by_kind", "backends", "proposals")
    }
    for name, row in tables.items():
        expect(row.first, name).to_be_visible()
    for cell in (learned_all, "optimization_proposals", "agent_step_complete", HOSTILE):
        expect(page.get_by_role("cell", name=cell, exact=True).first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    # What is wider is hidden behind the panel beside the list.
    panel = page.get_by_text("Definition", exact=True).bounding_box()
    assert panel is not None
    for table in page.locator("table").all():
        box = table.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] < panel["x"], table.inner_text()
    ui.screenshot("report")


@pytest.mark.usefixtures("reported")
def test_the_charts_are_shown_as_pictures(ui: DagsterUI) -> None:
    """One click opens all of them, and each was drawn by the browser."""
    ui.open_asset("learning_report")
    ui.page.get_by_text("[Show Markdown]").first.click()
    pictures = ui.page.locator("img[src^='data:image/png']")
    expect(pictures).to_have_count(4)
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("each => each.complete && each.naturalWidth") == 660
        assert picture.bounding_box() is not None
    ui.screenshot("charts")


@pytest.mark.usefixtures("reported")
def test_the_numbers_of_reports_are_plotted(ui: DagsterUI) -> None:
    """So one sees how the dataset grows."""
    ui.open_asset("learning_report")
    ui.page.get_by_role("button", name="Plots").click()
    for name in ("example_count", "lag_bytes", "duplicate_count"):
        expect(ui.page.get_by_text(name, exact=True)).to_be_visible()


@pytest.mark.usefixtures("learned_all")
def test_a_search_is_launched_from_the_launchpad_as_it_stands_there(
    ui: DagsterUI,
) -> None:
    """Its run's page shows what was found, in a table."""
    ui.open("/locations/learning_pipeline/jobs/search/playground")
    page = ui.page
    expect(page.get_by_text(EXAMPLE_QUERY)).to_be_visible()
    expect(page.get_by_text("No errors")).to_be_visible()
    ui.screenshot("launchpad")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")
    run_id = page.url.rsplit("/", 1)[1].partition("?")[0]
    wait_for(lambda: ui.dev.status(run_id) == "SUCCESS", 90, "the search's success")
    expect(page.get_by_text("examples found").first).to_be_visible()
    page.get_by_text("View full message").first.click()
    dialog = page.get_by_role("dialog")
    for column in ("score", "prompt", "response", "about", "source"):
        expect(dialog.get_by_text(column, exact=True).first).to_be_visible()
    expect(dialog.get_by_text(f"{EXAMPLE_QUERY} by the store of").first).to_be_visible()
    ui.screenshot("found")


def test_stages_tell_what_they_made_of_a_file(ui: DagsterUI, learned_all: str) -> None:
    """On the pages of its partition."""
    for stage, said in (
        ("finetuning_examples", "total_example_count"),
        ("pattern_index", "index_target"),
        ("performance_metrics", "iterations_mean"),
        ("optimization_proposals", "signals_by_name"),
    ):
        ui.open_partition(stage, learned_all)
        expect(ui.page.get_by_text(said, exact=True).first).to_be_visible()
    for stage, check in (
        ("finetuning_examples", "one_example_per_content"),
        ("pattern_index", "index_lag"),
    ):
        ui.open_asset(stage, view="checks")
        expect(ui.page.get_by_text(check, exact=True).first).to_be_visible()
        expect(ui.page.get_by_text("Passed", exact=True).first).to_be_visible()
