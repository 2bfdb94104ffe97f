"""Cropping images: random augmentation and normalization of a batch in one pass."""

from __future__ import annotations

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray


def crop_images(images: NDArray, windows: NDArray, values: NDArray) -> NDArray:
    """Cuts image-sized windows out of uint8 images (M, H, W, C) and maps their bytes to numbers.

    windows: int32 (N, 4), one row (image, down, right, flipped) per window, with image in 0..M-1. At row i and column j
        the window has the pixel at row i + down and column j + right, or W - 1 - j + right if the window is flipped,
        and 0 outside the image.
    values: (C, 256), the number for each byte of each channel; its dtype, which may be any, is that of the result.

    Returns an array (N, H, W, C) whose axes have the same memory order as those of `images`.
    """
    same_device("crop_images", images, windows, values)
    out = ndarray.empty_like(images, values.dtype, (len(windows), *images.shape[1:]))
    call(images.device, "crop_images", images, windows, values, out)
    return out
