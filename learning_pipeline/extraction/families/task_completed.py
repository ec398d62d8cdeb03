"""Tasks that an agent completed, taken when it needed few rounds."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.drafts import Family, FamilyDraft
from learning_pipeline.extraction.families.fields import ABSENT, CommonFields, clamped

MAX_ITERATION = 5


class Task(msgspec.Struct, gc=False):
    """The `task` of the event."""

    prompt: str | None = None
    output: str | None = None
    iteration: int | float | None = None
    backend: str | None = None
    model: str | None = None
    context: msgspec.Raw = ABSENT


class TaskCompleted(CommonFields):
    """The event, as far as it matters here."""

    task: Task | None = None


_NO_TASK = Task()


def extract(event: TaskCompleted) -> FamilyDraft | None:
    """Take the task unless it needed more than five rounds."""
    task = event.task or _NO_TASK
    stated = task.iteration or 0
    if stated > MAX_ITERATION:
        return None
    iterations = clamped(stated)
    context = event.context
    if context is ABSENT or bytes(context) == b"null":
        context = task.context
    return (
        (task.prompt or "").strip(),
        (task.output or "").strip(),
        iterations,
        event.backend or event.model or task.backend or task.model,
        context,
        f'{{"iterations":{iterations},"efficiency":{1 / max(iterations, 1)}}}',
        event.timestamp,
    )


FAMILY = Family(
    kinds=frozenset({"task_completed"}),
    decode=msgspec.json.Decoder(TaskCompleted).decode,
    extract=extract,
)
