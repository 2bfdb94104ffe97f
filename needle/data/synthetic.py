"""A synthetic data set of CIFAR-10's shape, for machines where the real one is not available.

Each class has stripes of one orientation and spatial frequency, and a blob of one colour. Phase, position, contrast,
exact angle and colours vary from image to image, and noise is added. No single pixel reveals the class.
"""

from __future__ import annotations

import numpy as np

from needle.backend_ndarray.arguments import as_seed, flag, whole
from needle.data.dataset import ImageDataset
from needle.data.transforms import Transforms
from needle.errors import OutOfMemoryError
from needle.typing import NumPyArray

_CLASSES = 10
_SIZE = 32
_CHUNK = 1000  # images made at a time, to keep temporaries small


class SyntheticCIFAR10(ImageDataset):
    """Ten classes of stripes and blobs: float32 (3, 32, 32) in 0..1, and an int in 0..9, evenly distributed.

    `X` is uint8 (N, 3, 32, 32) and `y` int64 (N,); N defaults to 10,000 for training and 2,000 for testing. The same
    arguments give the same images; `train` selects one of two different sets of the same kind.
    """

    def __init__(
        self,
        num_examples: int | None = None,
        train: bool = True,
        seed: int = 0,
        transforms: Transforms = None,
    ) -> None:
        train = flag("SyntheticCIFAR10", "train", train)
        if num_examples is None:
            num_examples = 10000 if train else 2000
        num_examples = whole("SyntheticCIFAR10", "num_examples", num_examples, 1, ValueError)
        random = np.random.RandomState((as_seed("SyntheticCIFAR10", seed), int(train)))
        try:
            images = np.empty((num_examples, 3, _SIZE, _SIZE), np.uint8)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(f"SyntheticCIFAR10: no memory for {num_examples} images") from None
        labels = random.permutation(np.arange(num_examples) % _CLASSES)
        for start in range(0, num_examples, _CHUNK):
            images[start : start + _CHUNK] = _images(labels[start : start + _CHUNK], random)
        super().__init__(images, labels, transforms)


def _images(labels: NumPyArray, random: np.random.RandomState) -> NumPyArray:
    """Images (N, 3, 32, 32) of the classes `labels` (N,), as float32 in 0..255."""
    number = len(labels)

    def uniform(low: float, high: float, *shape: int) -> NumPyArray:
        return np.asarray(random.uniform(low, high, (number, *shape)), np.float32)

    # Stripes sin(u x + v y + phase). The class modulo 5 gives their angle, 0 to 90 degrees to either side, so that a
    # mirrored image has the same class. Classes 0 to 4 have 3 cycles per image, classes 5 to 9 have 5.
    angle = np.pi / 8 * (labels % 5) + uniform(-0.15, 0.15)
    frequency = 2 * np.pi * (np.where(labels < 5, 3.0, 5.0) + uniform(-0.7, 0.7))
    sign = np.where(uniform(-1, 1) < 0, -1, 1)
    grid = np.arange(_SIZE, dtype=np.float32) / _SIZE
    x = (sign * frequency * np.cos(angle))[:, None] * grid + uniform(0, 2 * np.pi, 1)
    y = (frequency * np.sin(angle))[:, None] * grid
    stripes = _outer(np.cos(y), np.sin(x)) + _outer(np.sin(y), np.cos(x))

    # A blob exp(-((x - a)^2 + (y - b)^2) / 2 s^2) of one of five hues, each shared by two classes.
    spread = 2 * uniform(0.1, 0.2, 1) ** 2
    rows, columns = (np.exp(-((grid - uniform(0.2, 0.8, 1)) ** 2) / spread) for _ in range(2))
    blob = _outer(rows, columns)
    hue = 2 * np.pi / 5 * ((3 * labels + labels // 5) % 5) + uniform(-0.6, 0.6)
    colour = np.cos(hue[:, None] - 2 * np.pi / 3 * np.arange(3))

    background = 128 + uniform(-25, 25, 3)
    tint = uniform(15, 45, 1) * uniform(0.4, 1, 3)
    colour = (uniform(30, 80, 1) * colour).astype(np.float32)
    images = background[..., None, None] + tint[..., None, None] * stripes[:, None]
    images += colour[..., None, None] * blob[:, None]
    noise = np.frombuffer(random.bytes(images.size), np.uint8).reshape(images.shape)
    images += np.float32(0.5) * noise - np.float32(64)
    return np.asarray(np.clip(images, 0, 255))


def _outer(rows: NumPyArray, columns: NumPyArray) -> NumPyArray:
    """(N, H) and (N, W) to (N, H, W)."""
    return np.asarray(rows[:, :, None] * columns[:, None, :], np.float32)
