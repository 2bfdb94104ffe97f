"""Programs: statements of the tables' operations, each run by Needle and by NumPy and compared at once.

After a statement NumPy goes on with what Needle gave, laid out in memory as Needle's array is. So each statement answers
for its own roundings only, and what shares memory in Needle does in NumPy: a change in place is seen by both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from needle import Tensor
from needle.backend_ndarray import Device, NDArray, array
from needle.errors import NeedleError
from tests.programs import values
from tests.programs.agreement import Exactly, Within, difference
from tests.programs.choices import Choices
from tests.programs.lines import NAMES, Leaf, Statement, Variable, in_needle, replaced, sources_of
from tests.programs.operation import TENSOR, Operation
from tests.programs.rules import Refused
from tests.programs.table import OPERATIONS
from tests.programs.values import DTYPES, FLOATING, Foreign

MAX_SIZE, MAX_NDIM = 64, 5  # of operands
_RIGHT_ERRORS = (NeedleError, TypeError, IndexError, ValueError)
_FROM_INSIDE = ("object has no attribute", "unexpected keyword", "object is not iterable", "unhashable")


class Mismatch(AssertionError):
    """A statement that does something else than NumPy's."""

    def __init__(self, kind: str, operation: str, text: str) -> None:
        super().__init__(f"{kind}\n\n{text}")
        self.kind, self.operation, self.text = kind, operation, text


def data_of(x) -> NDArray:
    return x.cached_data if isinstance(x, Tensor) else x


