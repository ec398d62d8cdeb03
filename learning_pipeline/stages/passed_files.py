"""Whether all stages have passed what a physical file holds, told by its content."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from learning_pipeline.model import Generation, PhysicalFile
from learning_pipeline.stages.generations import KnownGenerations, Recognised
from learning_pipeline.store import PartitionState, why_not_passed
from learning_pipeline.telemetry import TelemetryFile

_NO_GENERATION = -1


class Passed(msgspec.Struct, frozen=True):
    """What a file holds, and whether it is still needed.

    Attributes:
        generation: Which one; None when that cannot be told.
        why_not: Why it is still needed, for people; None when it is not.
    """

    generation: int | None
    why_not: str | None


def passed(
    file: TelemetryFile,
    physical: PhysicalFile,
    state: PartitionState,
    stages: Sequence[str],
) -> Passed:
    """Look into a file: which generation it holds, and who has not passed that.

    Args:
        file: Open.
        physical: The same, as it was listed.
        state: What is stored of its partition.
        stages: All that there are.

    Raises:
        TelemetryFileUnreadableError: It cannot be read.
    """
    number: int | None = None
    for stage, checkpoint in state.checkpoints.items():
        if checkpoint.sequence == 0:
            continue
        found = _recognise(file, physical, state, stage).generation
        if found is None or number not in {None, found.number}:
            return Passed(None, f"it holds nothing that {stage} has read")
        number = found.number
        if not file.has_landmarks(state.generations[number].landmarks):
            return Passed(number, f"it differs from what {stage} has read")
    why = why_not_passed(
        state,
        stages,
        _NO_GENERATION if number is None else number,
        file.size_bytes,
    )
    return Passed(number, why)


def _recognise(
    file: TelemetryFile, physical: PhysicalFile, state: PartitionState, stage: str
) -> Recognised:
    checkpoint = state.checkpoints[stage]
    known = [
        msgspec.structs.replace(each, position=state.positions.get((stage, number)))
        for number, each in sorted(state.generations.items())
    ]
    if file.is_compressed:
        # Each comparison decompresses all of it: begin with the likely one.
        likely = _likely(known, physical, state)
        found = KnownGenerations(likely, checkpoint).recognise(file)
        if found.generation is not None:
            return found
    return KnownGenerations(known, checkpoint).recognise(file)


def _likely(
    known: Sequence[Generation], physical: PhysicalFile, state: PartitionState
) -> list[Generation]:
    sighted = {
        sighting.generation
        for sighting in state.sightings
        if (sighting.inode, sighting.size_bytes)
        == (physical.inode, physical.size_bytes)
    }
    return [each for each in known if each.number in sighted]
