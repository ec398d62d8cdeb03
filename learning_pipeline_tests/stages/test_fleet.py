"""How far all stages are in all files: totals, the worst first, opening none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from learning_pipeline.settings import Settings
from learning_pipeline.stages import fleet as fleet_module
from learning_pipeline.stages.fleet import Fleet, look_at_fleet
from learning_pipeline.stages.names import ALL_STAGES, METRICS_STAGE, PATTERNS_STAGE
from learning_pipeline.store import Store
from learning_pipeline.telemetry import discover
from learning_pipeline_tests.fleet import store_as_read, write_fleet
from learning_pipeline_tests.learning.learned import learn, write_lines

LINE = b'{"event": "tick"}'


@dataclass
class World:
    """Telemetry and a state database.

    Attributes:
        store: Open.
        settings: Of both.
    """

    store: Store
    settings: Settings

    @property
    def root(self) -> Path:
        """The telemetry root."""
        return self.settings.telemetry_dir

    def write(self, partition: str, count: int = 1) -> None:
        """Let a file grow by so many lines."""
        write_lines(self.root, partition, [LINE] * count)

    def learn(self, *partitions: str, stage: str = PATTERNS_STAGE) -> None:
        """Let a stage read files to their ends."""
        learn(self.store, self.root, *partitions, stages=stage)

    def fleet(self) -> Fleet:
        """What there is to see."""
        return look_at_fleet(self.store, self.settings)


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """An empty telemetry root."""
    (tmp_path / "telemetry").mkdir()
    return World(store, Settings(telemetry_dir=tmp_path / "telemetry"))


def lags(fleet: Fleet) -> dict[str, int | None]:
    """Lag by stage."""
    return {each.stage: each.lag_bytes for each in fleet.stages}


def test_a_file_lags_as_far_as_its_slowest_stage(world: World) -> None:
    """And each stage by its own."""
    size = len(LINE) + 1
    world.write("a.jsonl", 3)
    world.learn("a.jsonl")
    world.write("a.jsonl")
    world.learn("a.jsonl", stage=METRICS_STAGE)
    fleet = world.fleet()
    [file] = fleet.files
    assert (file.lag_bytes, file.size_bytes) == (4 * size, 4 * size)
    assert file.slowest_stage not in {PATTERNS_STAGE, METRICS_STAGE}
    assert (file.percent, file.event_count) == (0, 3)
    found = lags(fleet)
    assert list(found) == list(ALL_STAGES)
    assert (found[PATTERNS_STAGE], found[METRICS_STAGE]) == (size, 0)
    assert fleet.lag_bytes == 4 * size


def test_rotated_files_and_lost_bytes_count(world: World) -> None:
    """What is unread of a file behind a rotation; and what went away unread."""
    world.write("a.jsonl", 2)
    world.learn("a.jsonl")
    path = world.root / "a.jsonl"
    write_lines(world.root, "a.jsonl", [b'{"to": "read"}'])
    path.rename(path.with_name("a.jsonl.1"))
    world.write("a.jsonl")
    stage = world.fleet().stages[0]
    assert stage.lag_bytes == len(b'{"to": "read"}\n') + len(LINE) + 1
    assert stage.behind_count == 1
    with path.open("ab") as file:
        file.write(b"torn")
    world.learn("a.jsonl")
    path.unlink()
    write_lines(world.root, "a.jsonl", [b'{"event": "of another file"}'])
    world.learn("a.jsonl")
    fleet = world.fleet()
    assert fleet.files[0].lost_bytes == fleet.stages[0].lost_bytes == 4
    assert fleet.lost_bytes == 4


def test_a_file_that_is_gone_lags_no_more(world: World) -> None:
    """What was learned of it still counts."""
    world.write("a.jsonl", 2)
    world.write("b.jsonl")
    world.learn("a.jsonl")
    (world.root / "a.jsonl").unlink()
    fleet = world.fleet()
    assert (fleet.file_count, fleet.gone_count, fleet.behind_count) == (2, 1, 1)
    gone = next(each for each in fleet.files if each.partition == "a.jsonl")
    assert (gone.size_bytes, gone.lag_bytes, gone.event_count) == (None, None, 2)
    assert fleet.stages[0].event_count == 2


def test_a_link_is_told_as_left_out(world: World) -> None:
    """It is no file of the fleet."""
    world.write("a.jsonl")
    (world.root / "b.jsonl").symlink_to("a.jsonl")
    fleet = world.fleet()
    assert (fleet.file_count, fleet.left_out_count) == (1, 1)


def test_of_many_files_those_are_listed_that_lag_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals are of all; read in portions."""
    monkeypatch.setattr(fleet_module, "MAX_FILES_SHOWN", 3)
    monkeypatch.setattr(fleet_module, "FILES_AT_A_TIME", 2)
    for number in range(7):
        world.write(f"{number}.jsonl", number + 1)
    world.learn("6.jsonl")
    fleet = world.fleet()
    assert [each.partition for each in fleet.files] == [
        *("6.jsonl", "5.jsonl", "4.jsonl"),
    ]
    assert (fleet.file_count, fleet.behind_count) == (7, 7)
    assert fleet.size_bytes == fleet.lag_bytes == 28 * (len(LINE) + 1)
    assert fleet.stages[0].lag_bytes == 21 * (len(LINE) + 1)


def test_a_stage_that_is_not_to_be_learned_does_not_lag(world: World) -> None:
    """`LEARN_STAGES` says which are; what was learned is told all the same."""
    world.write("a.jsonl", 3)
    world.learn("a.jsonl")
    only = world.settings.model_copy(update={"learn_stages": PATTERNS_STAGE})
    fleet = look_at_fleet(world.store, only)
    assert lags(fleet) == {PATTERNS_STAGE: 0}
    assert (fleet.behind_count, fleet.event_count) == (0, 3)
    other = world.settings.model_copy(update={"learn_stages": METRICS_STAGE})
    fleet = look_at_fleet(world.store, other)
    assert (fleet.behind_count, fleet.event_count) == (1, 3)


@pytest.mark.sweep
def test_very_many_files_are_looked_at_in_seconds(tmp_path: Path) -> None:
    """With the worst fifty of them."""
    root = tmp_path / "telemetry"
    write_fleet(root, 20_000)
    settings = Settings(telemetry_dir=root)
    url = f"sqlite:///{tmp_path / 'state.db'}"
    store_as_read(url, discover(root, settings.patterns).files)
    with Store(url) as store:
        fleet = look_at_fleet(store, settings)
    assert (fleet.file_count, len(fleet.files)) == (20_000, 50)
    assert lags(fleet)[PATTERNS_STAGE] == 0
    assert fleet.behind_count == 20_000
