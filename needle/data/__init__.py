"""Data sets, loaders and transforms."""

from needle.data.cifar10 import CIFAR10Dataset, load_cifar10
from needle.data.dataloader import DataLoader
from needle.data.dataset import Dataset, ImageDataset, NDArrayDataset
from needle.data.mnist import MNISTDataset
from needle.data.synthetic import SyntheticCIFAR10
from needle.data.transforms import Compose, Normalize, RandomCrop, RandomFlipHorizontal, Transform, generator

__all__ = [
    "CIFAR10Dataset",
    "Compose",
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "MNISTDataset",
    "NDArrayDataset",
    "Normalize",
    "RandomCrop",
    "RandomFlipHorizontal",
    "SyntheticCIFAR10",
    "Transform",
    "generator",
    "load_cifar10",
]
