"""Loads dataset files with Hugging Face `datasets`, offline, in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load(folder: Path, files: Mapping[str, tuple[str, Path]]) -> dict[str, Any]:
    """The columns and rows of files.

    Args:
        folder: Where its cache goes.
        files: By name, the kind of loader and the path.
    """
    environment = {
        **os.environ,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    asked = {name: (kind, str(path)) for name, (kind, path) in files.items()}
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder / "cache"), json.dumps(asked)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(cache: str, asked: dict[str, tuple[str, str]]) -> None:
    """Print what is in the files, as JSON."""
    from datasets import load_dataset  # noqa: PLC0415 - takes seconds

    found = {}
    for name, (kind, path) in asked.items():
        # Small chunks: types must not depend on what the first of them holds.
        options = {"chunksize": 4_096} if kind == "json" else {}
        loaded = load_dataset(
            kind, data_files=path, split="train", cache_dir=cache, **options
        )
        found[name] = {
            "features": loaded.features.to_dict(),
            "rows": [loaded[number] for number in range(len(loaded))],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
