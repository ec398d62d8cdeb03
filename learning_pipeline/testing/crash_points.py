"""Kill this process at a named step, as `kill -9` would: nothing gets to clean up.

    python -m learning_pipeline.testing.crash_points commit.rows_written 3 process

runs `learning-pipeline process` and kills it when it stands at that step for the
third time.
"""

from __future__ import annotations

import os
import signal
import sys

from learning_pipeline import steps


def kill_at(step: str, occurrence: int) -> None:
    """Arrange for SIGKILL at the `occurrence`-th time that `step` is reached.

    Raises:
        ValueError: There is no such step.
    """
    names = steps.ALL_NAMES
    if step not in names:
        message = f"no step {step!r}; there are {', '.join(names)}"
        raise ValueError(message)
    seen = 0

    def listener(reached: str) -> None:
        nonlocal seen
        if reached == step:
            seen += 1
            if seen == occurrence:
                os.kill(os.getpid(), signal.SIGKILL)

    steps.listen(listener)


def main(arguments: list[str]) -> None:
    """Install the crash point and run the command line in this process."""
    from learning_pipeline.cli import main as command  # noqa: PLC0415 - after arming

    step, occurrence, *rest = arguments
    kill_at(step, int(occurrence))
    sys.argv = ["learning-pipeline", *rest]
    command()


if __name__ == "__main__":
    main(sys.argv[1:])
