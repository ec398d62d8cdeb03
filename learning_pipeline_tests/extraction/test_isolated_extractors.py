"""Users' extractors may crash, hang and grow: it costs the record, and no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from learning_pipeline.errors import (
    ExtractorProcessError,
    ExtractorRegistrationError,
)
from learning_pipeline.extraction import PatternExtractor, build_extractor
from learning_pipeline.extraction.isolated import (
    IsolatedExtractors,
    WorkerLimits,
    shared_extractors,
)
from learning_pipeline.model import BatchOutput
from learning_pipeline_tests.extraction.extraction_records import run, step
from learning_pipeline_tests.extraction.poisonous import (
    KIND,
    MEMORY_BYTES,
    NAME,
    TIMEOUT_SECONDS,
    Poisonous,
    install,
)
from learning_pipeline_tests.pipeline import PROJECT

LIMITS = WorkerLimits(TIMEOUT_SECONDS, MEMORY_BYTES)


@pytest.fixture
def path_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, for a distribution."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def isolated(path_entry: Path) -> Iterator[IsolatedExtractors]:
    """The poisonous extractor, installed; its worker ends with the test."""
    install(path_entry)
    extractors = IsolatedExtractors(LIMITS)
    yield extractors
    extractors.close()
    assert workers() == []


@pytest.fixture
def extract(isolated: IsolatedExtractors) -> Callable[..., BatchOutput]:
    """Run lines through it."""
    engine = PatternExtractor(isolated=isolated)
    return lambda *lines: run(*lines, extractor=engine)


def workers(parent: int | None = None) -> list[psutil.Process]:
    """The workers that live below a process."""
    return [
        child
        for child in psutil.Process(parent).children(recursive=True)
        if "learning_pipeline.extraction.isolated.worker" in " ".join(child.cmdline())
    ]


def poison(act: str | None = None, **fields: Any) -> bytes:
    """A line on which the extractor acts."""
    return json.dumps({"event": KIND, "act": act, **fields}).encode()


def prompts(output: BatchOutput) -> list[str]:
    """What the rows ask."""
    return [row[3] for row in output.rows]


def process_of(output: BatchOutput) -> int:
    """The process that a line with `says_process` was extracted in."""
    (metrics,) = (row[8] for row in output.rows if row[3] == "process")
    return int(json.loads(metrics)["pid"])


def wait_for_end(process: psutil.Process, seconds: float = 10) -> None:
    """Wait until it is gone, or a zombie that nobody waits for."""
    end = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the worker lives on"
        time.sleep(0.02)


def test_sound_records_give_what_they_give_in_this_process(
    extract: Callable[..., BatchOutput],
) -> None:
    """Rows, counts and dead letters, of good events and of bad ones."""
    lines = [
        poison(text=" bob@example.com asks: where is the file? ", timestamp=0),
        step(),
        poison(text="half \ud800"),
        poison(text="nul \0"),
        poison("fail"),
        poison("fail", deep=[[]] * 3, timestamp="2026-05-28T18:14:11Z", text="ghp_"),
        b'{"event":"poisonous","text":',
        b'{"event":"poisonous","event_type":[],"number":1e999}',
        b'{"event":"nobody\'s"}',
        poison(text="x" * 100_000, timestamp="never"),
    ]
    here = run(*lines, extractor=PatternExtractor([Poisonous()]))
    assert extract(*lines) == here
    assert here.rows
    letters = [letter.start_offset for letter in here.dead_letters]
    assert letters == sorted(letters)
    assert len(letters) > 3


@pytest.mark.parametrize(
    ("act", "reason", "detail"),
    [
        ("hang", "extractor_timed_out", "took longer than 1 seconds"),
        ("hang_in_c", "extractor_timed_out", "took longer than 1 seconds"),
        ("grow", "extractor_out_of_memory", "ran out of memory"),
        ("segfault", "extractor_crashed", "ended its process with SIGSEGV"),
        ("abort", "extractor_crashed", "ended its process with SIGABRT"),
        ("leave", "extractor_crashed", "ended its process with exit code 3"),
        ("leave_as_if_done", "extractor_crashed", "with exit code 0"),
        ("close_all", "extractor_crashed", ""),
        ("sys_exit", "extractor_error", "raised SystemExit"),
    ],
)
def test_a_poisonous_record_is_one_dead_letter_and_stops_nothing(
    extract: Callable[..., BatchOutput], act: str, reason: str, detail: str
) -> None:
    """With its range and kind; the records around it have all of their rows."""
    lines = [poison(text="before"), poison(act), poison(text="after"), step()]
    output = extract(*lines)
    (letter,) = output.dead_letters
    start = len(lines[0]) + 1
    assert (letter.start_offset, letter.end_offset) == (
        start,
        start + len(lines[1]) + 1,
    )
    assert (letter.reason, letter.kind, letter.raw) == (reason, KIND, lines[1])
    assert letter.detail.startswith(f"{NAME} ")
    assert detail in letter.detail
    assert prompts(output)[:4] == ["before 0", "before 1", "after 0", "after 1"]
    assert output.counters.event_count == 4


def test_one_poison_after_the_other_is_told_apart(
    extract: Callable[..., BatchOutput],
) -> None:
    """Each has its own reason."""
    output = extract(poison("leave"), poison("segfault"), poison("grow"), poison())
    assert [letter.reason for letter in output.dead_letters] == [
        "extractor_crashed",
        "extractor_crashed",
        "extractor_out_of_memory",
    ]
    assert len(output.rows) == 2


def test_a_worker_that_dies_between_two_records_costs_none(
    extract: Callable[..., BatchOutput],
) -> None:
    """The next record is extracted by another one."""
    first = process_of(extract(poison(says_process=True)))
    psutil.Process(first).kill()
    output = extract(poison(says_process=True))
    assert not output.dead_letters
    assert process_of(output) != first


def test_a_worker_goes_on_from_record_to_record(
    extract: Callable[..., BatchOutput],
) -> None:
    """Nobody could afford one for each."""
    one, other = (process_of(extract(poison(says_process=True))) for _ in range(2))
    assert one == other


def test_what_earlier_records_left_in_memory_is_not_blamed_on_a_later_one(
    extract: Callable[..., BatchOutput],
) -> None:
    """Each of these fits, two of them do not."""
    output = extract(*[poison("leak")] * 3)
    assert not output.dead_letters
    assert len(output.rows) == 6


def test_what_an_extractor_prints_and_reads_does_not_disturb(
    extract: Callable[..., BatchOutput], capfd: pytest.CaptureFixture[str]
) -> None:
    """It is on standard error; standard input is empty."""
    assert len(extract(poison("chatter"), poison("chatter")).rows) == 4
    printed = capfd.readouterr()
    assert (printed.out, printed.err.count("junk")) == ("", 4)


def test_many_records_are_each_given_their_own_answer(
    extract: Callable[..., BatchOutput],
) -> None:
    """Also when they and their answers are more than the pipes hold, and some kill."""
    lines = [poison(text=f"{number} " * 5_000) for number in range(60)]
    poisonous = {7: "leave", 8: "segfault", 30: "leave", 59: "abort"}
    for number, act in poisonous.items():
        lines[number] = poison(act)
    sound = [line for number, line in enumerate(lines) if number not in poisonous]
    output = extract(*lines)
    here = run(*sound, extractor=PatternExtractor([Poisonous()]))
    assert [row[1:] for row in output.rows] == [row[1:] for row in here.rows]
    assert [row[0] for row in output.rows] == sorted(row[0] for row in output.rows)
    assert [letter.raw for letter in output.dead_letters] == [
        lines[number] for number in poisonous
    ]


def test_each_record_has_its_own_time(extract: Callable[..., BatchOutput]) -> None:
    """Not the batch: three that take less than the limit take more together."""
    output = extract(*[poison("take_its_time")] * 3)
    assert (len(output.rows), output.dead_letters) == (6, [])


def test_a_large_record_crosses_the_pipe(extract: Callable[..., BatchOutput]) -> None:
    """Larger than any pipe holds, in both directions."""
    output = extract(poison(text="x" * 5_000_000), poison(text="after"))
    assert len(output.rows) == 4


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """A shell starts what it runs in the background deaf to interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_is_obeyed_and_the_next_record_gets_its_own_answer(
    extract: Callable[..., BatchOutput],
) -> None:
    """What was at work then is not taken for an answer later."""
    extract(poison())
    timer = threading.Timer(
        0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
    )
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        extract(poison("hang"))
    timer.join()
    assert prompts(extract(poison(text="next")))[0] == "next 0"


