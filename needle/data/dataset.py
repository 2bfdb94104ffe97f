"""Data sets, from which a DataLoader draws its batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from needle.backend_ndarray import NDArray, array, cpu, from_dlpack
from needle.backend_ndarray.crop import crop_images
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.ndarray import as_host_values
from needle.backend_ndarray.whole_numbers import whole_numbers_of
from needle.data.transforms import (
    Compose,
    ImageTransform,
    Normalize,
    RandomCrop,
    RandomFlipHorizontal,
    Transform,
    Transforms,
    as_transforms,
)
from needle.errors import DTypeError, ShapeError, short
from needle.typing import ArrayLike, NumPyArray

_RESIDENT_BYTES = 1 << 32  # of images that a device may hold; for larger sets NumPy makes the batches


class Dataset:
    """A collection of examples by index; a subclass defines `__getitem__` and `__len__`.

    An example is a tuple of arrays and numbers, such as (image, label). A subclass may also define
    `get_batch(indices)`, which takes an integer array (N,) and returns the examples' fields as arrays (N, ...). A
    DataLoader then asks for whole batches instead of stacking N examples.

    A subclass may also leave work to the device. `get_raw_batch(indices)` then returns a few small arrays, and
    `finish_batch(fields)` takes them as NDArrays on the loader's device and returns the result of `get_batch`. If
    `get_raw_batch` returns None, `get_batch` is called.
    """

    transforms: Sequence[ImageTransform] = ()

    def __init__(self, transforms: Transforms = None) -> None:
        """`transforms`: one callable, or several, which `apply_transforms` applies in order."""
        self.transforms = as_transforms(type(self).__name__, transforms)

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")

    def apply_transforms(self, x: NumPyArray) -> NumPyArray:
        """Applies all transforms in order to one example."""
        return Compose(self.transforms)(x)


class NDArrayDataset(Dataset):
    """Examples along the first axis of arrays: example i is (arrays[0][i], arrays[1][i], ...).

    Indexing with a slice or an index array gives the examples' fields as arrays.
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        """`arrays`: NumPy arrays, NDArrays, Tensors or lists, (N, ...) each."""
        super().__init__()
        if not arrays:
            raise ValueError("NDArrayDataset: expected at least one array")
        self.arrays = tuple(map(_host_array, arrays))
        shapes = [array.shape for array in self.arrays]
        if any(len(shape) == 0 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"NDArrayDataset: expected arrays of the same length, met shapes {shapes}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int | slice | NumPyArray) -> tuple[Any, ...]:
        return tuple(_at("NDArrayDataset", array, index) for array in self.arrays)

    get_batch = __getitem__


class ImageDataset(Dataset):
    """Labelled images, kept in memory as bytes, as in files, and returned as float32 in 0..1.

    Attributes: `X`, the images as uint8 (N, ...), and `y`, the labels as int64 (N,). The first batch of a loader may
    copy X to the loader's device, where later batches reuse it: assign a new X instead of changing it in place.
    """

    def __init__(self, images: NumPyArray, labels: NumPyArray, transforms: Transforms = None) -> None:
        super().__init__(transforms)
        for name, value in (("images", images), ("labels", labels)):
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{type(self).__name__}: {name} of {short(value)}: expected a NumPy array")
        if images.dtype != np.uint8:
            raise DTypeError(f"{type(self).__name__}: expected images of uint8, met {images.dtype}")
        if labels.shape != images.shape[:1]:
            raise ShapeError(
                f"{type(self).__name__}: images {images.shape} and labels {labels.shape} do not match: "
                f"expected labels of shape {images.shape[:1]}"
            )
        self.X = images
        self.y = whole_numbers_of(type(self).__name__, "label", labels)
        self._resident: tuple[NumPyArray, NDArray] | None = None  # X and its copy on a device

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_resident": None}  # a copy, or another process, makes its own

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int | slice | NumPyArray) -> tuple[NumPyArray, int | NumPyArray]:
        """(image, label) for an int; (images, labels) for a slice or an index array."""
        if isinstance(index, (int, np.integer)):
            image = _at(type(self).__name__, self.X, index)
            return self.apply_transforms(_unit_range(image)), int(self.y[index])
        return self.get_batch(index)

    def get_batch(self, indices: slice | NumPyArray) -> tuple[NumPyArray, NumPyArray]:
        """The images (N, ...) and labels (N,) at `indices`, transformed as a batch."""
        images = _at(type(self).__name__, self.X, indices)
        return Compose(self.transforms).batch(_unit_range(images)), _at(type(self).__name__, self.y, indices)

    def get_raw_batch(self, indices: NumPyArray) -> tuple[NumPyArray, NumPyArray, NumPyArray] | None:
        """The input of `finish_batch` for the same batch: windows and values for `crop_images`, and labels.

        None if `crop_images` cannot do all `transforms`, or if there are too many images for a device.
        """
        if not self._is_for_device():
            return None
        windows = np.zeros((len(indices), 4), np.int32)
        windows[:, 0] = indices
        values = _unit_range(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1))
        values = np.broadcast_to(values, (256, self.X.shape[1 if self._is_channels_first() else 3], 1, 1))
        for transform in self.transforms:
            if isinstance(transform, Normalize):
                values = transform.apply(values)
            elif isinstance(transform, (RandomFlipHorizontal, RandomCrop)):
                transform.move(windows)
        return windows, values[:, :, 0, 0].T, self.y[indices]

    def finish_batch(self, fields: tuple[NDArray, ...]) -> tuple[NDArray, NDArray]:
        """The images and labels of `get_batch`, from the result of `get_raw_batch`, on any device."""
        windows, values, labels = fields
        images = self._images_on(windows.device)
        if self._is_channels_first():
            return crop_images(images.permute((0, 2, 3, 1)), windows, values).permute((0, 3, 1, 2)), labels
        return crop_images(images, windows, values), labels

    def _images_on(self, device: Device) -> NDArray:
        """X on that device: a copy that is made once; on the CPU, X's own memory if possible."""
        if (resident := self._resident) is not None:
            source, images = resident
            if source is self.X and images.device is device:
                return images
        is_shared = device is cpu() and self.X.flags.c_contiguous and self.X.flags.writeable
        images = from_dlpack(self.X) if is_shared else array(self.X, device=device)
        self._resident = self.X, images
        return images

    def _is_for_device(self) -> bool:
        """Whether a device can hold the images, and `crop_images` can do all `transforms`.

        It can do flips and at most one crop, then at most one Normalize.
        """
        if self.X.nbytes > _RESIDENT_BYTES:
            return False
        kinds = [type(transform) for transform in self.transforms]
        moves = kinds[:-1] if kinds[-1:] == [Normalize] else kinds
        if self.X.ndim != 4 or not set(moves) <= {RandomFlipHorizontal, RandomCrop} or moves.count(RandomCrop) > 1:
            return False
        ours = [transform for transform in self.transforms if isinstance(transform, Transform)]
        return len({transform.is_channels_first(self.X.shape[1:]) for transform in ours}) <= 1

    def _is_channels_first(self) -> bool:
        first = self.transforms[0] if self.transforms else None
        return (first if isinstance(first, Transform) else Transform()).is_channels_first(self.X.shape[1:])


def _host_array(array: Any) -> NumPyArray:
    if not callable(getattr(array, "numpy", None)):
        return as_host_values("NDArrayDataset", array)
    values: NumPyArray = array.numpy()
    return values


def _at(dataset: str, array: NumPyArray, index: Any) -> Any:
    """array[index]. Raises IndexError with a clear message if the first axis has no such example."""
    try:
        if isinstance(index, (bool, np.bool_)):
            raise IndexError
        return array[index]
    except (IndexError, OverflowError, TypeError, ValueError):
        raise IndexError(f"{dataset}: index {short(index)}: expected numbers of its {len(array)} examples") from None


def _unit_range(images: NumPyArray) -> NumPyArray:
    return np.divide(images, np.float32(255), dtype=np.float32)
