"""Operations that move elements: views, and copies put together from several arrays."""

from __future__ import annotations

import numpy as np

from tests.programs import values
from tests.programs.agreement import Exactly
from tests.programs.operation import NDARRAY, TENSOR, Operation, moved
from tests.programs.reductions import normalized
from tests.programs.rules import Refused, common


def one(program) -> tuple:
    return (program.array(),)


def new_shape(program) -> tuple:
    """A shape of as many elements, often with a -1; seldom of others."""
    a = program.array()
    choices = program.choices
    left, shape = a.size, []
    while left > 1 and len(shape) < 4:
        divisors = [d for d in range(1, left + 1) if left % d == 0]
        shape.append(choices.pick(divisors))
        left //= shape[-1]
    shape.append(left)
    if choices.chance(30):
        shape[choices.integer(0, len(shape) - 1)] = -1
    if choices.chance(3):
        shape = choices.pick(([7], [-1, -1], [-2], ["x"], [1.5, 2]))
    return a, tuple(shape)


def reshaped(a, shape):
    if any(not isinstance(extent, int) or extent < -1 for extent in shape):
        raise Refused(f"shape {shape}")
    return np.reshape(a, shape)


def order(program) -> tuple:
    a = program.array()
    rest, result = list(range(a.ndim)), []
    while rest:
        result.append(rest.pop(program.choices.integer(0, len(rest) - 1)))
    if program.choices.chance(20):
        result = [axis - a.ndim for axis in result]
    if program.choices.chance(4):
        return a, program.choices.pick(((0,), (0, 0), 3, (a.ndim,), "x", 1.5, None))
    return a, tuple(result)


def permuted(a, axes):
    if not isinstance(axes, tuple) or len(normalized(axes, a.ndim)) != a.ndim:
        raise Refused(f"axes {axes}")
    return np.transpose(a, axes)


def two_axes(program) -> tuple:
    a = program.array()
    if program.choices.chance(40):
        return a, None
    return a, (values.axis(program.choices, a.ndim), values.axis(program.choices, a.ndim))


def swapped(a, axes):
    first, second = normalized((-2, -1) if axes is None else axes, a.ndim)
    return np.swapaxes(a, first, second)


def wider_shape(program) -> tuple:
    a = program.array(where=lambda x: x.size <= 12)
    choices = program.choices
    shape = tuple(choices.integer(1, 3) if extent == 1 else extent for extent in a.shape)
    shape = (*(choices.integer(1, 3) for _ in range(choices.integer(0, 2))), *shape)
    if choices.chance(4):
        shape = choices.pick(((5,), (), (-1,), (1.5,), "x", None))
    return a, shape


def broadcast(a, shape):
    if not isinstance(shape, tuple) or any(not isinstance(extent, int) for extent in shape):
        raise Refused(f"shape {shape}")
    return np.broadcast_to(a, shape)


def with_axes(program) -> tuple:
    a = program.array()
    return a, values.axes(program.choices, a.ndim)


def flipped(a, axes):
    axes = normalized(axes, a.ndim)
    return a[(*(slice(None, None, -1 if axis in axes else 1) for axis in range(a.ndim)), Ellipsis)]


def squeezable(program) -> tuple:
    a = program.array(where=lambda x: 1 in x.shape) if program.choices.chance(90) else program.array()
    ones = [axis for axis, extent in enumerate(a.shape) if extent == 1]
    if not ones or program.choices.chance(20):
        return a, values.axis(program.choices, a.ndim)
    axis = program.choices.pick(ones)
    return a, program.choices.pick((axis, (axis,), tuple(ones)))


def squeezed(a, axes):
    return np.squeeze(a, normalized(axes, a.ndim))


def widths(program) -> tuple:
    a = program.array(where=lambda x: x.ndim <= 3)
    choices = program.choices
    pairs = tuple((choices.integer(0, 2), choices.integer(0, 2)) for _ in range(a.ndim))
    if choices.chance(4):
        pairs = choices.pick((((1, 1),) * 5, ((-1, 0),) * a.ndim, 2, (1,), ((1,),) * a.ndim, "x"))
    return a, pairs


