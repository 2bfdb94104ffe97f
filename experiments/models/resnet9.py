"""Two residual networks with nine layers for images of 32 x 32, such as CIFAR-10's."""

from __future__ import annotations

from needle import nn
from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType


class ConvBN(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        self.conv = nn.Conv(in_channels, out_channels, kernel_size, stride, bias, device=device, dtype=dtype)
        self.norm = nn.BatchNorm2d(out_channels, device=device, dtype=dtype, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ResNet9(nn.Module):
    """The ResNet-9 of CMU 10-414/714, homework 4: images (N, 3, 32, 32) to logits (N, num_classes).

    layer                  output           layer                  output
    7x7 / 4, 16            (16, 8, 8)       3x3 / 2, 64            (64, 2, 2)
    3x3 / 2, 32            (32, 4, 4)       3x3 / 2, 128           (128, 1, 1)
    residual 2 x 3x3, 32   (32, 4, 4)       residual 2 x 3x3, 128  (128, 1, 1)
                                            linear 128, ReLU, linear num_classes

    Every convolution is a ConvBN. 431,946 parameters with ten classes.
    """

    def __init__(self, num_classes: int = 10, device: Device | None = None, dtype: str | DType = "float32") -> None:
        options = {"device": device, "dtype": dtype}

        def residual(channels: int) -> nn.Residual:
            return nn.Residual(nn.Sequential(*(ConvBN(channels, channels, 3, **options) for _ in range(2))))

        self.layers = nn.Sequential(
            ConvBN(3, 16, 7, 4, **options),
            ConvBN(16, 32, 3, 2, **options),
            residual(32),
            ConvBN(32, 64, 3, 2, **options),
            ConvBN(64, 128, 3, 2, **options),
            residual(128),
            nn.Flatten(),
            nn.Linear(128, 128, **options),
            nn.ReLU(),
            nn.Linear(128, num_classes, **options),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ResNet9Wide(nn.Module):
    """David Page's ResNet-9 for DAWNBench, which reaches 94% on CIFAR-10 in 24 epochs: (N, 3, 32, 32) to logits.

    layer                         output             layer                         output
    3x3, 64                       (64, 32, 32)       3x3, 512, max pool 2          (512, 4, 4)
    3x3, 128, max pool 2          (128, 16, 16)      residual 2 x 3x3, 512         (512, 4, 4)
    residual 2 x 3x3, 128         (128, 16, 16)      max pool 4                    (512, 1, 1)
    3x3, 256, max pool 2          (256, 8, 8)        linear num_classes, times 1/8 (num_classes,)

    Convolutions and the linear layer have no bias. 6,573,120 parameters with ten classes.
    Source: "How to train your ResNet 4: Architecture", myrtle.ai/learn/how-to-train-your-resnet-4-architecture.
    """

    logit_scale = 0.125

    def __init__(self, num_classes: int = 10, device: Device | None = None, dtype: str | DType = "float32") -> None:
        options = {"device": device, "dtype": dtype}

        def conv(in_channels: int, out_channels: int) -> ConvBN:
            return ConvBN(in_channels, out_channels, 3, bias=False, **options)

        def residual(channels: int) -> nn.Residual:
            return nn.Residual(nn.Sequential(conv(channels, channels), conv(channels, channels)))

        self.layers = nn.Sequential(
            conv(3, 64),
            conv(64, 128),
            nn.MaxPool2d(2),
            residual(128),
            conv(128, 256),
            nn.MaxPool2d(2),
            conv(256, 512),
            nn.MaxPool2d(2),
            residual(512),
            nn.MaxPool2d(4),
            nn.Flatten(),
            nn.Linear(512, num_classes, bias=False, **options),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) * self.logit_scale
