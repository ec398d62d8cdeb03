"""Telemetry like agents write it, from a seed: the same seed gives the same bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

_VERBS = [
    "fix",
    "refactor",
    "explain",
    "test",
    "review",
    "document",
    "profile",
    "migrate",
    "deploy",
    "audit",
]
_NOUNS = [
    "the ingest worker",
    "a flaky retry loop",
    "the vector search route",
    "the Nix flake",
    "a memory leak in the parser",
    "the audit log rotation",
    "the embeddings cache",
    "a failing migration",
    "the health endpoint",
    "the prompt router",
]
_SENTENCES = (
    "The cause is a lock that is held across an await.",
    "Run the failing test alone first, then with the whole suite.",
    "The handler swallowed the exception, so nothing was logged.",
    "Set the timeout to thirty seconds and retry with back-off.",
    "The index was rebuilt from the stored checkpoint without loss.",
    "Compare both files byte by byte before you replace one.",
    "The service reads its settings once, at start.",
    "I changed the query to use the primary key.",
    "All tests pass now, and the benchmark is 12 % faster.",
    "The remaining warning comes from a dependency.",
)
_SNIPPETS = (
    '```python\nfor path in sorted(root.rglob("*.py")):\n    print(path.name)\n```',
    '```bash\ngit log --oneline -5\nsystemctl status "ingest"\n```',
    '1. Read the log.\n2. Find the first error.\n3. Fix "that" one.',
    "- file: `route_handler.py`\n- function: `route_llm`\n- lines: 150\u2013160",
)
_BACKENDS = ("llama.cpp", "claude", "qwen-coder", "gpt")
_ROLES = ("architect", "implementer", "reviewer")
_START = datetime(2026, 5, 28, 18, 0, tzinfo=UTC)


def generate_lines(event_count: int, *, seed: int = 0) -> Iterator[bytes]:
    """Yield newline-ended records, about 0.78 KB each; about 57 % give patterns.

    Args:
        event_count: How many.
        seed: Chooses the content; no two lines of one seed are equal.
    """
    random_ = random.Random(seed)  # noqa: S311 - sample data
    for index in range(event_count):
        moment = _START + timedelta(seconds=7 * index, microseconds=index % 999_983)
        stamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        yield json.dumps(_event(random_, index, stamp)).encode() + b"\n"


def write_telemetry(path: Path, event_count: int, *, seed: int = 0) -> None:
    """Write `event_count` records to a new file at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(generate_lines(event_count, seed=seed))


def _event(random_: random.Random, index: int, stamp: str) -> dict[str, object]:
    share = random_.random()
    task = f"{random_.choice(_VERBS)} {random_.choice(_NOUNS)} (task {index})"
    if share < 0.29:  # noqa: PLR2004 - the mix of kinds, in shares
        event: dict[str, object] = {
            "event_type": "agent_step_complete",
            "timestamp": stamp,
            "query": f"Please {task}.\n\n{_prose(random_, 2)}",
            "response": _answer(random_),
            "latency_ms": random_.randint(200, 90_000),
        }
    elif share < 0.40:  # noqa: PLR2004
        event = {
            "event": "task_completed",
            "timestamp": stamp,
            "task": {
                "id": f"task-{index}",
                "prompt": f"{task}.\n\n{_prose(random_, 2)}",
                "output": _answer(random_),
                # One in eight took too many rounds to learn from.
                "iteration": random_.choice((1, 1, 2, 2, 3, 4, 5, 9)),
                "backend": random_.choice(_BACKENDS),
            },
        }
    elif share < 0.50:  # noqa: PLR2004
        event = {
            "event": "error_resolution",
            "timestamp": stamp,
            "error_description": f"Error on {task}: {_prose(random_, 2)}",
            "solution": _answer(random_),
            "resolution_time": round(random_.uniform(1, 900), 2),
        }
    elif share < 0.66:  # noqa: PLR2004
        event = {
            "event": "interaction_recorded",
            "timestamp": stamp,
            "query": f"How do I {task}? {_prose(random_, 2)}",
            "response": _answer(random_),
            "value_score": round(random_.uniform(0.4, 1.0), 3),
        }
    else:
        event = {
            "event_type": random_.choice(("health_check", "cache_stats", "heartbeat")),
            "timestamp": stamp,
            "host": f"node-{index % 7}",
            "detail": _prose(random_, 9),
            "checks": {"cpu": random_.random(), "memory": random_.random()},
        }
    # What agent stacks add to every event, as the real file shows.
    event["tokens_in"] = random_.randint(20, 900)
    event["tokens_out"] = random_.randint(20, 900)
    event["role"] = random_.choice(_ROLES)
    event["source"] = "delegate-direct"
    event["session"] = f"{random_.getrandbits(128):032x}"
    return event


def _prose(random_: random.Random, count: int) -> str:
    return " ".join(random_.choices(_SENTENCES, k=count))


def _answer(random_: random.Random) -> str:
    snippet = random_.choice(_SNIPPETS)
    return f"{_prose(random_, 3)}\n\n{snippet}\n\n{_prose(random_, 2)}"
