"""`telemetry_sensor` and `learn_hourly`: ticks over real files and a real instance."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest

from learning_pipeline import steps
from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.partitions import add_keys, known_keys
from learning_pipeline.defs.schedules import learn_hourly
from learning_pipeline.defs.sensors import MAX_PROBLEMS_LOGGED, build_sensor
from learning_pipeline.errors import ConfigurationError, StoreUnavailableError
from learning_pipeline.settings import load_settings
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import Workbench
from learning_pipeline_tests.extraction import poisonous

LINE = next(generate_lines(1))


class Ticker:
    """Ticks the sensor, keeping its cursor as the daemon does."""

    def __init__(self, bench: Workbench) -> None:
        """Begin without a cursor."""
        self.bench = bench
        self.cursor: str | None = None
        self.after = timedelta()

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        """One tick, `after` from now."""
        sensor = build_sensor(load_settings(), lambda: datetime.now(UTC) + self.after)
        with dg.build_sensor_context(
            instance=self.bench.instance,
            cursor=self.cursor,
            definitions=build_definitions(),
        ) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor or self.cursor
        return result

    def requests(self) -> list[dict[str, str]]:
        """The tags of the runs that one tick asks for."""
        result = self.tick()
        if isinstance(result, dg.SkipReason):
            return []
        requests = list(result.run_requests or ())
        # Dagster remembers a run key for ever, whatever came of its run.
        assert all(request.run_key is None for request in requests)
        return [dict(request.tags) for request in requests]

    def events(self) -> list[dg.AssetObservation | dg.AssetMaterialization]:
        """What one tick records of files."""
        result = self.tick()
        assert isinstance(result, dg.SensorResult)
        return [
            event
            for event in result.asset_events
            if not isinstance(event, dg.AssetCheckEvaluation)
        ]

    def execute(self, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
        """Run what was asked for."""
        return self.bench.job.execute_in_process(
            instance=self.bench.instance, tags=tags, raise_on_error=False
        )


@pytest.fixture
def ticker(bench: Workbench) -> Ticker:
    """A sensor that has never ticked."""
    return Ticker(bench)


def test_new_files_become_partitions_and_share_a_run(ticker: Ticker) -> None:
    """Three files, one request, which materialises all three."""
    for name in ("a.jsonl", "b/c.jsonl", "d, [e] 100% ä.jsonl"):
        ticker.bench.write(name, LINE)
    (tags,) = ticker.requests()
    assert len(known_keys(ticker.bench.instance)) == 3
    assert ticker.execute(tags).success
    assert ticker.bench.materialized() == set(known_keys(ticker.bench.instance))


def test_a_tick_with_nothing_changed_asks_for_and_writes_nothing(
    ticker: Ticker,
) -> None:
    """A reason to skip; no event, no cursor, no byte of the state database."""
    ticker.bench.write("a.jsonl", LINE)
    (tags,) = ticker.requests()
    ticker.execute(tags)
    ticker.tick()
    state = ticker.bench.pipeline.state
    before = {path: path.read_bytes() for path in state.glob("state.db")}
    cursor, records = ticker.cursor, ticker.bench.instance.get_run_records()
    result = ticker.tick()
    assert isinstance(result, dg.SkipReason)
    assert "1 files below" in str(result.skip_message)
    assert ticker.cursor == cursor
    assert ticker.bench.instance.get_run_records() == records
    assert before == {path: path.read_bytes() for path in state.glob("state.db")}


def test_an_empty_root_is_skipped_at_the_first_tick(ticker: Ticker) -> None:
    """Nothing there yet is no reason to write a cursor."""
    assert isinstance(ticker.tick(), dg.SkipReason)


def test_a_changed_file_is_recorded_with_its_lag(ticker: Ticker) -> None:
    """A new file is materialised, a grown one observed, before a run has read it."""
    ticker.bench.write("a.jsonl", LINE)
    (appeared,) = ticker.events()
    assert isinstance(appeared, dg.AssetMaterialization)
    assert appeared.partition == "a.jsonl"
    assert appeared.metadata["lag_bytes"].value == len(LINE)
    assert ticker.bench.run(["a.jsonl"]).success
    ticker.bench.append("a.jsonl", LINE + LINE)
    (grown,) = ticker.events()
    assert isinstance(grown, dg.AssetObservation)
    assert grown.tags is not None
    assert grown.metadata["lag_bytes"].value == 2 * len(LINE)
    assert appeared.tags is not None
    version = "dagster/data_version"
    assert grown.tags[version] != appeared.tags[version]


def test_a_file_with_a_run_under_way_is_not_asked_for_again(ticker: Ticker) -> None:
    """Runs do not pile up for a file, also when it grows meanwhile."""
    ticker.bench.write("a.jsonl", LINE)
    (tags,) = ticker.requests()
    ticker.bench.record_run(dg.DagsterRunStatus.QUEUED, tags)
    ticker.bench.append("a.jsonl", LINE)
    ticker.after = timedelta(days=1)
    assert ticker.requests() == []


def test_a_run_of_slow_extractors_may_be_silent_for_a_whole_batch(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another run would fence it off, and be fenced off in its turn, for ever."""
    poisonous.install(tmp_path / "packages")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    settings = load_settings()
    batch_seconds = settings.checkpoint_interval * settings.extractor_timeout_seconds
    assert batch_seconds > settings.run_lease_seconds + 40
    ticker.bench.write("a.jsonl", LINE)
    (tags,) = ticker.requests()
    ticker.bench.record_run(dg.DagsterRunStatus.STARTED, tags)
    ticker.after = timedelta(seconds=batch_seconds - 20)
    assert ticker.requests() == []
    ticker.after = timedelta(seconds=batch_seconds + 20)
    assert len(ticker.requests()) == 1


