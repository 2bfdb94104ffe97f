"""DataLoader: batches of a data set as Tensors, in order or shuffled, made in the loop or ahead by threads."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from needle import backend_ndarray as nd
from needle.autograd import Tensor
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.device import require_device
from needle.backend_ndarray.dtype import as_dtype
from needle.data.dataset import Dataset
from needle.data.transforms import batch_method, use_generator
from needle.errors import DTypeError, ShapeError, short
from needle.typing import NumPyArray

# The dtype of a Tensor for a field of integers or booleans: the field's own, or the next wider one of Needle's.
_INTEGER_DTYPES = {name: name for name in ("uint8", "int8", "int32", "int64", "bool")}
_INTEGER_DTYPES |= {"int16": "int32", "uint16": "int32", "uint32": "int64"}

# How many raw batches are made at once without a worker. A training step evicts the code that makes them from the
# caches, so the first batch after a step takes ten times as long as the next.
_RAW_BATCHES = 16

# The fields of a batch and, if these are raw, the function that finishes them.
_Fields = Sequence[NumPyArray]
_Finish = Callable[[tuple[nd.NDArray, ...]], tuple[nd.NDArray, ...]]
Loaded = tuple[_Fields, _Finish | None]
_Seed = tuple[int, int]  # of a RandomState


class DataLoader:
    """An iterable of batches: each a tuple of Tensors, one per field of an example, (N, ...) with N = batch_size.

    dataset: a Dataset, or anything with `__len__` and `__getitem__`.
    shuffle: a new order every epoch.
    device, dtype: those of the Tensors; fields of integers and booleans keep their own dtype.
    drop_last: leave out a last batch smaller than batch_size.
    num_workers: threads that make batches, `prefetch` of them ahead of the loop; 0 makes each batch in the loop.

    Randomness. At the start of an epoch, the loader draws the order, if `shuffle` is set, and one seed, if the data set
    has transforms, from NumPy's global generator and nowhere else. Batch i then has its own generator, seeded by (seed,
    i). So `np.random.seed` and `np.random.set_state` before an epoch reproduce it for any num_workers. (A data set or
    transform that draws from `np.random` directly is reproducible only with num_workers=0; it should draw from
    `needle.data.generator()`.)

    An exception in a thread is raised again in the loop. Leaving the loop early stops the threads.
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        device: nd.Device | None = None,
        dtype: str | nd.DType = "float32",
        drop_last: bool = False,
        num_workers: int = 0,
        prefetch: int = 2,
    ) -> None:
        if not _is_sized(dataset) or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: dataset of {short(dataset)}: expected one with __len__ and __getitem__")
        at_least = (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("prefetch", prefetch, 1))
        for name, value, least in at_least:
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"DataLoader: {name} must be an integer of {least} or more, met {short(value)}")
        drop_last, shuffle = flag("DataLoader", "drop_last", drop_last), flag("DataLoader", "shuffle", shuffle)
        if len(dataset) == 0:
            raise ValueError("DataLoader: the data set is empty")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: batch_size {batch_size} of {len(dataset)} examples"
            )
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.device = device if device is None else require_device("DataLoader", device)
        self.dtype = as_dtype(dtype, "DataLoader")
        self.drop_last = drop_last
        self.num_workers = int(num_workers)
        self.prefetch = int(prefetch)
        self._idle_generators: list[np.random.RandomState] = []

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        examples = len(self.dataset)
        order = np.random.permutation(examples) if self.shuffle else np.arange(examples)
        batches = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
        if getattr(self.dataset, "transforms", None):
            seed = int(np.random.randint(2**32, dtype=np.uint32))
            seeds: list[_Seed | None] = [(seed, i) for i in range(len(batches))]
        else:
            seeds = [None] * len(batches)
        return self._tensors(self._load_ahead(batches, seeds) if self.num_workers else self._load_each(batches, seeds))

    def _tensors(self, loaded: Generator[Loaded, None, None]) -> Iterator[tuple[Tensor, ...]]:
        with contextlib.closing(loaded):  # stops the threads if the loop is left early
            for fields, finish in loaded:
                arrays = tuple(self._array(field) for field in fields)
                if finish is not None:
                    arrays = finish(arrays)
                yield tuple(self._tensor(array) for array in arrays)

    def _array(self, field: NumPyArray) -> nd.NDArray:
        name = field.dtype.name
        is_floating = field.dtype.kind == "f" or name == "bfloat16"
        if not is_floating and name not in _INTEGER_DTYPES:
            raise DTypeError(f"DataLoader: expected fields of numbers, met one of dtype {name}")
        return nd.array(field, device=self.device, dtype=self.dtype if is_floating else _INTEGER_DTYPES[name])

    def _tensor(self, array: nd.NDArray) -> Tensor:
        return Tensor.make_const(array.astype(self.dtype) if array.dtype.kind == "floating" else array)

    def _load(self, indices: NumPyArray, seed: _Seed | None) -> Loaded:
        """The examples at `indices`, as arrays (N, ...)."""
        items = ("__getitem__", "apply_transforms")
        get_raw, finish = (
            batch_method(self.dataset, name, (*items, "get_batch")) for name in ("get_raw_batch", "finish_batch")
        )
        get_batch = batch_method(self.dataset, "get_batch", items)
        with contextlib.nullcontext() if seed is None else self._use_seed(seed):
            if get_raw is not None and finish is not None and (fields := get_raw(indices)) is not None:
                return fields, finish
            if get_batch is None:
                return _stack([self.dataset[index] for index in indices.tolist()]), None
            fields = get_batch(indices)
            return fields if isinstance(fields, (tuple, list)) else (fields,), None

    @contextlib.contextmanager
    def _use_seed(self, seed: _Seed) -> Iterator[None]:
        """Within this context `generator()` draws what `np.random.RandomState(seed)` would.

        It reuses an idle generator, because seeding one takes a tenth of the time of making one.
        """
        used: list[np.random.RandomState] = []

        def make() -> np.random.RandomState:
            try:
                used.append(self._idle_generators.pop())
                used[0].seed(seed)
            except IndexError:
                used.append(np.random.RandomState(seed))
            return used[0]

        with use_generator(make):
            yield
        self._idle_generators += used

    def _load_each(self, batches: list[NumPyArray], seeds: list[_Seed | None]) -> Generator[Loaded, None, None]:
        """`_load` of each batch, in order: one at a time on demand, or `_RAW_BATCHES` at a time if they are raw."""
        start, number = 0, 1
        while start < len(batches):
            part = slice(start, start + number)
            loaded = [self._load(indices, seed) for indices, seed in zip(batches[part], seeds[part])]
            start, number = start + number, _RAW_BATCHES if loaded[-1][1] is not None else 1
            yield from loaded

    def _load_ahead(self, batches: list[NumPyArray], seeds: list[_Seed | None]) -> Generator[Loaded, None, None]:
        """`_load` of each batch, in order, in threads that run up to `prefetch` batches ahead of the loop."""
        executor = concurrent.futures.ThreadPoolExecutor(self.num_workers, thread_name_prefix="needle.data")
        ahead: collections.deque[concurrent.futures.Future[Loaded]] = collections.deque()
        try:
            for indices, seed in zip(batches, seeds):
                ahead.append(executor.submit(self._load, indices, seed))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)


def _is_sized(dataset: object) -> bool:
    if isinstance(dataset, type) or getattr(dataset, "shape", None) == ():
        return False
    return hasattr(dataset, "__len__")


def _stack(examples: list[Any]) -> list[NumPyArray]:
    """One array (N, ...) per field of N examples; an example is a tuple of fields, or one bare field."""
    examples = [example if isinstance(example, (tuple, list)) else (example,) for example in examples]
    if len({len(example) for example in examples}) > 1:
        raise ShapeError(f"DataLoader: examples of one batch have {sorted({len(e) for e in examples})} fields")
    return [_stack_field(number, field) for number, field in enumerate(zip(*examples))]


def _stack_field(number: int, values: Sequence[Any]) -> NumPyArray:
    arrays = [value.numpy() if hasattr(value, "numpy") else np.asarray(value) for value in values]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ShapeError(f"DataLoader: field {number} differs in shape between examples of one batch, met {shapes}")
    return np.stack(arrays)
