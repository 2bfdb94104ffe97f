"""Reverse-mode automatic differentiation over a graph that is built as the program runs.

A Tensor holds an array and remembers the Op and the inputs that it came from. `backward` walks this graph from the
output to the leaves, visiting every node after all nodes that use it, and passes each node's adjoint (the gradient of
the output with respect to it) on to its inputs:

    adjoint[input] += op.gradient(adjoint[node], node)[input]        (the chain rule)

An Op's gradient is built from Ops, so a gradient can have a graph of its own and be differentiated again. The Ops are in
needle/ops, which also adds the operators and methods of Tensor that call them (ops/tensor_methods.py).
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeAlias, overload

import numpy.typing as npt

from needle.backend_ndarray import Device, DType, NDArray, array, changes
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.elementwise import add_to
from needle.backend_ndarray.ndarray import full
from needle.backend_ndarray.pending_read import PendingRead
from needle.backend_ndarray.shape import Axes
from needle.errors import GradientError, ShapeError, short
from needle.typing import ArrayLike, Index, NumPyArray

# The other names are for the package itself.
__all__ = [
    "Op",
    "Parameter",
    "Tensor",
    "TensorTuple",
    "Value",
    "find_topo_sort",
    "gradients",
    "is_recording",
    "no_grad",
]

Data: TypeAlias = NDArray | tuple[NDArray, ...]  # of a Tensor or a TensorTuple
Adjoint: TypeAlias = "Tensor | _PartialTuple"  # of a Tensor or a TensorTuple
_Casts: TypeAlias = "Callable[[Op, tuple[Tensor, ...]], tuple[Tensor, ...]]"


class _Mode(threading.local):
    """The settings with which this thread computes."""

    recording = True
    autocast: _Casts | None = None  # casts the inputs of an Op


_mode = _Mode()
_new = object.__new__


def is_recording() -> bool:
    """Whether operations are recorded for a backward pass."""
    return _mode.recording


def autocasting() -> _Casts | None:
    """The function that casts the inputs of operations (see needle/amp/precision.py), or None."""
    return _mode.autocast


@contextlib.contextmanager
def computing(**settings: bool | _Casts | None) -> Iterator[None]:
    """A context manager (or decorator) that gives this thread's _Mode these settings."""
    before = {name: getattr(_mode, name) for name in settings}
    vars(_mode).update(settings)
    try:
        yield
    finally:
        vars(_mode).update(before)


def no_grad() -> contextlib.AbstractContextManager[None]:
    """A context manager (or decorator) that turns off recording: no backward pass, and no memory kept for one."""
    return computing(recording=False)


class Op:
    """A differentiable operation. An instance holds the operation's settings, such as axes.

    An Op without settings needs only one instance, which its module makes: `_exp = Exp()`. An Op that computes by one
    array function names it: `compute = staticmethod(array_api.exp)`.
    """

    # A subclass names its own parameters. A type checker allows that where the base class takes Any.

    def compute(self, *arrays: Any) -> NDArray | tuple[Any, ...]:
        """Computes the result from arrays."""
        raise NotImplementedError

    def gradient(self, out_grad: Any, node: Any) -> Adjoint | None | tuple[Adjoint | None, ...]:
        """Computes, with Ops, the adjoints of node.inputs from that of `node`; None for an input without a gradient."""
        raise NotImplementedError

    def gradient_as_tuple(self, out_grad: Tensor | list[Tensor], node: Value) -> tuple[Adjoint | None, ...]:
        """`gradient`, always as a tuple with one entry per input."""
        grads = self.gradient(out_grad, node)
        return grads if isinstance(grads, tuple) else (grads,)

    def __call__(self, *inputs: Tensor) -> Tensor:
        try:
            if _mode.autocast is not None:
                inputs = _mode.autocast(self, inputs)
            arrays = []
            requires_grad = False
            for value in inputs:
                arrays.append(value.cached_data)
                if value.requires_grad:
                    requires_grad = True
            data: Any = self.compute(*arrays)
        except AttributeError:
            require_tensors(type(self).__name__, *inputs)
            raise
        saved = ()
        if self.saves:
            data, saved = data
        node: Any = _new(TensorTuple if type(data) is tuple else Tensor)
        node.cached_data = data
        node.grad = None
        node.saved = saved
        if requires_grad and self.differentiable and _mode.recording:
            node.requires_grad = True
            node.op = self
            node.inputs = inputs
            node.read = (changes.count, arrays, data)
        else:
            node.requires_grad = False
            node.op = node.read = None
            node.inputs = ()
        return node  # type: ignore[no-any-return]  # an Op of several results declares a TensorTuple

    differentiable = True  # False for comparisons and the like
    saves = False  # True if `compute` returns a pair: the result, and arrays for the gradient, kept as node.saved
    is_shared = False  # True if its results may be part of several graphs, so that a backward pass must not free it