def fail_a_run(ticker: Ticker) -> None:
    """Ask for the file, and let its run end at the first commit."""

    def fail(step: str) -> None:
        if step == "commit.begun":
            message = "the disk is full"
            raise StoreUnavailableError(message)

    (tags,) = ticker.requests()
    steps.listen(fail)
    assert not ticker.execute(tags).success
    steps.listen(None)
    # Dagster's own retry of it is awaited for so long.
    ticker.after += timedelta(seconds=load_settings().run_lease_seconds + 1)


def test_a_failed_run_whose_file_grows_again_is_asked_for_again(
    ticker: Ticker,
) -> None:
    """At once, though it was asked for before."""
    ticker.bench.write("a.jsonl", LINE)
    fail_a_run(ticker)
    ticker.bench.append("a.jsonl", LINE)
    (tags,) = ticker.requests()
    assert ticker.execute(tags).success
    assert ticker.bench.checkpoint("a.jsonl").offset == 2 * len(LINE)


def test_a_failed_run_whose_file_stays_is_asked_for_again_after_a_pause(
    ticker: Ticker,
) -> None:
    """It is never given up."""
    ticker.bench.write("a.jsonl", LINE)
    fail_a_run(ticker)
    fail_a_run(ticker)
    ticker.after -= timedelta(seconds=20)
    assert ticker.requests() == []
    ticker.after += timedelta(seconds=20)
    assert len(ticker.requests()) == 1


def test_three_hundred_new_files_become_two_runs(ticker: Ticker) -> None:
    """As many as `MAX_FILES_PER_RUN` share one."""
    for index in range(300):
        ticker.bench.write(f"{index:03}.jsonl", LINE)
    first, second = ticker.requests()
    known = known_keys(ticker.bench.instance)
    start, end = (
        "dagster/asset_partition_range_start",
        "dagster/asset_partition_range_end",
    )
    assert (first[start], first[end]) == (known[0], known[249])
    assert (second[start], second[end]) == (known[250], known[299])


def test_a_file_that_is_gone_does_not_fail_the_run_of_its_neighbours(
    ticker: Ticker,
) -> None:
    """A range passes over read files, not over what would fail."""
    names = [f"{letter}.jsonl" for letter in "abc"]
    for name in names:
        ticker.bench.write(name, LINE)
    (tags,) = ticker.requests()
    assert ticker.execute(tags).success
    (ticker.bench.pipeline.telemetry / "b.jsonl").unlink()
    ticker.bench.append("a.jsonl", LINE)
    ticker.bench.append("c.jsonl", LINE)
    assert ticker.requests() == [
        {"dagster/partition": "a.jsonl"},
        {"dagster/partition": "c.jsonl"},
    ]


def test_read_files_between_two_grown_ones_are_passed_over(ticker: Ticker) -> None:
    """One run in place of two."""
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        ticker.bench.write(name, LINE)
    (tags,) = ticker.requests()
    assert ticker.execute(tags).success
    ticker.bench.append("a.jsonl", LINE)
    ticker.bench.append("c.jsonl", LINE)
    assert len(ticker.requests()) == 1


