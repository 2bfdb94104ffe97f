"""What a call leaves behind: the arrays that it returns, or puts somewhere, as a replay makes them again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

from needle.autograd import Op, Tensor, Value
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.number import Live
from needle.compiler.program import Place
from needle.compiler.recorder import Recorder, own
from needle.compiler.state import PLAIN
from needle.errors import GradientError, JitError, short, user_line


@dataclass(frozen=True)
class Result:
    """A leaf of the returned tree that is a new array: number `index` of the results."""

    index: int
    cls: type[Tensor] | None  # None for an NDArray
    requires_grad: bool
    is_leaf: bool = True


@dataclass(frozen=True)
class Argument:
    """A leaf of the returned tree that is an argument itself."""

    index: int


class Assignment(NamedTuple):
    """What a call puts somewhere, as the attribute of a Tensor or the item of a container."""

    container: Any  # an Argument stands for the Tensor that is the argument
    key: Any
    value: Any  # a leaf as of the returned tree, None for no gradient


def is_one(a: object, b: object) -> bool:
    """Whether two containers, or two keys, are one."""
    return a is b or type(a) is type(b) and isinstance(a, (Argument, *PLAIN)) and a == b


class Results:
    """Collects the arrays that a call leaves behind."""

    def __init__(self, recorder: Recorder, leaves: list[Tensor | NDArray], tensors: Iterable[Tensor]) -> None:
        self.places: list[Place] = []
        self._recorder = recorder
        self._arguments = {id(leaf): index for index, leaf in enumerate(leaves)}
        self._tensors = {id(tensor) for tensor in tensors}
        self._known: dict[int, Result] = {}

    def leaf(self, leaf: object) -> object:
        """How a replay makes a leaf of the returned tree."""
        if isinstance(leaf, (Live, *PLAIN)):
            return own(leaf)
        if id(leaf) in self._arguments:
            return Argument(self._arguments[id(leaf)])
        if id(leaf) in self._tensors:
            return leaf
        if isinstance(leaf, (Tensor, NDArray)):
            if id(leaf) not in self._known:
                self._known[id(leaf)] = self.tensor(leaf) if isinstance(leaf, Tensor) else self.add(leaf)
            return self._known[id(leaf)]
        raise JitError(
            f"{user_line()}: the function returns {short(leaf)}: expected Tensors and plain values, in tuples, lists and dicts"
        )

    def tensor(self, tensor: Tensor) -> Result:
        """Cuts a Tensor from its graph, which no replay builds."""
        if tensor.grad is not None and tensor.op is None:
            raise JitError(
                f"{user_line()}: a Tensor that is made in the function is returned or kept, with a gradient, which a replay "
                "would not give it: expected the gradient itself to be returned"
            )
        is_leaf = tensor.op is None
        if not is_leaf:
            cut(tensor)
        result = self.add(tensor.cached_data)
        return replace(result, cls=type(tensor), requires_grad=tensor.requires_grad, is_leaf=is_leaf)

    def add(self, array: NDArray) -> Result:
        return self.add_place(self._recorder.place_of(array))

    def add_place(self, place: Place) -> Result:
        self.places.append(place)
        return Result(len(self.places) - 1, None, False)


class Replayed(Op):
    """Stands in for the graph of a Tensor that a jitted function returned."""

    def gradient_as_tuple(self, out_grad: Tensor | list[Tensor], node: Value) -> NoReturn:
        raise GradientError(
            "backward: this Tensor is the result of a function of ndl.jit, which keeps no graph: expected backward() "
            "within the function"
        )


_replayed = Replayed()


def cut(tensor: Tensor) -> None:
    """Replaces a Tensor's graph, so that a backward pass says why there is none."""
    tensor.op, tensor.inputs, tensor.read, tensor.saved = _replayed, (), None, ()