class Program:
    """A program in the making: its variables, and its text so far.

    smooth: whether gradients are wanted, so that numbers and contents are of moderate size.
    """

    def __init__(self, choices: Choices, face: str, device: Device, smooth: bool = False) -> None:
        self.choices, self.face, self.device, self.smooth = choices, face, device, smooth
        self.variables: list[Variable] = []
        self.lines: list[tuple[str, Any, frozenset[int]]] = []  # a name, what it is, and the lines that this needs
        self._memory: dict[int, tuple[Any, np.ndarray]] = {}  # by the id of a buffer: the buffer, and its twin

    # What operations take

    def array(
        self, of: Callable[[np.dtype], bool] | None = None, where: Callable[[np.ndarray], bool] | None = None
    ) -> Variable:
        """A variable of a certain dtype and kind, or a new one."""
        if self.choices.chance(75):
            fitting = [
                v for v in self.variables
                if v.array.size <= MAX_SIZE and v.ndim <= MAX_NDIM
                and (of is None or of(v.dtype)) and (where is None or where(v.array))
            ]  # fmt: skip
            if fitting:
                return fitting[-1 - self.choices.integer(0, len(fitting) - 1)]
        dtypes = [dtype for dtype in DTYPES if of is None or of(dtype)]
        for _ in range(9):
            leaf = self.leaf(values.shape(self.choices), self.choices.pick(dtypes))
            if where is None or where(leaf.array):
                break
        return leaf

    def beside(self, a: Variable, dtype: np.dtype | None = None) -> Any:
        """What may stand on the other side of an operator."""
        form = self.choices.integer(0, 99)
        if form < 35:
            return self.number()
        shape = values.broadcastable(self.choices, a.shape)
        if form < 50:
            return self.leaf(shape, dtype)
        if form < 70:
            fitting = [v for v in self.variables if (dtype is None or v.dtype == dtype) and _broadcast(v, a)]
            return self.choices.pick(fitting) if fitting else self.leaf(shape, dtype)
        if form < 95 or self.smooth:
            return self.foreign(shape)
        return self.choices.pick(values.STRANGERS)

    def number(self) -> Any:
        if self.smooth:
            return self.choices.pick((2.0, 0.5, 3, 1.5, 2, 1, np.float64(0.75), np.float32(1.25), np.int64(2), -1.0))
        return values.number(self.choices)

    def foreign(self, shape: tuple[int, ...]) -> Foreign:
        if self.smooth:
            return Foreign(values.smooth_contents(self.choices, shape))
        return values.foreign_array(self.choices, shape)

    def leaf(self, shape: tuple[int, ...], dtype: np.dtype | None = None) -> Variable:
        if self.smooth:
            return self.given(values.smooth_contents(self.choices, shape))
        dtype = dtype or self.choices.pick((*DTYPES, *FLOATING))
        return self.given(values.contents(self.choices, shape, dtype))

    def floating_leaf(self) -> Variable:
        """A variable that no operation made, to be changed in place."""
        leaves = [v for v in self.variables if isinstance(v.line, Leaf) and v.needle.dtype.kind == "floating"]
        if leaves and self.choices.chance(75):
            return self.choices.pick(leaves)
        return self.leaf(values.shape(self.choices), self.choices.pick(FLOATING))

    def given(self, contents: np.ndarray) -> Variable:
        """A new variable of a NumPy array's shape, dtype and contents."""
        data = array(contents, dtype=NAMES[contents.dtype], device=self.device)
        leaf = Tensor.make_const(data, data.dtype.kind == "floating") if self.face == TENSOR else data
        return self._variable(leaf, Leaf(self.face, contents), frozenset())

    def writable(self, mirror: np.ndarray) -> bool:
        """No element lies where another does."""
        return not any(stride == 0 and extent > 1 for stride, extent in zip(mirror.strides, mirror.shape))

    # Statements

    def step(self) -> None:
        """One more statement. Raises Mismatch."""
        operation = self.choices.pick(OPERATIONS[self.face])
        arguments = operation.arguments(self)
        if operation.text.startswith("ops.") and self.choices.chance(2):  # of nothing that is a Tensor
            stranger = self.choices.pick((1.5, 2, Foreign(np.array([1.5, 2.5])), Foreign([1.5]), *values.STRANGERS))
            self.run(operation, replaced(arguments, lambda variable: stranger), refused=True)
        else:
            self.run(operation, arguments)

    def run(self, operation: Operation, arguments: tuple, refused: bool = False) -> None:
        """A statement; `refused`: whether it has to raise an error, whatever NumPy says."""
        sources = sources_of(arguments)
        try:
            if refused:
                raise Refused("an operation of no Tensor")
            with np.errstate(all="ignore"):
                expected = operation.expected(*self.reference(arguments))
        except (Refused, ValueError, IndexError) as error:
            expected = error
        try:
            met = operation.needle(*in_needle(arguments))
        except Exception as error:
            met = error
        kind = self._judge(operation, arguments, expected, met)
        if kind:
            raise Mismatch(kind, operation.text, self.text(sources, f"{operation.written(arguments)}\n# {kind}"))
        if isinstance(met, Exception):
            return
        if met is None:
            self.lines.append(("", Statement(operation, arguments), sources))
            changed = sources | {len(self.lines) - 1}
            for variable in self.variables:  # a change in place may be seen through any of them
                variable.sources |= changed
            self.check()
        elif isinstance(expected, tuple):
            for i, item in enumerate(met):
                self._variable(item, Statement(operation, arguments, i), sources)
        elif isinstance(expected, (Exactly, Within)) and met.size <= 4 * MAX_SIZE:
            self._variable(met, Statement(operation, arguments), sources)

    def check(self) -> None:
        """That every variable holds what NumPy's does: no statement changed what it should not have."""
        for variable in self.variables:
            wrong = difference(variable.needle.numpy(), Exactly(variable.array))
            if wrong:
                text = self.text(variable.sources, f"{variable}\n# {wrong}")
                raise Mismatch("a variable changed", str(self.lines[-1][1])[:20], text)

    def _judge(self, operation: Operation, arguments: tuple, expected: Any, met: Any) -> str | None:
        """What is wrong with the result; None where nothing is."""
        if isinstance(met, Exception):
            text = f"{type(met).__name__}: {met}"
            if not isinstance(expected, Exception):
                return f"raised {text}"
            if not isinstance(met, _RIGHT_ERRORS) or any(part in text for part in _FROM_INSIDE):
                return f"an error from inside: {text}"
            if not operation.is_named_in(str(met)):
                return f"an error that does not name the operation: {text}"
            return None
        if isinstance(expected, Exception):
            return f"no error: gave {met!r}, expected an error ({expected})"
        if isinstance(expected, tuple):
            if not isinstance(met, tuple) or len(met) != len(expected):
                return f"gave {met!r}, expected {len(expected)} arrays"
            return next(filter(None, (self._judge(operation, arguments, e, m) for e, m in zip(expected, met))), None)
        if not isinstance(expected, (Exactly, Within)):
            same = type(met) is type(expected) and met == expected
            return None if same else f"gave {met!r}, expected {expected!r}"
        if not isinstance(met, (Tensor if self.face == TENSOR else NDArray)):
            return f"gave a {type(met).__name__}"
        wrong = difference(met.numpy(), expected)
        return f"gave {wrong}" if wrong else self._sharing(operation, arguments, expected, met)

    def _sharing(self, operation: Operation, arguments: tuple, expected: Exactly | Within, met: Any) -> str | None:
        """Whether the result shares memory with its operand as NumPy's does."""
        if not operation.view or not expected.values.size:
            return None
        source = arguments[0]
        shares, expected_to = (
            data_of(met).buffer is data_of(source.needle).buffer,
            np.may_share_memory(expected.values, source.array),
        )
        if shares == expected_to:
            return None
        return "gave a view, expected a copy" if shares else "gave a copy, expected a view"

    def _variable(self, needle, line: Leaf | Statement, sources: frozenset[int]) -> Variable:
        name = _name(len(self.variables))
        self.lines.append((f"{name} = ", line, sources))
        variable = Variable(name, line, needle, self._mirror(data_of(needle)), sources | {len(self.lines) - 1})
        self.variables.append(variable)
        return variable

    def _mirror(self, a: NDArray) -> np.ndarray:
        """A NumPy array over memory that is laid out and shared as Needle's is."""
        item = a.dtype.itemsize
        strides = tuple(stride * item for stride in a.strides)
        if id(a.buffer) in self._memory and a.size:
            return np.ndarray(a.shape, a.dtype.numpy, self._memory[id(a.buffer)][1], a.offset * item, strides)
        if not a.size:
            return np.empty(a.shape, a.dtype.numpy)
        reach = [(extent - 1) * stride for extent, stride in zip(a.shape, a.strides)]
        end = a.offset + sum(step for step in reach if step > 0) + 1
        memory = np.zeros(end, a.dtype.numpy)
        mirror = np.ndarray(a.shape, a.dtype.numpy, memory, a.offset * item, strides)
        mirror[...] = a.numpy()
        self._memory[id(a.buffer)] = a.buffer, memory
        return mirror

    def text(self, sources: frozenset[int], last: str) -> str:
        """The lines that the last one needs, and that one."""
        return "\n".join([f"{self.lines[i][0]}{self.lines[i][1]}" for i in sorted(sources)] + [last])

    def reference(self, argument: Any) -> Any:
        return replaced(argument, lambda variable: variable.array)


def _name(number: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[number] if number < 26 else f"x{number}"


def _broadcast(a: Variable, b: Variable) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(a.shape, b.shape), dtype=int)) <= MAX_SIZE
    except ValueError:
        return False


def run_program(choices: Choices, face: str, device: Device, dtype: np.dtype) -> Program:
    """A program of one to ten statements, which begins with an array of that dtype. Raises Mismatch."""
    program = Program(choices, face, device)
    program.leaf(values.shape(choices), dtype)
    for _ in range(choices.integer(1, 10)):
        program.step()
    program.check()
    return program