def require_tensors(op: str, *values: object) -> None:
    """Raises TypeError if any of `values` is not a Tensor; the message names the op and the first such operand."""
    for index, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}: operand {index} of type {type(value).__name__}: expected a Tensor")


class Value:
    """A node of the graph: the result of an Op, or a leaf."""

    __slots__ = ("op", "inputs", "read", "saved", "cached_data", "requires_grad", "grad", "__weakref__")

    op: Op | None
    inputs: tuple[Tensor, ...]  # of a TupleGetItem, a TensorTuple
    read: tuple[int, list[NDArray], Data] | None  # when `op` ran: changes.count, the inputs' arrays, the result's
    saved: tuple[NDArray, ...]  # what `op` keeps for its gradient besides the inputs and the result
    requires_grad: bool
    cached_data: Data
    grad: Tensor | None

    def realize_cached_data(self) -> Data:
        """The NDArray (or tuple of them) that the node holds."""
        return self.cached_data

    def is_leaf(self) -> bool:
        """Whether the graph records no Op for this value."""
        return self.op is None

    def __copy__(self) -> Value:
        """A new node that shares the array (as in PyTorch), the gradient and the graph."""
        reduced: Any = super().__reduce_ex__(2)
        make, arguments, state = reduced[:3]
        return _with_state(make(*arguments), state)

    def __deepcopy__(self, memo: dict[int, object]) -> Value:
        """A leaf with copies of the array and the gradient.

        Raises GradientError for the result of an Op, as PyTorch does: the copy would have no graph.
        """
        if not self.is_leaf():
            raise GradientError("deepcopy: met the result of an operation: expected a leaf, see detach()")
        make, arguments, state = self.__reduce_ex__(2)
        memo[id(self)] = out = make(*arguments)
        return _with_state(out, copy.deepcopy(state, memo))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """For pickle: a leaf with the array and the gradient, without any graph."""
        reduced: Any = super().__reduce_ex__(2)
        make, arguments, (attributes, slots) = reduced[:3]
        grad = self.grad if self.grad is None or self.grad.is_leaf() else self.grad.detach()
        return (
            make,
            arguments,
            (attributes, slots | {"op": None, "inputs": (), "read": None, "saved": (), "grad": grad}),
        )


