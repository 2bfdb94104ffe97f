"""What a replay leaves behind: Tensors over its arrays, put where they go, in the tree that the function returns.

How to make them is found when the program is compiled, so that a replay only does it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.number import Live
from needle.compiler.results import Argument, Assignment, Result, cut
from needle.compiler.state import put
from needle.compiler.tree import leaves_of, prepared

Make = Callable[[list[Any]], Any]


class Outcome:
    """What each run does after its kernels: it makes the `values`, of which it then needs some for `assign` and `tree`."""

    def __init__(self, tree: Any, assignments: list[Assignment]) -> None:
        leaves = [leaf for part in [*(a.value for a in assignments), tree] for leaf in leaves_of(part)]
        results = {leaf.index: leaf for leaf in leaves if isinstance(leaf, Result)}
        position = {index: number for number, index in enumerate(results)}

        def of_leaf(leaf: Any) -> Make:
            if isinstance(leaf, Result):
                return operator.itemgetter(position[leaf.index])
            if isinstance(leaf, Argument):
                return operator.itemgetter(len(results) + leaf.index)
            if isinstance(leaf, Live):
                return lambda _: leaf.value
            return lambda _: leaf

        self._makers = [_maker(result) for result in results.values()]
        self._assignments = [
            (of_leaf(container), key, prepared(value, of_leaf)) for container, key, value in assignments
        ]
        self.tree = prepared(tree, of_leaf)  # tree(values) is what the function returns

    def values(self, arrays: list[NDArray], leaves: list[Tensor | NDArray]) -> list[Tensor | NDArray]:
        """The new Tensors and arrays, and after them the arguments."""
        return [make(arrays) for make in self._makers] + leaves

    def assign(self, values: list[Tensor | NDArray]) -> None:
        """Puts values where the function does."""
        for container, key, value in self._assignments:
            put(container(values), key, value(values))


def _maker(result: Result) -> Make:
    """What makes a result from the arrays of a run."""
    index, cls, requires_grad = result.index, result.cls, result.requires_grad
    if cls is None:
        return operator.itemgetter(index)
    had_graph = requires_grad and not result.is_leaf

    def make(arrays: list[NDArray]) -> Tensor:
        tensor = cls.__new__(cls)
        tensor._init_leaf(arrays[index], requires_grad)
        if had_graph:
            cut(tensor)
        return tensor

    return make
