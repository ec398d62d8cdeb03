"""The real command in a forked process, with its output kept apart from its errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from learning_pipeline_tests.forking import FORK_SERVER
from learning_pipeline_tests.pipeline import Completed, Pipeline


def run(
    pipeline: Pipeline,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    output: str | None = None,
) -> Completed:
    """Run the command; every error must be a message, never a traceback.

    Args:
        pipeline: Where.
        arguments: Its command line.
        environment: More variables.
        output: Where standard output goes; None: into the result.
    """
    out, err = pipeline.folder / "stdout.txt", pipeline.folder / "stderr.txt"
    process = FORK_SERVER.Process(
        target=_run,
        args=(
            {**pipeline.environment, **(environment or {})},
            pipeline.folder,
            arguments,
            output or str(out),
            str(err),
        ),
    )
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        process.join()
        message = f"{arguments} did not end"
        raise TimeoutError(message)
    errors = err.read_text()
    assert "Traceback" not in errors, errors
    text = out.read_text() if output is None else ""
    assert "Traceback" not in text, text
    return Completed(process.exitcode, text, errors)


def _run(
    environment: Mapping[str, str],
    folder: Path,
    arguments: tuple[str, ...],
    out: str,
    err: str,
) -> None:
    from learning_pipeline.cli import main  # noqa: PLC0415 - in the forked process

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
    sys.argv = ["learning-pipeline", *arguments]
    main()
