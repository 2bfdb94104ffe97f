"""Data sets, loaders and transforms."""

from needle.data.cifar10 import CIFAR10Dataset, load_cifar10
from needle.data.corpus import Corpus, Dictionary, batchify, get_batch
from needle.data.dataloader import DataLoader
from needle.data.dataset import Dataset, ImageDataset, NDArrayDataset
from needle.data.mnist import MNISTDataset
from needle.data.penn_treebank import load_ptb
from needle.data.synthetic import SyntheticCIFAR10
from needle.data.synthetic_text import SyntheticCorpus
from needle.data.transforms import Compose, Normalize, RandomCrop, RandomFlipHorizontal, Transform, generator

__all__ = [
    "CIFAR10Dataset",
    "Compose",
    "Corpus",
    "DataLoader",
    "Dataset",
    "Dictionary",
    "ImageDataset",
    "MNISTDataset",
    "NDArrayDataset",
    "Normalize",
    "RandomCrop",
    "RandomFlipHorizontal",
    "SyntheticCIFAR10",
    "SyntheticCorpus",
    "Transform",
    "batchify",
    "generator",
    "get_batch",
    "load_cifar10",
    "load_ptb",
]
