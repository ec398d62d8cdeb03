"""One real `learning-pipeline dev` and one real browser for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.browser.dagster_ui import DagsterUI
from learning_pipeline_tests.dagster_dev import Dev, launch, running_dev, wait_for
from learning_pipeline_tests.pipeline import Pipeline

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MILLISECONDS = 30_000

SLOW = {
    # A commit per event: a run of some ten thousand lasts long enough to be looked at.
    "CHECKPOINT_INTERVAL": "1",
    "PROGRESS_SECONDS": "0.5",
    # After its first tick the tests start all runs themselves.
    "SENSOR_SECONDS": "3600",
}
TICKS = """
{sensorOrError(sensorSelector: {
  repositoryName: "__repository__", repositoryLocationName: "learning_pipeline",
  sensorName: "telemetry_sensor"
}) {... on Sensor {sensorState {ticks(limit: 1) {status}}}}}
"""


# Scoped to the package: while Playwright runs, no other test can use asyncio.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, which must be there."""
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is missing: apt-get install chromium"
        raise FileNotFoundError(message)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=FLAGS
        ) as browser,
    ):
        yield browser


@pytest.fixture(scope="package")
def dev(
    tmp_path_factory: pytest.TempPathFactory,
    browser: Browser,  # noqa: ARG001 - a missing browser shows before the wait
) -> Iterator[Dev]:
    """A real `learning-pipeline dev`, whose sensor starts nothing any more."""
    pipeline = Pipeline(tmp_path_factory.mktemp("dev"), dict(SLOW))
    with running_dev(pipeline) as dev:
        dev.query("mutation {setNuxSeen}")  # Else a "Join the community" dialog.
        wait_for(
            lambda: dev.query(TICKS)["sensorOrError"]["sensorState"]["ticks"],
            60,
            "the sensor's first look",
        )
        yield dev


@pytest.fixture
def ui(dev: Dev, browser: Browser, tmp_path: Path) -> Iterator[DagsterUI]:
    """A page of the web UI; what it shows at the end is kept in `tmp_path`."""
    with browser.new_context(viewport={"width": 1500, "height": 1000}) as context:
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        ui = DagsterUI(context.new_page(), dev, tmp_path)
        yield ui
        ui.screenshot("end")


@pytest.fixture(scope="package")
def learned(dev: Dev) -> str:
    """The key of a small file that was materialised, with its checks."""
    key = "agents/learned.jsonl"
    write_telemetry(dev.pipeline.telemetry / key, 300)
    run_id = launch(dev, key)
    wait_for(lambda: dev.status(run_id) == "SUCCESS", 90, "the run's success")
    return key