def test_a_missing_telemetry_root_is_a_clear_error(ticker: Ticker) -> None:
    """The tick fails, naming the setting."""
    ticker.bench.pipeline.telemetry.rmdir()
    with pytest.raises(ConfigurationError, match="LEARNING_PIPELINE_TELEMETRY_DIR"):
        ticker.tick()


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """What was logged since the last look."""
    lines = capfd.readouterr()
    return lines.out + lines.err


def test_what_cannot_be_processed_is_logged_when_it_changes(
    ticker: Ticker, capfd: pytest.CaptureFixture[str]
) -> None:
    """A link and a FIFO that match are named once, with the reason; not each tick."""
    root = ticker.bench.pipeline.telemetry
    ticker.bench.write("a.jsonl", LINE)
    (root / "link.jsonl").symlink_to(root / "a.jsonl")
    (tags,) = ticker.requests()
    assert known_keys(ticker.bench.instance) == ["a.jsonl"]
    text = said(capfd)
    assert "link.jsonl" in text
    assert "symlink" in text
    assert ticker.execute(tags).success
    ticker.tick()
    assert isinstance(ticker.tick(), dg.SkipReason)
    assert "link.jsonl" not in said(capfd)
    os.mkfifo(root / "pipe.jsonl")
    assert isinstance(ticker.tick(), dg.SensorResult)
    text = said(capfd)
    assert "link.jsonl" in text
    assert "pipe.jsonl" in text
    assert "not_a_regular_file" in text
    assert isinstance(ticker.tick(), dg.SkipReason)
    assert "path_left_out" not in said(capfd)


def test_very_many_left_out_paths_are_counted_instead_of_named(
    ticker: Ticker, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log of a tick stays short."""
    for number in range(MAX_PROBLEMS_LOGGED + 5):
        (ticker.bench.pipeline.telemetry / f"{number}.jsonl").symlink_to("nowhere")
    ticker.tick()
    text = said(capfd)
    assert text.count("path_left_out ") == MAX_PROBLEMS_LOGGED
    assert "more_paths_left_out count=5" in text


@pytest.mark.parametrize(
    "cursor", ["no json", "[]", '{"asks": {"a.jsonl": "7"}}', '{"a.jsonl": [0, 1]}']
)
def test_a_cursor_of_another_version_is_no_reason_to_fail(
    ticker: Ticker, cursor: str
) -> None:
    """A sensor that fails at each tick would stop everything."""
    ticker.bench.write("a.jsonl", LINE)
    ticker.cursor = cursor
    assert len(ticker.requests()) == 1


def test_the_cursor_remembers_only_what_is_asked_for(ticker: Ticker) -> None:
    """It shrinks again when the files are read."""
    ticker.bench.write("a.jsonl", LINE)
    (tags,) = ticker.requests()
    assert list(msgspec.json.decode(ticker.cursor or "")["asks"]) == ["a.jsonl"]
    ticker.execute(tags)
    ticker.tick()
    assert ticker.cursor == "{}"


def hourly(bench: Workbench) -> Any:
    """What one tick of the schedule gives."""
    with dg.build_schedule_context(
        instance=bench.instance, scheduled_execution_time=datetime.now(UTC)
    ) as context:
        return learn_hourly(context)


def test_the_schedule_asks_for_the_same_as_the_sensor(home_bench: Workbench) -> None:
    """New files become partitions and share a run; read ones are left."""
    add_keys(home_bench.instance, ["gone.jsonl"])
    home_bench.write("a.jsonl", LINE)
    home_bench.write("b.jsonl", LINE)
    (request,) = hourly(home_bench)
    assert known_keys(home_bench.instance) == ["gone.jsonl", "a.jsonl", "b.jsonl"]
    result = home_bench.job.execute_in_process(
        instance=home_bench.instance, tags=request.tags
    )
    assert result.success
    assert isinstance(hourly(home_bench), dg.SkipReason)


def test_the_schedule_leaves_a_file_with_a_run_under_way(home_bench: Workbench) -> None:
    """Beside the sensor it starts nothing twice."""
    home_bench.write("a.jsonl", LINE)
    (request,) = hourly(home_bench)
    home_bench.record_run(dg.DagsterRunStatus.QUEUED, request.tags)
    assert isinstance(hourly(home_bench), dg.SkipReason)