def padded(a, pairs):
    right = isinstance(pairs, tuple) and len(pairs) == a.ndim
    if not right or any(not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise Refused(f"pad {pairs}")
    return np.pad(a, pairs) if a.ndim else a.copy()


VIEWS = [
    Operation("{0}.reshape({1})", moved(reshaped), new_shape, "reshape|shape", formula=reshaped, view=True, weight=3),
    Operation("ops.reshape({0}, {1})", moved(reshaped), new_shape, "reshape|shape", (TENSOR,), formula=reshaped),
    Operation("{0}.permute({1})", moved(permuted), order, "permute|axes", formula=permuted, view=True, weight=3),
    Operation("{0}.transpose({1})", moved(swapped), two_axes, "transpose|permute|axis", (TENSOR,), formula=swapped,
              view=True),
    Operation("{0}.T", moved(lambda a: np.swapaxes(a, -2, -1) if a.ndim > 1 else a), one, "T", (TENSOR,), view=True,
              formula=lambda a: np.swapaxes(a, -2, -1) if a.ndim > 1 else a),
    Operation("{0}.T", moved(np.transpose), one, "T", (NDARRAY,), view=True, weight=4),
    Operation("{0}.broadcast_to({1})", moved(broadcast), wider_shape, "broadcast_to|shape", formula=broadcast,
              view=True),
    Operation("ops.flip({0}, {1})", moved(flipped), with_axes, "flip|ax", (TENSOR,), formula=flipped, view=True),
    Operation("{0}.flip({1})", moved(flipped), with_axes, "flip|ax", (NDARRAY,), view=True, weight=3),
    Operation("{0}.squeeze({1})", moved(squeezed), squeezable, "squeeze|ax", (NDARRAY,), view=True),
    Operation("{0}.detach()", moved(lambda a: a), one, "detach", (TENSOR,), view=True),
]  # fmt: skip


# Several arrays


def same_shapes(program) -> tuple:
    first = program.array(where=lambda x: x.ndim <= 3)
    choices = program.choices
    others = [
        program.leaf((*first.shape, 2) if choices.chance(2) else first.shape,
                     dtype=first.dtype if choices.chance(50) else None)
        for _ in range(choices.integer(0, 2))
    ]  # fmt: skip
    return [first, *others], values.axis(choices, first.ndim + 1)


def stacked(arrays, axis):
    dtype = common(*arrays)
    normalized(axis, arrays[0].ndim + 1)
    return np.stack([a.astype(dtype) for a in arrays], axis)


def same_but_for_one_axis(program) -> tuple:
    first = program.array(where=lambda x: x.ndim > 0)
    choices = program.choices
    axis = values.axis(choices, first.ndim)
    others = []
    for _ in range(choices.integer(0, 2)):
        shape = list(first.shape)
        if -first.ndim <= axis < first.ndim:
            shape[axis] = choices.integer(0, 3)
        if choices.chance(2):
            shape[0] += 1
        others.append(program.leaf(tuple(shape), dtype=first.dtype if choices.chance(50) else None))
    return [first, *others], axis


def concatenated(arrays, axis):
    dtype = common(*arrays)
    normalized(axis, arrays[0].ndim)
    return np.concatenate([a.astype(dtype) for a in arrays], axis)


def with_short_axis(program) -> tuple:
    a = program.array()
    return a, values.axis(program.choices, a.ndim)


def parts(a, axis):
    normalized(axis, a.ndim)
    return tuple(np.moveaxis(a, axis, 0))


def taken_apart(a, axis):
    return tuple(map(Exactly, map(np.asarray, parts(a, axis))))


SEVERAL = [
    Operation("ops.pad({0}, {1})", moved(padded), widths, "pad", (TENSOR,), formula=padded),
    Operation("{0}.pad({1})", moved(padded), widths, "pad", (NDARRAY,)),
    Operation("ops.stack({0}, {1})", moved(stacked), same_shapes, "stack", (TENSOR,), formula=stacked),
    Operation("ops.concatenate({0}, {1})", moved(concatenated), same_but_for_one_axis, "concatenate", (TENSOR,),
              formula=concatenated),
    Operation("tuple(ops.split({0}, {1}))", taken_apart, with_short_axis, "split", (TENSOR,), formula=parts),
    Operation("tuple({0})", lambda a: taken_apart(a, 0), one, "len|0-d", formula=lambda a: parts(a, 0)),
]  # fmt: skip
