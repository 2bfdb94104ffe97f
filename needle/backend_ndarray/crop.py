"""Windows of images: random augmentation and normalization of a batch in one pass."""

from __future__ import annotations

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call


def crop_images(images, windows, values):
    """Windows of some of the images (M, H, W, C), which are of uint8, as large as an image, as numbers.

    windows: int32 (N, 4), for each (image, down, right, flipped), of which the first is a number in 0..M-1: what is at
        row i and column j is the pixel at row i + down and column j + right, or W - 1 - j + right where the window is
        flipped, and 0 outside the image.
    values: (C, 256), the number that stands for each byte of each channel, of any dtype, which the result has.

    Returns an array (N, H, W, C) whose axes have the order in memory of those of `images`.
    """
    same_device("crop_images", images, windows, values)
    out = ndarray.empty_like(images, values.dtype, (len(windows), *images.shape[1:]))
    call(images.device, "crop_images", images, windows, values, out)
    return out
