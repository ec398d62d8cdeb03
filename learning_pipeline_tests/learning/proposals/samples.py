"""Events that give signals, as lines."""

from __future__ import annotations

from learning_pipeline_tests.learning.event_lines import line


def limit_hit(number: int = 0, *, limit: int = 8) -> bytes:
    """A debugging task that hit its limit of iterations, at some second."""
    return line(
        event="task_completed",
        timestamp=f"2026-05-28T18:{number // 60 % 60:02}:{number % 60:02}Z",
        total_iterations=limit,
        adaptive_limit_used=limit,
        task={"prompt": f"Fix bug {number}"},
    )


def refused(number: int = 0, *, host: str = "qdrant") -> bytes:
    """A connection that was refused, at some second."""
    return line(
        event="x",
        timestamp=f"2026-05-28T19:{number // 60 % 60:02}:{number % 60:02}Z",
        error=f"connection refused: http://{host}:6333",
    )
