"""An extractor that does to its process whatever an event asks for."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from learning_pipeline.extraction import ENTRY_POINT_GROUP, PatternDraft

KIND = "poisonous"
NAME = f"{__name__}.Poisonous"
TIMEOUT_SECONDS = 1.0
MEMORY_BYTES = 256 * 1024 * 1024

_leaked: list[bytes] = []


def hang() -> None:
    """Say so, and never come back."""
    print("hanging", flush=True)
    while True:
        time.sleep(0)


def hang_in_c() -> None:
    """Never come back, and keep Python's lock."""
    ctypes.PyDLL(None).pause()


def grow() -> None:
    """Take memory for ever."""
    hoard = []
    while True:
        hoard.append(bytes(2**22))


def segfault() -> None:
    """Read where there is nothing."""
    ctypes.string_at(0)


def leak() -> None:
    """Take most of the memory, come back and keep it."""
    _leaked.append(bytes(MEMORY_BYTES * 2 // 3))


def chatter() -> None:
    """Write to standard output in every way, and read standard input."""
    print("junk", flush=True)
    os.write(1, b"junk\n")
    sys.stdin.read()
    os.read(0, 1)


ACTS: dict[str, Callable[[], object]] = {
    "hang": hang,
    "hang_in_c": hang_in_c,
    "grow": grow,
    "segfault": segfault,
    "leave": lambda: os._exit(3),
    "leave_as_if_done": lambda: os._exit(0),
    "abort": os.abort,
    "sys_exit": lambda: sys.exit(3),
    "close_all": lambda: os.closerange(3, 1_000),
    "fail": lambda: 1 / 0,
    "leak": leak,
    "take_its_time": lambda: time.sleep(TIMEOUT_SECONDS * 0.4),
    "chatter": chatter,
}


class Poisonous:
    """Acts, then says what an event's text is and which process it was in."""

    kinds = frozenset({KIND})

    def extract(self, event: Mapping[str, Any], /) -> Any:
        """Do what `act` names, if anything."""
        act = event.get("act")
        if act is not None:
            ACTS[act]()
        text = str(event.get("text"))
        drafts = [PatternDraft(f"{text} {number}", "It is.") for number in range(2)]
        if event.get("says_process"):
            drafts.append(
                PatternDraft("process", "p", success_metrics={"pid": os.getpid()})
            )
        return drafts


def install(folder: Path, value: str = f"{__name__}:Poisonous") -> None:
    """Make a folder that, on the path, has a distribution with this entry point."""
    info = folder / "poisonous-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: poisonous\n")
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINT_GROUP}]\npoisonous = {value}\n"
    )
