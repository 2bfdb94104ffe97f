"""Counter-based random numbers for the reference backend: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011).

kernels/cpu/random.h specifies element order and word layout; uniform numbers agree with it bit for bit.
"""

from __future__ import annotations

import numpy as np

from needle.typing import NumPyArray

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def words(seed: int, offset: int, blocks: int) -> NumPyArray:
    """(blocks, 4) words of 32 bits, as uint64: counter (block, offset), key `seed`."""
    block = np.arange(blocks, dtype=np.uint64)
    zeros = np.zeros_like(block)
    counter = [
        block & _LOW,
        block >> _HALF,
        zeros + np.uint64(offset & 0xFFFFFFFF),
        zeros + np.uint64(offset >> 32 & 0xFFFFFFFF),
    ]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        product0, product1 = counter[0] * _MULTIPLIERS[0], counter[2] * _MULTIPLIERS[1]
        counter = [
            product1 >> _HALF ^ counter[1] ^ np.uint64(key[0]),
            product1 & _LOW,
            product0 >> _HALF ^ counter[3] ^ np.uint64(key[1]),
            product0 & _LOW,
        ]
        key = [(k + weyl) & 0xFFFFFFFF for k, weyl in zip(key, _WEYL)]
    return np.stack(counter, 1)


def _doubles(w: NumPyArray) -> NumPyArray:
    """53 random bits from each pair of words, (blocks, 2)."""
    pairs: NumPyArray = w[:, 0::2] | w[:, 1::2] << _HALF
    return pairs >> np.uint64(11)


# How many random bits a uniform number of each dtype keeps: as many as its significand holds.
_UNIFORM_BITS = {"float32": 24, "float16": 11, "bfloat16": 8}


def uniform(size: int, dtype: str, seed: int, offset: int) -> NumPyArray:
    """`size` numbers in [0, 1), exact in `dtype`."""
    if dtype == "float64":
        return (_doubles(words(seed, offset, -(-size // 2))) * 2.0**-53).reshape(-1)[:size]
    bits = _UNIFORM_BITS[dtype]
    w = words(seed, offset, -(-size // 4)) >> np.uint64(32 - bits)
    return (w * 2.0**-bits).reshape(-1)[:size]


def normal(size: int, dtype: str, seed: int, offset: int) -> NumPyArray:
    """`size` standard normal numbers, in pairs by the Box-Muller method (1958): sqrt(-2 log u) (cos, sin)(2 pi v)."""
    if dtype == "float64":
        pairs, one = _doubles(words(seed, offset, -(-size // 2))), 2.0**-53
    else:
        pairs, one = (words(seed, offset, -(-size // 4)) >> np.uint64(8)).reshape(-1, 2), 2.0**-24
    u, v = (pairs[:, 0] + 1.0) * one, pairs[:, 1] * one
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:size]


def dropout_mask(size: int, p: float, seed: int, offset: int) -> NumPyArray:
    """0 with probability p, else 1 / (1 - p)."""
    w = words(seed, offset, -(-size // 4)).reshape(-1)[:size] >> np.uint64(8)
    return np.where(w < p * 2.0**24, 0, 1 / (1 - p))