def test_nothing_is_started_or_imported_before_a_kind_may_be_theirs(
    path_entry: Path,
) -> None:
    """Built-in kinds need no worker; and even theirs are never loaded here."""
    install(path_entry, "no_such_module:Poisonous")
    engine = build_extractor(4096)
    assert len(run(step(), extractor=engine).rows) == 1
    assert workers() == []


def test_an_idle_worker_ends_and_costs_no_record(path_entry: Path) -> None:
    """A long-lived process does not keep one for nothing."""
    install(path_entry)
    extractors = IsolatedExtractors(
        WorkerLimits(TIMEOUT_SECONDS, MEMORY_BYTES, idle_seconds=0.05)
    )
    engine = PatternExtractor(isolated=extractors)
    process = process_of(run(poison(says_process=True), extractor=engine))
    wait_for_end(psutil.Process(process))
    assert len(run(poison(), extractor=engine).rows) == 2
    extractors.close()


def test_the_worker_ends_with_the_extractors(path_entry: Path) -> None:
    """Nobody has to close anything."""
    install(path_entry)
    engine = PatternExtractor(isolated=IsolatedExtractors(LIMITS))
    run(poison(), extractor=engine)
    assert len(workers()) == 1
    del engine
    assert workers() == []


def test_files_share_one_worker(path_entry: Path) -> None:
    """A run of many small files would start one for each."""
    install(path_entry)
    pids = {
        process_of(
            run(
                poison(says_process=True),
                extractor=build_extractor(4096, TIMEOUT_SECONDS, MEMORY_BYTES),
            )
        )
        for _ in range(2)
    }
    assert len(pids) == 1
    shared_extractors.cache_clear()
    assert workers() == []


