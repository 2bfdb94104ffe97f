"""Transforms of images: random augmentation and normalization, of one image or of a whole batch at once.

A transform is any callable that takes an image and returns one. If it also has a method `batch(images)`, for images
with a leading axis of examples, the loader passes it a whole batch; otherwise it is called once per image.

Layout. The transforms here take images as (H, W, C), like the course's MNIST images, or as (C, H, W), like CIFAR-10 and
`nn.Conv`. `layout="HWC"` or `"CHW"` selects one. Without it, an image whose first axis is at most 4 long and whose last
axis is longer than 4 is (C, H, W), and every other image is (H, W, C).

Randomness. Random numbers are drawn from `generator()`: NumPy's global generator or, within a DataLoader, the batch's
own generator, so that a batch does not depend on when and in which thread it is made.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from needle.backend_ndarray.arguments import choice, real, whole
from needle.backend_ndarray.ndarray import as_host_values
from needle.errors import ShapeError, short
from needle.typing import NumPyArray

ImageTransform = Callable[[NumPyArray], NumPyArray]
Transforms = ImageTransform | Sequence[ImageTransform] | None

_MAX_CHANNELS = 4
_generator: contextvars.ContextVar[Callable[[], Any]] = contextvars.ContextVar(
    "needle.data generator", default=lambda: np.random
)


def generator() -> Any:
    """The random source of transforms: the module `np.random` or an `np.random.RandomState`, with the same methods."""
    return _generator.get()()


@contextlib.contextmanager
def use_generator(make: Callable[[], np.random.RandomState]) -> Iterator[None]:
    """Within this context, and in this thread only, `generator()` is the result of `make`, called on first use.

    It is called only then because seeding takes as long as augmenting some images.
    """
    token = _generator.set(functools.cache(make))
    try:
        yield
    finally:
        _generator.reset(token)


def batch_method(owner: Any, name: str, item_methods: Sequence[str]) -> Callable[..., Any] | None:
    """`owner`'s method `name` for whole batches, or None if there is none that can be trusted.

    If a subclass redefines one of `item_methods` but inherits `name`, the inherited batch method does not reflect the
    changed items, so the result is None.
    """
    for cls in type(owner).__mro__:
        if name in vars(cls):
            method: Callable[..., Any] = getattr(owner, name)
            return method
        if any(item_method in vars(cls) for item_method in item_methods):
            return None
    return None


def apply_to_batch(transform: ImageTransform, images: NumPyArray) -> NumPyArray:
    """Applies `transform` to `images` (N, ...): to the whole batch if it can, else image by image."""
    batch = batch_method(transform, "batch", ("__call__",))
    return batch(images) if batch is not None else np.stack([transform(image) for image in images])


def as_transforms(owner: str, transforms: Transforms) -> list[ImageTransform]:
    """One transform, several or none, as a list. Raises TypeError if one is not callable."""
    if transforms is None:
        return []
    several: Any = [transforms] if callable(transforms) else transforms
    if not isinstance(several, (list, tuple)) or not all(map(callable, several)):
        raise TypeError(f"{owner}: transforms {short(transforms)}: expected callables, in a list")
    return list(several)


class Transform:
    """Base class of image transforms. A subclass defines `apply(images)`, from (N, C, H, W) to (N, C, H, W)."""

    def __init__(self, layout: str | None = None) -> None:
        choice(type(self).__name__, "layout", layout, (None, "HWC", "CHW"))
        self.layout = layout

    def __call__(self, image: NumPyArray) -> NumPyArray:
        """Transforms one image, (H, W, C) or (C, H, W)."""
        transformed: NumPyArray = self.batch(as_host_values(type(self).__name__, image)[None])[0]
        return transformed

    def batch(self, images: NumPyArray) -> NumPyArray:
        """Transforms images (N, H, W, C) or (N, C, H, W), with the random numbers of transforming them one by one."""
        images = as_host_values(type(self).__name__, images)
        if self.is_channels_first(images.shape[1:]):
            return self.apply(images)
        return np.moveaxis(self.apply(np.moveaxis(images, -1, 1)), 1, -1)

    def apply(self, images: NumPyArray) -> NumPyArray:
        """Transforms images (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply")

    def is_channels_first(self, image_shape: tuple[int, ...]) -> bool:
        """Whether an image of that shape is treated as (C, H, W)."""
        if len(image_shape) != 3:
            raise ShapeError(
                f"{type(self).__name__}: expected an image of shape (H, W, C) or (C, H, W), met {image_shape}"
            )
        if self.layout is not None:
            return self.layout == "CHW"
        return image_shape[0] <= _MAX_CHANNELS < image_shape[-1]


class RandomFlipHorizontal(Transform):
    """Mirrors an image left to right with probability `p`. Draws `rand()` once per image."""

    def __init__(self, p: float = 0.5, layout: str | None = None) -> None:
        super().__init__(layout)
        self.p = real("RandomFlipHorizontal", "p", p, 0, most=1)

    def apply(self, images: NumPyArray) -> NumPyArray:
        flip = self._draw(len(images))
        flipped = images.copy()
        flipped[flip] = images[flip][..., ::-1]
        return flipped

    def move(self, windows: NumPyArray) -> None:
        """Applies the transform to windows of `crop_images`, as `apply` does to images."""
        windows[:, 3] ^= self._draw(len(windows))

    def _draw(self, number: int) -> NumPyArray:
        flip: NumPyArray = generator().rand(number) < self.p
        return flip


class RandomCrop(Transform):
    """Pads an image with `padding` zeros on every side, then crops it to its original size.

    Draws `shift_x, shift_y = randint(-padding, padding + 1, size=2)` once per image; shift_x moves the window
    down and shift_y to the right (the course's names): out[:, i, j] = image[:, i + shift_x, j + shift_y], zero outside.
    """

    def __init__(self, padding: int = 3, layout: str | None = None) -> None:
        super().__init__(layout)
        self.padding = whole("RandomCrop", "padding", padding)

    def apply(self, images: NumPyArray) -> NumPyArray:
        number, channels, height, width = images.shape
        padding = self.padding
        shifts = self._draw(number)
        padded = np.zeros((number, channels, height + 2 * padding, width + 2 * padding), images.dtype)
        padded[:, :, padding : padding + height, padding : padding + width] = images
        # A view of all windows, (N, C, 2 padding + 1, 2 padding + 1, H, W); each image takes one of them.
        view = np.lib.stride_tricks.sliding_window_view
        windows = view(padded, (height, width), axis=(2, 3))  # type: ignore[call-overload]  # as in backend_numpy.py
        cropped: NumPyArray = windows[np.arange(number), :, shifts[:, 0] + padding, shifts[:, 1] + padding]
        return cropped

    def move(self, windows: NumPyArray) -> None:
        """Applies the transform to windows of `crop_images`, as `apply` does to images that are not yet cropped."""
        shift_x, shift_y = self._draw(len(windows)).T
        windows[:, 1] += shift_x
        windows[:, 2] += np.where(windows[:, 3], -shift_y, shift_y)

    def _draw(self, number: int) -> NumPyArray:
        shifts: NumPyArray = generator().randint(low=-self.padding, high=self.padding + 1, size=(number, 2))
        return shifts


class Normalize(Transform):
    """(image - mean) / std, in float32. `mean` and `std` are numbers, or sequences of one number per channel."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], layout: str | None = None) -> None:
        super().__init__(layout)
        self.mean = as_host_values("Normalize", mean).astype(np.float32)
        self.std = as_host_values("Normalize", std).astype(np.float32)
        if self.mean.ndim > 1 or self.std.ndim > 1:
            raise ShapeError(
                f"Normalize: mean and std are numbers or one number per channel, "
                f"met shapes {self.mean.shape} and {self.std.shape}"
            )
        if not np.all(self.std > 0):
            raise ValueError(f"Normalize: std must be above 0, met {short(std)}")

    def apply(self, images: NumPyArray) -> NumPyArray:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value.ndim == 1 and len(value) not in (1, images.shape[1]):
                channels = images.shape[1]
                raise ShapeError(f"Normalize: {name} has {len(value)} values, but the images have {channels} channels")
        return (images.astype(np.float32, copy=False) - self.mean.reshape(-1, 1, 1)) / self.std.reshape(-1, 1, 1)


class Compose:
    """Applies transforms one after another."""

    def __init__(self, transforms: Sequence[ImageTransform]) -> None:
        self.transforms = as_transforms("Compose", transforms)

    def __call__(self, image: NumPyArray) -> NumPyArray:
        for transform in self.transforms:
            image = transform(image)
        return image

    def batch(self, images: NumPyArray) -> NumPyArray:
        """Applies the transforms to images (N, ...)."""
        for transform in self.transforms:
            images = apply_to_batch(transform, images)
        return images