def _with_state(value: Value, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> Value:
    """Sets the attributes (of a subclass) and the slots of a new `value`, and returns it."""
    attributes, slots = state
    for name, entry in {**(attributes or {}), **slots}.items():
        setattr(value, name, entry)
    return value


class Tensor(Value):
    """An array that takes part in automatic differentiation."""

    __slots__ = ()

    cached_data: NDArray
    __array_priority__ = 2000

    def __init__(
        self,
        data: ArrayLike,
        *,
        device: Device | None = None,
        dtype: str | DType | None = None,
        requires_grad: bool = True,
    ) -> None:
        """A copy of `data` (a number, nested lists, a NumPy array, an NDArray or a Tensor, of any device) as a leaf.

        Floats become float32 unless `dtype` says otherwise.
        """
        if isinstance(data, Tensor):
            data = data.cached_data
        self._init_leaf(array(data, dtype, device, "Tensor"), flag("Tensor", "requires_grad", requires_grad))

    def _init_leaf(self, data: NDArray, requires_grad: bool) -> None:
        self.op, self.inputs, self.read, self.saved, self.grad = None, (), None, (), None
        self.cached_data, self.requires_grad = data, requires_grad

    @staticmethod
    def make_const(data: NDArray, requires_grad: bool = False) -> Tensor:
        """A leaf that shares `data`."""
        tensor = Tensor.__new__(Tensor)
        tensor._init_leaf(data, requires_grad)
        return tensor

    # Facts

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cached_data.shape

    @property
    def dtype(self) -> DType:
        return self.cached_data.dtype

    @property
    def device(self) -> Device:
        return self.cached_data.device

    @property
    def ndim(self) -> int:
        return len(self.cached_data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.cached_data.size

    def __len__(self) -> int:
        return len(self.cached_data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"needle.Tensor({self.cached_data.host_values()}, dtype={self.dtype}, device={self.device})"

    def __str__(self) -> str:
        return str(self.cached_data.host_values())

    def __format__(self, spec: str) -> str:
        return format(self.cached_data, spec)

    # Values

    def detach(self) -> Tensor:
        """A leaf over the same array that takes no part in differentiation."""
        return Tensor.make_const(self.cached_data)

    @property
    def data(self) -> Tensor:
        """`detach()`. Assigning a Tensor of the same size and dtype makes this Tensor use that one's array."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        require_tensors("data", value)
        if value.size != self.size or value.dtype is not self.dtype:
            raise ShapeError(
                f"data: shape {value.shape} and dtype {value.dtype}: expected {self.shape} and {self.dtype}"
            )
        array = value.cached_data.reshape(self.shape)
        self.cached_data = array.copy() if array.overlaps_itself() else array

    def numpy(self) -> NumPyArray:
        """A copy as a NumPy array."""
        return self.cached_data.numpy()

    def item(self) -> bool | int | float:
        """The one element, as a Python number."""
        return self.cached_data.item()

    def begin_read(self) -> PendingRead:
        """Starts reading the one element without waiting for the device, see NDArray.begin_read."""
        return self.cached_data.begin_read()

    def __contains__(self, value: ArrayLike) -> bool:
        return value in self.cached_data

    def __bool__(self) -> bool:
        return bool(self.cached_data)

    def __float__(self) -> float:
        return float(self.cached_data)

    def __int__(self) -> int:
        return int(self.cached_data)

    def __index__(self) -> int:
        return self.cached_data.__index__()

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> NumPyArray:
        return self.cached_data.__array__(dtype, copy)

    # The backward pass

    def backward(self, out_grad: Tensor | None = None, *, create_graph: bool | None = None) -> None:
        """Sets `grad` of every leaf that requires one and that this tensor depends on; frees or keeps the graph.

        Without `create_graph`, it is freed if one of those leaves is a Parameter, as in a training step, and kept if
        none is, so that gradients of plain Tensors have gradients. `create_graph` decides, if given:

        False: the graph is freed. Each node drops its inputs as soon as the sweep has passed it, so memory shrinks on
        the way. A second backward pass over it raises GradientError.
        True: the graph is kept. The pass is itself recorded, so that `x.grad.backward()` differentiates a gradient, and
        every node on the way gets its `grad`, not only the leaves.

        `out_grad` is the adjoint of this tensor, by default ones. An old `grad` is replaced, not added to.

        Raises GradientError if nothing requires a gradient, or if an earlier backward pass freed the graph.
        """
        if not self.requires_grad:
            raise GradientError("backward: this tensor does not depend on one that requires a gradient")
        if out_grad is None:
            out_grad = constant_like(self.cached_data, 1)
        else:
            _check_out_grad("backward", out_grad, self)
        order = find_topo_sort([self])
        if create_graph is not None:
            create_graph = flag("backward", "create_graph", create_graph)
        else:
            create_graph = not any(isinstance(node, Parameter) for node in order)
        taken = {id(out_grad.cached_data.buffer)}
        adjoints: dict[int, Tensor] = {}
        with computing(recording=create_graph, autocast=None):  # in the dtypes that the forward pass chose
            _accumulate(adjoints, set(), self, out_grad)
            for node, adjoint in _sweep(order, adjoints, keep_graph=create_graph):
                if node.op is None:
                    node.grad = in_own_memory(adjoint, taken)
                elif create_graph and isinstance(node, Tensor):
                    node.grad = adjoint

    def to(self, device: Device) -> Tensor:
        """This tensor if it is on that device, else a copy there (a leaf that requires a gradient if this one does)."""
        if device is self.device:
            return self
        return Tensor.make_const(self.cached_data.to(device), self.requires_grad)

    __hash__ = object.__hash__  # by identity, though `==` compares element by element

    if TYPE_CHECKING:  # ops/tensor_methods.py adds these

        def __add__(self, other: ArrayLike) -> Tensor: ...
        def __radd__(self, other: ArrayLike) -> Tensor: ...
        def __iadd__(self, other: ArrayLike) -> Tensor: ...
        def __sub__(self, other: ArrayLike) -> Tensor: ...
        def __rsub__(self, other: ArrayLike) -> Tensor: ...
        def __isub__(self, other: ArrayLike) -> Tensor: ...
        def __mul__(self, other: ArrayLike) -> Tensor: ...
        def __rmul__(self, other: ArrayLike) -> Tensor: ...
        def __imul__(self, other: ArrayLike) -> Tensor: ...
        def __truediv__(self, other: ArrayLike) -> Tensor: ...
        def __rtruediv__(self, other: ArrayLike) -> Tensor: ...
        def __itruediv__(self, other: ArrayLike) -> Tensor: ...
        def __pow__(self, other: ArrayLike) -> Tensor: ...
        def __rpow__(self, other: ArrayLike) -> Tensor: ...
        def __ipow__(self, other: ArrayLike) -> Tensor: ...
        def __matmul__(self, other: ArrayLike) -> Tensor: ...
        def __rmatmul__(self, other: ArrayLike) -> Tensor: ...
        def __imatmul__(self, other: ArrayLike) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: ArrayLike) -> Tensor: ...
        def __le__(self, other: ArrayLike) -> Tensor: ...
        def __gt__(self, other: ArrayLike) -> Tensor: ...
        def __ge__(self, other: ArrayLike) -> Tensor: ...
        def __getitem__(self, index: Index) -> Tensor: ...
        def astype(self, dtype: str | DType) -> Tensor: ...
        def sum(self, axes: Axes = None) -> Tensor: ...
        def mean(self, axes: Axes = None) -> Tensor: ...
        def max(self, axes: Axes = None) -> Tensor: ...
        def argmax(self, axis: int | None = None) -> Tensor: ...
        def reshape(self, *shape: int | Sequence[int]) -> Tensor: ...
        def broadcast_to(self, shape: Sequence[int]) -> Tensor: ...
        def transpose(self, axes: tuple[int, int] | None = None) -> Tensor: ...
        def permute(self, axes: Sequence[int]) -> Tensor: ...
        def matmul(self, other: ArrayLike) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...


class Parameter(Tensor):
    """A Tensor that a module learns: `parameters()` finds it, and by default a backward pass to it frees the graph."""

    __slots__ = ()


class TensorTuple(Value):
    """The results of an Op that has several; unpacks into Tensors."""

    __slots__ = ()

    cached_data: tuple[NDArray, ...]

    def __len__(self) -> int:
        return len(self.cached_data)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, index: int | slice) -> Tensor | tuple[Tensor, ...]:
        try:
            chosen = range(len(self))[index]
        except (IndexError, TypeError, ValueError):
            met = f"TensorTuple: index {short(index)}"
            raise IndexError(f"{met}: expected a whole number of {-len(self)} to {len(self) - 1}") from None
        if isinstance(chosen, range):
            return tuple(self[i] for i in chosen)
        return TupleGetItem(chosen)(self)  # type: ignore[arg-type]  # the one Op of a TensorTuple

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self.cached_data)):
            yield TupleGetItem(i)(self)  # type: ignore[arg-type]  # as above

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        make, arguments, (attributes, slots) = super().__reduce_ex__(protocol)
        return make, arguments, (attributes, slots | {"requires_grad": False})  # such a leaf never takes a gradient

    def __repr__(self) -> str:
        return f"needle.TensorTuple{tuple(self)}"


class TupleGetItem(Op):
    """One Tensor of a TensorTuple."""

    def __init__(self, index: int) -> None:
        self.index = index

    def compute(self, arrays: tuple[NDArray, ...]) -> NDArray:
        return arrays[self.index]

    def gradient(self, out_grad: Tensor, node: Tensor) -> _PartialTuple:
        return _PartialTuple({self.index: out_grad})


class _PartialTuple(dict[int, "Tensor"]):
    """The adjoint of a TensorTuple: the adjoints of the entries that have one, by index."""

    def complete(self, node: Value) -> list[Tensor]:
        """Returns the adjoints of all entries, with zeros for those that nothing depends on."""
        entries = enumerate(node.cached_data)
        return [self[i] if i in self else constant_like(entry, 0) for i, entry in entries]


class _Freed(Op):
    """Replaces the Op of a node whose inputs a backward pass has freed."""

    def gradient_as_tuple(self, out_grad: Tensor | list[Tensor], node: Value) -> NoReturn:
        raise GradientError(
            "backward: an earlier backward pass freed this graph: expected create_graph=True in that pass, to keep it"
        )


_freed = _Freed()


def find_topo_sort(outputs: Sequence[Value], stop_at: frozenset[int] = frozenset()) -> list[Value]:
    """The nodes that the outputs depend on and that require a gradient, inputs before users (depth-first post-order).

    The search does not go past nodes whose id is in `stop_at`. It is a loop, not a recursion, as graphs can be
    thousands of nodes deep.
    """
    order: list[Value] = []
    visited: set[int] = set()
    done: set[int] = set()
    stack: list[Value] = [*reversed(outputs)]
    while stack:
        node = stack[-1]
        key = id(node)
        if key in visited:  # and so, by now, is all above it: its inputs
            stack.pop()
            if key not in done:
                done.add(key)
                order.append(node)
            continue
        visited.add(key)
        if key not in stop_at:
            for value in reversed(node.inputs):
                if value.requires_grad and id(value) not in visited:
                    stack.append(value)
    return order


def _sweep(
    order: list[Value], adjoints: dict[int, Any], keep_graph: bool, stop_at: frozenset[int] = frozenset()
) -> Iterator[tuple[Value, Any]]:
    """Yields every node of a topological order with its adjoint, from the outputs to the leaves.

    `adjoints` holds the adjoints of the outputs, by node id. Both arguments are emptied.
    """
    owned: set[int] = set()  # ids of nodes whose adjoint is a sum made here, safe to add to in place
    while order:
        node = order.pop()
        adjoint = adjoints.pop(id(node), None)
        if adjoint is None:  # only reached through inputs that have no gradient
            continue
        yield node, adjoint
        if node.op is None or id(node) in stop_at:
            continue
        if isinstance(adjoint, _PartialTuple):
            adjoint = adjoint.complete(node)
        for value, partial in zip(node.inputs, _gradient(node, adjoint)):
            if partial is not None and value.requires_grad:
                _accumulate(adjoints, owned, value, partial)
        if not keep_graph and not node.op.is_shared:
            node.op, node.inputs, node.read, node.saved = _freed, (), None, ()


class _Changed(Tensor):
    """Stands in for a tensor whose array changed after the forward pass: it has a shape, but reading it raises."""

    __slots__ = ("role", "array")

    def __init__(self, value: Value, role: str, array: Data) -> None:
        self.op, self.inputs, self.grad, self.requires_grad = value.op, value.inputs, None, value.requires_grad
        self.role, self.array = role, array

    @property
    def cached_data(self) -> NDArray:  # type: ignore[override]  # it is only for reading, which raises
        array = self.array[0] if isinstance(self.array, tuple) else self.array
        raise GradientError(
            f"backward: {self.role}, of shape {array.shape}, has been changed in place since the forward pass, and the "
            "gradient needs it as it was: expected backward() before an optimizer's step, an assignment and the like"
        )

    # Saved arrays share the result's memory, or are treated as if they did.
    saved = cached_data  # type: ignore[assignment]

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    device = property(lambda self: self.array.device)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)


def _gradient(node: Value, adjoint: Tensor | list[Tensor]) -> tuple[Adjoint | None, ...]:
    """The adjoints of node.inputs. Raises GradientError if they depend on an array changed since the forward pass."""
    op: Op = node.op  # type: ignore[assignment]  # a leaf has no inputs
    if node.read is None or not _has_any_changed(node, *node.read):
        return op.gradient_as_tuple(adjoint, node)
    count, arrays, result = node.read
    name, inputs, as_seen = type(op).__name__, node.inputs, node
    if _has_changed(node, result, count):
        as_seen = _Changed(node, f"the result of {name}", result)
    as_seen.inputs = tuple(
        _Changed(value, f"operand {index} of {name}", array) if _has_changed(value, array, count) else value
        for index, (value, array) in enumerate(zip(inputs, arrays))
    )
    try:
        return op.gradient_as_tuple(adjoint, as_seen)
    finally:
        node.inputs = inputs  # so that a graph recorded meanwhile leads to the real ones


def _has_any_changed(node: Value, count: int, arrays: list[NDArray], result: Data) -> bool:
    """Whether the result or an input of a node is no longer what it was when its Op ran."""
    if node.cached_data is not result:
        return True
    for value, read in zip(node.inputs, arrays):
        if value.cached_data is not read:
            return True
    if count == changes.count:
        return False
    return _changed_since(result, count) or any([_changed_since(read, count) for read in arrays])


def _has_changed(value: Value, array: Data, count: int) -> bool:
    """Whether `value` no longer holds `array`, or `array` has changed since changes.count was `count`."""
    return value.cached_data is not array or _changed_since(array, count)


def _changed_since(array: Data, count: int) -> bool:
    if isinstance(array, tuple):
        return any([changes.changed_since(part, count) for part in array])
    return changes.changed_since(array, count)


def _accumulate(adjoints: dict[int, Any], owned: set[int], value: Tensor, partial: Adjoint) -> None:
    """Adds `partial` to the adjoint of `value`, which keeps the value's dtype even if an operation promoted it."""
    key = id(value)
    if isinstance(partial, _PartialTuple):
        entries = adjoints.setdefault(key, partial)
        if entries is not partial:
            for index, entry in partial.items():
                entries[index] = entries[index] + entry if index in entries else entry
        return
    dtype = value.cached_data.dtype
    if partial.cached_data.dtype is not dtype and dtype.kind == "floating":
        partial = partial.astype(dtype)
    total = adjoints.get(key)
    if total is None:
        adjoints[key] = partial
    elif key in owned and total.dtype is partial.dtype:
        add_to(total.cached_data, partial.cached_data)
    else:
        adjoints[key] = total + partial
        if not is_recording():
            owned.add(key)


def in_own_memory(grad: Tensor, taken: set[int]) -> Tensor:
    """Returns the gradient of a leaf in memory of its own, so that an optimizer may change it in place.

    The gradient of a sum, for example, is one array for both operands. `taken` holds the ids of the buffers in use. A
    gradient that has a graph is returned unchanged.
    """
    data = grad.cached_data
    if grad.op is None and (data.overlaps_itself() or id(data.buffer) in taken):
        grad = Tensor.make_const(data.copy())
    taken.add(id(grad.cached_data.buffer))
    return grad


def gradients(
    output: Tensor | tuple[Tensor, ...], inputs: Sequence[Tensor], out_grad: Tensor | Sequence[Tensor] | None = None
) -> list[Tensor | None]:
    """Returns d output / d input for each of `inputs`, None if there is no dependence; changes no `grad`.

    `out_grad` is the adjoint of the output, by default ones. For several outputs, each with an adjoint, the result is
    the sum over the outputs. The results have a graph of their own if operations are being recorded.
    """
    outputs: tuple[Tensor, ...]
    out_grads: Any
    outputs, out_grads = (output, out_grad) if isinstance(output, tuple) else ((output,), (out_grad,))
    out_grads = [None] * len(outputs) if out_grads is None else out_grads
    _check_gradients(outputs, inputs, out_grads)
    adjoints: dict[int, Tensor] = {}
    with computing(autocast=None):
        for value, adjoint in zip(outputs, out_grads):
            if value.requires_grad:
                adjoint = constant_like(value.cached_data, 1) if adjoint is None else adjoint
                _accumulate(adjoints, set(), value, adjoint)
        stop_at = frozenset(map(id, inputs))
        order = find_topo_sort([value for value in outputs if value.requires_grad], stop_at)
        found = {id(node): adjoint for node, adjoint in _sweep(order, adjoints, True, stop_at)}
    return [found.get(id(value)) for value in inputs]


def _check_gradients(outputs: Any, inputs: Any, out_grads: Any) -> None:
    """Raises TypeError or ShapeError for invalid arguments of `gradients`."""
    for name, values in (("output", outputs), ("inputs", inputs), ("out_grad", out_grads)):
        values_are = isinstance(values, (tuple, list)) and [
            isinstance(value, Tensor) or name == "out_grad" and value is None for value in values
        ]
        if values_are is False or not all(values_are):
            raise TypeError(f"gradients: {name} {short(values)}: expected Tensors, in a tuple or list")
    if len(out_grads) != len(outputs):
        raise ShapeError(f"gradients: {len(out_grads)} adjoints of {len(outputs)} outputs: expected one for each")
    for value, adjoint in zip(outputs, out_grads):
        if adjoint is not None:
            _check_out_grad("gradients", adjoint, value)


def _check_out_grad(op: str, out_grad: object, value: Tensor) -> None:
    """Raises TypeError, ShapeError or DeviceError unless `out_grad` can be the adjoint of `value`."""
    if not isinstance(out_grad, Tensor):
        raise TypeError(f"{op}: out_grad of type {type(out_grad).__name__}: expected a Tensor")
    if out_grad.shape != value.shape:
        raise ShapeError(f"{op}: out_grad of shape {out_grad.shape}: expected {value.shape}")
    same_device(op, value.cached_data, out_grad.cached_data)


def constant_like(array: NDArray, number: float) -> Tensor:
    """A leaf without gradient that holds one number, with the shape, dtype and device of `array`."""
    return Tensor.make_const(full(array.shape, number, array.dtype, array.device))