def test_a_forked_process_starts_its_own_worker(
    extract: Callable[..., BatchOutput],
) -> None:
    """Two that ask the same one would get each other's answers."""
    first = process_of(extract(poison(says_process=True)))
    child = os.fork()
    if not child:
        second = process_of(extract(poison(says_process=True)))
        psutil.Process(second).kill()
        os._exit(0 if second != first else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert process_of(extract(poison(says_process=True))) == first


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ("no_such_module:Poisonous", ExtractorRegistrationError, "cannot be loaded"),
        ("json:dumps", ExtractorRegistrationError, "no extractor"),
        ("crashing:Poisonous", ExtractorProcessError, "exit code 5"),
    ],
)
def test_extractors_that_cannot_be_loaded_are_an_error_and_no_dead_letters(
    path_entry: Path, value: str, error: type[Exception], says: str
) -> None:
    """One that says what to do, and leaves no process."""
    install(path_entry, value)
    (path_entry / "crashing.py").write_text("import os\nos._exit(5)\n")
    engine = PatternExtractor(isolated=IsolatedExtractors(LIMITS))
    with pytest.raises(error, match=says) as caught:
        run(poison(), extractor=engine)
    assert "uninstall" in str(caught.value)
    assert workers() == []


def test_extractors_that_change_meanwhile_are_an_error(
    extract: Callable[..., BatchOutput], path_entry: Path
) -> None:
    """Their kinds would be ignored, or taken for others' bugs."""
    extract(poison())
    entry_points = path_entry / "poisonous-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text("")
    with pytest.raises(ExtractorProcessError, match="changed"):
        extract(poison("leave"))


ASKING = """
import sys
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.extraction.isolated import IsolatedExtractors, WorkerLimits
from learning_pipeline_tests.extraction.extraction_records import run
from learning_pipeline_tests.extraction.test_isolated_extractors import poison
engine = PatternExtractor(isolated=IsolatedExtractors(WorkerLimits({seconds})))
run(poison(), extractor=engine)
print("go", flush=True)
run(*[poison(act) for act in {acts}], extractor=engine)
{then}
"""


@pytest.mark.parametrize(
    ("acts", "seconds"),
    [([], 600), (["hang"], 600), (["hang_in_c"], 2)],
    ids=["idle", "hanging", "hanging in C"],
)
def test_the_worker_ends_when_its_parent_is_killed(
    path_entry: Path, acts: list[str], seconds: float
) -> None:
    """Whatever the extractor is doing: no orphan is left."""
    install(path_entry)
    code = ASKING.format(acts=acts, seconds=seconds, then="sys.stdin.read()")
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(path_entry)]),
        },
    )
    assert parent.stdout is not None
    with parent:
        try:
            assert parent.stdout.readline() == b"go\n"
            time.sleep(0.2)
            (worker,) = workers(parent.pid)
        finally:
            parent.kill()
    wait_for_end(worker)


def test_the_worker_ends_with_an_orderly_parent(path_entry: Path) -> None:
    """Nothing warns, and nobody waits for it."""
    install(path_entry)
    code = ASKING.format(acts=[], seconds=600, then="")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(path_entry)]),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
