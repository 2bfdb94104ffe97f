"""The peak of memory while a pass moves calls and merges memories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

import numpy as np

from needle.compiler.program import Program


class Lifetimes:
    """From which call to which each memory that is no input is in use, and how many bytes these are together."""

    def __init__(self, program: Program) -> None:
        self._uses: defaultdict[int, list[int]] = defaultdict(list)  # by memory: the calls that name it, in order
        for index, call in enumerate(program.calls):
            for memory in call.reads() | call.writes():
                if program.memories[memory].input is None:
                    self._uses[memory].append(index)
        self._nbytes = {memory: program.memories[memory].nbytes for memory in self._uses}
        self._kept = {memory for memory in self._uses if program.memories[memory].is_kept}
        self._runs_at = list(range(len(program.calls)))  # of each call: the place at which it runs now
        self._spans: dict[int, slice] = {}  # from the first place to the last; slice(0) of a memory that is gone
        self._held = np.zeros(len(program.calls), np.int64)  # bytes in use at each place
        for memory, uses in self._uses.items():
            self._set_span(memory, slice(uses[0], self._end(memory, uses[-1])))
        self._most = self._held.max(initial=0)

    def uses(self, memory: int) -> list[int]:
        """The calls that name a memory, if it is no input, in the order that they had."""
        return self._uses.get(memory, [])

    def is_inside(self, memory: int, calls: Set[int]) -> bool:
        """Whether only these calls use a memory."""
        return memory in self._uses and memory not in self._kept and calls >= set(self._uses[memory])

    def join(self, calls: Set[int], memories: Set[int], place: int) -> bool:
        """Lets calls, which use these memories, run as one at the place of one of them, without those only they use.

        Returns whether it did: not if the program needed more memory then than it did at first.
        """
        old_places = {call: self._runs_at[call] for call in calls}
        for call in calls:
            self._runs_at[call] = place
        old_spans = {}
        for memory in memories & self._uses.keys():
            if self.is_inside(memory, calls):
                span = slice(0)
            else:
                places = [self._runs_at[call] for call in self._uses[memory]]
                span = slice(min(places), self._end(memory, max(places)))
            if span != self._spans[memory]:
                old_spans[memory] = self._spans[memory]
                self._set_span(memory, span)
        if self._held.max() <= self._most:
            return True
        for call, old_place in old_places.items():
            self._runs_at[call] = old_place
        for memory, span in old_spans.items():
            self._set_span(memory, span)
        return False

    def merge(self, into: dict[int, int]) -> bool:
        """Lets what is in some memories be in others. Returns whether it did: not if that needed more memory."""
        old_spans = {memory: self._spans[memory] for memory in [*into, *into.values()]}
        for memory, other in into.items():
            span, longer = self._spans[memory], self._spans[other]
            self._set_span(memory, slice(0))
            self._set_span(other, slice(min(span.start, longer.start), max(span.stop, longer.stop)))
        if self._held.max() <= self._most:
            for memory, other in into.items():
                self._uses[other] = sorted(self._uses[other] + self._uses.pop(memory))
            return True
        for memory, span in old_spans.items():
            self._set_span(memory, span)
        return False

    def _end(self, memory: int, last: int) -> int:
        return len(self._held) if memory in self._kept else last + 1

    def _set_span(self, memory: int, span: slice) -> None:
        if memory in self._spans:
            self._held[self._spans[memory]] -= self._nbytes[memory]
        self._held[span] += self._nbytes[memory]
        self._spans[memory] = span
