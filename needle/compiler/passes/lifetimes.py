"""How much memory a program needs when calls run later than they did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from needle.compiler.program import Program


class Lifetimes:
    """From which call to which each memory that is no input is in use, and how many bytes these are together."""

    def __init__(self, program: Program) -> None:
        self._uses: defaultdict[int, list[int]] = defaultdict(list)  # by memory: the calls that name it, in order
        self._memories = [call.reads() | call.writes() for call in program.calls]
        for call, memories in enumerate(self._memories):
            for memory in memories:
                if program.memories[memory].input is None:
                    self._uses[memory].append(call)
        self._nbytes = {memory: program.memories[memory].nbytes for memory in self._uses}
        self._kept = {memory for memory in self._uses if program.memories[memory].is_kept}
        self._runs_at = list(range(len(program.calls)))  # of each call: the place at which it runs now
        self._spans: dict[int, range] = {}
        self._held = [0] * len(program.calls)  # bytes in use at each place
        for memory, uses in self._uses.items():
            self._set_span(memory, range(uses[0], self._end(memory, uses[-1])))
        self._most = max(self._held, default=0)

    def is_inside(self, memory: int, calls: Collection[int]) -> bool:
        """Whether only these calls use a memory."""
        return memory in self._uses and memory not in self._kept and all(call in calls for call in self._uses[memory])

    def join(self, calls: Collection[int]) -> bool:
        """Lets calls run as one where the last of them was, without the memories that only they use.

        Returns whether it did: not if the program needed more memory then than it did at first.
        """
        place = max(calls)
        memories = self._uses.keys() & set[int]().union(*(self._memories[call] for call in calls))
        old_spans = {memory: self._spans[memory] for memory in memories}
        old_places = {call: self._runs_at[call] for call in calls}
        for call in calls:
            self._runs_at[call] = place
        for memory in memories:
            places = [self._runs_at[call] for call in self._uses[memory]]
            inside = self.is_inside(memory, calls)
            self._set_span(memory, range(0) if inside else range(min(places), self._end(memory, max(places))))
        if all(self._held[i] <= self._most for memory in memories for i in self._new_part(memory, old_spans[memory])):
            return True
        for call, old_place in old_places.items():
            self._runs_at[call] = old_place
        for memory, span in old_spans.items():
            self._set_span(memory, span)
        return False

    def _end(self, memory: int, last: int) -> int:
        return len(self._held) if memory in self._kept else last + 1

    def _new_part(self, memory: int, old: range) -> range:
        """Where a memory is in use now, and was not before: calls only move to later places."""
        new = self._spans[memory]
        return range(max(new.start, old.stop), new.stop)

    def _set_span(self, memory: int, span: range) -> None:
        nbytes = self._nbytes[memory]
        for place in self._spans.get(memory, ()):
            self._held[place] -= nbytes
        for place in span:
            self._held[place] += nbytes
        self._spans[memory] = span
