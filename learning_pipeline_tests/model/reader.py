"""What one stage has to have read of one partition: the simple model.

A generation is a stream of bytes that only grows. A file belongs to the one of which
it begins with everything that was read; of several to the one that was read furthest;
if to none, it is a new one. A rotated file that holds only a beginning of what was
read is a copy that was cut off, and nothing of it is to be read. Each line of each
generation that was read or can be found gives its row once.

Decisions where the contents alone do not tell:

- What goes on behind the bytes that were read is the same generation, also if unread
  bytes behind them were others before. They are counted as lost only as far as the
  file became shorter: "at least".
- A file of which nothing was read is known by what it began with when it was first
  looked at.
- The last line of a file that was rotated away is a whole object or ends with a
  newline: the model's writers leave no half line there.
- A copy that was cut off does not outlive the file that it is a copy of: alone it
  could as well be a file that was cut off.
- What a pass that was disturbed has looked at is not known. If files change before
  the next whole pass, what they lose is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from learning_pipeline_tests.model.lines import Outcome, complete_length, outcome
from learning_pipeline_tests.model.world import World

BEGINNING_BYTES = 1024


@dataclass(frozen=True)
class Generation:
    """One generation, as one stage knows it.

    Attributes:
        beginning: What it began with at the first look.
        read: Its bytes, as far as they were read.
        size: How long it was at the last look.
    """

    beginning: bytes
    read: bytes = b""
    size: int = 0

    def goes_on_in(self, content: bytes) -> bool:
        """Whether a file with this content belongs to it."""
        return content.startswith(self.read or self.beginning)


@dataclass(frozen=True)
class Stored:
    """What the state database holds of one generation.

    Attributes:
        offset: Up to where it is committed.
        outcome: The rows and dead letters.
    """

    offset: int
    outcome: Outcome


@dataclass(frozen=True)
class Seen:
    """One file as a pass meets it.

    Attributes:
        content: Its bytes.
        is_active: Whether it may be written to.
        is_finished: Whether its last line is to be taken without a newline.
    """

    content: bytes
    is_active: bool
    is_finished: bool


def seen_in(world: World) -> list[Seen]:
    """The files of a partition, oldest first."""
    files = [each for each in world.files() if each[0].content]
    seen = []
    for index, (file, is_active) in enumerate(files):
        is_copied = any(
            other.content.startswith(file.content) for other, _ in files[index + 1 :]
        )
        finished = bool(file.compression) or not (is_active or is_copied)
        seen.append(Seen(file.content, is_active, finished))
    return seen


@dataclass
class Reader:
    """One stage in one partition.

    Attributes:
        generations: By number; by a negative one while nothing was read of them.
        found: Whose files were there at the last whole pass.
        cut_off_bytes: Cut off unread of files that are still there.
        is_exact: Whether all that was lost is known.
    """

    generations: dict[int, Generation] = field(default_factory=dict)
    found: set[int] = field(default_factory=set)
    cut_off_bytes: int = 0
    is_exact: bool = True
    _disturbed_in: Sequence[Seen] | None = None

    @property
    def lost_bytes(self) -> int:
        """What cannot be found any more of what was there and not read."""
        return self.cut_off_bytes + sum(
            max(each.size - len(each.read), 0)
            for number, each in self.generations.items()
            if number not in self.found
        )

    def may_skip(self, files: Sequence[Seen]) -> bool:
        """Whether there is nothing to be read."""
        plan = _Plan(dict(self.generations))
        for file in files:
            plan.take(file)
        return all(
            number in self.generations and each.read == self.generations[number].read
            for number, each in plan.generations.items()
            if each.read
        )

    def whole_pass(
        self, files: Sequence[Seen], stored: Mapping[int, Stored], *, in_order: bool
    ) -> None:
        """Everything was read: what is stored has to be just that.

        Args:
            files: What was there.
            stored: By number of generation.
            in_order: Whether new generations are numbered in order of the files.
        """
        if self._disturbed_in not in (None, files):
            self.is_exact = False
        self._disturbed_in = None
        plan = self._plan(files)
        numbers = self._numbers(plan, stored)
        if in_order:
            assert numbers == sorted(numbers), "read in another order than rotated"
        for number, old in self.generations.items():
            if number in plan.sizes:
                there = max(plan.sizes[number], len(old.read))
                self.cut_off_bytes += max(old.size - there, 0)
        renamed = dict(zip(plan.new, numbers, strict=True))
        self.generations = {
            renamed.get(number, number): replace(
                each, size=plan.sizes.get(number, each.size)
            )
            for number, each in plan.generations.items()
        }
        self.found = {renamed.get(number, number) for number in plan.sizes}
        for number, each in self.generations.items():
            assert number < 0 or len(each.read) == stored[number].offset, (
                f"generation {number}: read to {stored[number].offset}, "
                f"expected {len(each.read)}"
            )
        assert {n for n, each in self.generations.items() if each.read} == {
            n for n, each in stored.items() if each.offset
        }

    def disturbed_pass(
        self,
        files: Sequence[Seen],
        stored: Mapping[int, Stored],
        *,
        before: Sequence[Seen] = (),
    ) -> None:
        """Anything up to everything was read, from the front of each generation.

        Args:
            files: What is there now.
            stored: By number of generation.
            before: What was there when the pass began, if that is something else.
        """
        if self._disturbed_in not in (None, files) or before:
            self.is_exact = False
        self._disturbed_in = files
        contents = list(dict.fromkeys(each.content for each in (*before, *files)))
        for number in stored.keys() & self.generations.keys():
            old, there = self.generations[number], stored[number]
            going_on = [each for each in contents if old.goes_on_in(each)]
            content = _holding([old.read, *going_on], there)
            assert len(old.read) <= there.offset
            self.generations[number] = replace(old, read=content[: there.offset])
        unknown = [content for content in contents if self._is_unknown(content)]
        for number in sorted(stored.keys() - self.generations.keys()):
            there = stored[number]
            if not there.offset:
                continue
            content = _holding(unknown, there)
            unknown = [
                each
                for each in unknown
                if not each.startswith(content) and not content.startswith(each)
            ]
            self.generations[number] = Generation(
                content[:BEGINNING_BYTES], content[: there.offset], len(content)
            )

    def rewound(self, stored: Mapping[int, Stored]) -> None:
        """Somebody has taken rows back."""
        self.is_exact = False
        for number, old in list(self.generations.items()):
            offset = stored[number].offset if number in stored else 0
            if not offset:
                del self.generations[number]
                continue
            assert offset <= len(old.read)
            self.generations[number] = replace(old, read=old.read[:offset])
            assert stored[number].outcome == outcome(old.read[:offset])

    def _is_unknown(self, content: bytes) -> bool:
        return not any(
            each.read and content.startswith(each.read)
            for each in self.generations.values()
        )

    def _plan(self, files: Sequence[Seen]) -> _Plan:
        plan = _Plan(dict(self.generations))
        for file in files:
            plan.take(file)
        return plan

    def _numbers(self, plan: _Plan, stored: Mapping[int, Stored]) -> list[int]:
        """Under which number each new generation is stored."""
        for number, there in stored.items():
            if number in self.generations:
                read = plan.generations[number].read
                assert there.outcome == outcome(read), f"generation {number}"
        free = [number for number in sorted(stored) if number not in self.generations]
        numbers = []
        for key in plan.new:
            read = plan.generations[key].read
            expected = Stored(len(read), outcome(read))
            fitting = [number for number in free if stored[number] == expected]
            assert fitting, f"not read as expected: {expected}"
            free.remove(fitting[0])
            numbers.append(fitting[0])
        assert not [n for n in free if stored[n].offset], "read something twice"
        return numbers


def _holding(contents: Sequence[bytes], there: Stored) -> bytes:
    """The one up to the end of one of whose lines all is stored as it has to be."""
    for content in contents:
        read = content[: there.offset]
        is_line_end = read.endswith(b"\n") or read == content
        if is_line_end and outcome(read) == there.outcome:
            return content
    message = f"{there} is not the beginning of any of {contents}"
    raise AssertionError(message)


@dataclass
class _Plan:
    """A whole pass, file by file.

    Attributes:
        generations: By number; those that are new by negative ones.
        sizes: Of those whose files are there.
    """

    generations: dict[int, Generation]
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def new(self) -> list[int]:
        """The new ones of which something was read, in order."""
        return [
            number
            for number in sorted(self.generations, reverse=True)
            if number < 0 and self.generations[number].read
        ]

    def take(self, file: Seen) -> None:
        """Read on in one file."""
        number = self._owner(file)
        if number is None:
            if not file.is_active and any(
                each.read.startswith(file.content) for each in self.generations.values()
            ):
                return
            number = min([0, *self.generations]) - 1
            self.generations[number] = Generation(file.content[:BEGINNING_BYTES])
        old = self.generations[number]
        length = complete_length(file.content, is_finished=file.is_finished)
        if length > len(old.read):
            self.generations[number] = replace(old, read=file.content[:length])
        size = max(self.sizes.get(number, 0), len(file.content))
        self.sizes[number] = size

    def _owner(self, file: Seen) -> int | None:
        return max(
            (
                number
                for number, each in self.generations.items()
                if each.goes_on_in(file.content)
            ),
            key=lambda number: (len(self.generations[number].read), -number),
            default=None,
        )
