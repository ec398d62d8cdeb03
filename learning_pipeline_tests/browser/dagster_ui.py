"""The pages of Dagster's web UI that a user of this project looks at and clicks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page

from learning_pipeline_tests.dagster_dev import Dev


@dataclass
class DagsterUI:
    """One browser page on the web UI.

    Attributes:
        page: Playwright's.
        dev: What serves it.
        screenshots: The folder for what was seen.
    """

    page: Page
    dev: Dev
    screenshots: Path

    def screenshot(self, name: str) -> None:
        """Keep what the page shows."""
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def open(self, path: str, **query: str) -> None:
        """Load a page of the UI."""
        self.page.goto(f"{self.dev.url}{path}?{urlencode(query)}")

    def open_asset(self, asset: str, *, view: str = "overview") -> None:
        """Load a tab of an asset's page."""
        self.open(f"/assets/{asset}", view=view)

    def open_partition(self, asset: str, key: str) -> None:
        """Load the page of one partition."""
        self.open(f"/assets/{asset}", view="partitions", partition=key)

    def click_partition(self, asset: str, key: str) -> None:
        """Find a partition by its name in the asset's list and click it."""
        self.open_asset(asset, view="partitions")
        self.page.get_by_placeholder("Filter by name").fill(key)
        # Long names are shortened in the middle; the end stays.
        self._visible(self.page.get_by_text(key[-10:])).click()

    def metadata(self, *, patience_seconds: float = 30) -> dict[str, str]:
        """The metadata that the page lists, by name, as soon as it lists some."""
        end = time.monotonic() + patience_seconds
        while True:
            rows = self.page.get_by_role("row").all_inner_texts()
            cells = [[cell.strip() for cell in row.split("\t")] for row in rows]
            found = {row[0]: row[1] for row in cells if len(row) > 1}
            if found or time.monotonic() > end:
                return found
            self.page.wait_for_timeout(100)

    def materialize(self, keys: Sequence[str]) -> None:
        """Click "Materialize…", choose partitions, launch."""
        self._open_launch_dialog()
        self.page.get_by_text("Select a partition or create one").click()
        for key in keys:
            search = self.page.get_by_placeholder("Filter partitions")
            search.fill(key)
            self._visible(self.page.get_by_text("Select all (1)")).click()
        # A click beside the list closes it.
        self.page.get_by_text("Launch runs to materialize").click()
        self.screenshot("chosen")
        self.page.get_by_role("button", name="Launch 1 run").click()
        self.page.get_by_text("Launched run").wait_for()

    def backfill_all(self, partition_count: int) -> None:
        """Click "Materialize…", choose all partitions, launch."""
        self._open_launch_dialog()
        self.page.get_by_role("button", name="All", exact=True).click()
        self.page.get_by_text(f"{partition_count} partitions selected").wait_for()
        self.screenshot("chosen")
        self.page.get_by_role("button", name="Launch backfill").click()
        self.page.get_by_role("button", name="Launch backfill").wait_for(state="hidden")

    def terminate(self, run_id: str) -> None:
        """Click "Terminate" on the run's page and confirm."""
        self.open(f"/runs/{run_id}")
        self.page.get_by_role("button", name="Terminate").click()
        self.page.get_by_role("button", name="Terminate 1 run").click()

    def _open_launch_dialog(self) -> None:
        self.open_asset("interaction_patterns")
        self.page.get_by_role("button", name="Materialize").first.click()

    @staticmethod
    def _visible(found: Locator) -> Locator:
        return found.filter(visible=True).first
