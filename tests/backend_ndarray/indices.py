"""Any index, for hypothesis: what NumPy takes, near misses, and nonsense."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

SHAPES = st.one_of(st.just(()), array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
_DTYPES = st.sampled_from(["int8", "uint8", "int16", "int32", "int64"])
_NONSENSE = st.sampled_from(
    [1.5, np.float32(1), "x", "", np.array([0.0]), np.array([np.nan]), np.array([]), 1j, {}, [1.0], ["a"], [None], [{}],
     b"x", np.array(0.0), object(), 2**70, [2**70], np.array([0], object)]
)  # fmt: skip


def _bound(extent: int):
    return st.one_of(st.none(), st.integers(-extent - 2, extent + 2))


@st.composite
def _slices(draw, extent: int) -> slice:
    bounds = [draw(_bound(extent)), draw(_bound(extent)), draw(st.sampled_from([None, None, 1, 2, 3, -1, -2]))]
    if draw(st.integers(0, 7)) == 0:
        bounds = [None if x is None else np.int64(x) for x in bounds]
    return slice(*bounds)


def _position(draw, extent: int) -> int:
    """Out of range once in 200."""
    surplus = 1 if draw(st.integers(0, 199)) == 99 else 0
    if not extent and not surplus:
        return 0
    return draw(st.integers(-extent - surplus, extent - 1 + surplus))


@st.composite
def indices(draw, shape: tuple[int, ...]):
    """An index for an array of that shape, which it fits, nearly always."""
    common = draw(array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=3))  # that integer arrays broadcast to
    items, axis = [], 0
    while True:
        kinds = ["none", "bool", "stop"]
        if axis < len(shape):
            kinds += ["int", "slice", "integers", "mask", "integers", "mask", "slice"]
        kind = draw(st.sampled_from(kinds))
        if kind == "stop" or len(items) == 6:
            break
        extent = shape[axis] if axis < len(shape) else 1
        if kind == "none":
            items.append(None)
        elif kind == "bool":
            value = draw(st.booleans())
            items.append(draw(st.sampled_from([value, np.bool_(value), np.array(value)])))
        elif kind == "int":
            value = _position(draw, extent)
            items.append(draw(st.sampled_from([value, np.int64(value), np.array(value), np.int32(value)])))
            axis += 1
        elif kind == "slice":
            items.append(draw(_slices(extent)))
            axis += 1
        elif kind == "integers":
            suffix = common[draw(st.integers(0, len(common) - 1)) :]
            chosen = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in suffix)
            values = np.array([_position(draw, extent) for _ in range(int(np.prod(chosen)))], np.int64).reshape(chosen)
            dtype = draw(_DTYPES)
            if not dtype.startswith("u") or not (values < 0).any():
                values = values.astype(dtype)
            items.append(values.tolist() if draw(st.booleans()) else values)
            axis += 1
        else:
            count = draw(st.integers(1, len(shape) - axis))
            chosen = list(shape[axis : axis + count])
            if draw(st.integers(0, 99)) == 50:
                chosen[0] = chosen[0] + draw(st.sampled_from([-1, 1])) if chosen[0] else 1
            size = int(np.prod(chosen))
            bits = [draw(st.integers(0, 3)) == 0 for _ in range(size)]
            mask = np.array(bits, bool).reshape(chosen)
            items.append(mask.tolist() if size and draw(st.booleans()) else mask)
            axis += count
    if draw(st.booleans()):
        skipped = draw(st.integers(0, len(items)))
        items.insert(skipped, Ellipsis)
        if draw(st.booleans()):  # then it stands for axes, instead of what follows
            del items[skipped + 1 : skipped + 2]
    rare = draw(st.integers(0, 99))
    if rare == 37:
        items.insert(draw(st.integers(0, len(items))), draw(_NONSENSE))
    elif rare == 38:
        items.append(draw(st.sampled_from([0, ..., slice(None), [0]])))
    return items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)
