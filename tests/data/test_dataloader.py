from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from needle.autograd import Tensor
from needle.backend_ndarray import cpu, cpu_numpy
from needle.data import DataLoader, Dataset, ImageDataset, NDArrayDataset, Normalize, RandomCrop, RandomFlipHorizontal
from needle.data.transforms import generator, use_generator
from needle.errors import DTypeError, ShapeError


def loader(dataset, *args, **kwargs):
    return DataLoader(dataset, *args, device=cpu_numpy(), **kwargs)


def arrays(batches):
    return [tuple(field.numpy() for field in batch) for batch in batches]


def assert_same(some, others):
    assert len(some) == len(others)
    for fields, other_fields in zip(some, others):
        for field, other_field in zip(fields, other_fields):
            np.testing.assert_array_equal(field, other_field)


def images(count=50, transforms=(RandomFlipHorizontal(), RandomCrop(3))):
    random = np.random.RandomState(0)
    return ImageDataset(random.randint(0, 256, (count, 3, 8, 8)).astype(np.uint8), np.arange(count), transforms)


class ItemByItem(Dataset):
    """The same data set, without get_batch."""

    def __init__(self, dataset):
        super().__init__(dataset.transforms)
        self.dataset = dataset

    def __getitem__(self, index):
        return self.apply_transforms(self.dataset.X[index] / np.float32(255)), int(self.dataset.y[index])

    def __len__(self):
        return len(self.dataset)


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("needle.data")]


def test_batches_are_tuples_of_tensors_in_order():
    x, y = np.random.RandomState(0).rand(10, 2, 3), np.arange(10)
    batches = list(loader(NDArrayDataset(x, y), batch_size=4))
    assert [type(batch) for batch in batches] == [tuple] * 3
    assert all(isinstance(field, Tensor) and not field.requires_grad for batch in batches for field in batch)
    assert [batch[0].shape for batch in batches] == [(4, 2, 3), (4, 2, 3), (2, 2, 3)]
    assert batches[0][0].device is cpu_numpy()
    np.testing.assert_allclose(np.concatenate([batch[0].numpy() for batch in batches]), x, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([batch[1].numpy() for batch in batches]), y)


@pytest.mark.parametrize(
    "count, batch_size, drop_last, length", [(10, 5, False, 2), (10, 4, False, 3), (10, 4, True, 2), (1, 7, False, 1)]
)
def test_length(count, batch_size, drop_last, length):
    batches = loader(NDArrayDataset(np.arange(count)), batch_size, drop_last=drop_last)
    assert len(batches) == len(list(batches)) == length
    if drop_last:
        assert all(batch[0].shape == (batch_size,) for batch in batches)


@pytest.mark.parametrize(
    "field, dtype",
    [("uint8", "uint8"), ("int8", "int8"), ("int32", "int32"), ("int64", "int64"), ("bool", "bool"), ("int16", "int32"),
     ("uint16", "int32"), ("uint32", "int64"), ("float16", "float64"), ("float32", "float64"), ("float64", "float64")],
)  # fmt: skip
def test_floats_get_the_dtype_asked_for_and_integers_keep_theirs(field, dtype):
    values = np.array([0, 1, 1, 0]).astype(field)
    (batch,) = loader(NDArrayDataset(values), 4, dtype="float64")
    assert batch[0].dtype == dtype
    np.testing.assert_array_equal(batch[0].numpy(), values)


def test_default_dtype_is_float32():
    (batch,) = loader([(1.5, 2), (2.5, 3)], 2)
    assert [field.dtype for field in batch] == ["float32", "int64"]


def test_shuffle_gives_the_course_s_order():
    """The numbers of the course's own test, test_dataloader_ndarray of homework 2."""
    np.random.seed(0)
    batches = iter(loader(NDArrayDataset(np.arange(100)), batch_size=1, shuffle=True))
    assert [next(batches)[0].numpy().item() for _ in range(10)] == [26, 86, 2, 55, 75, 93, 16, 73, 54, 95]
    batches = iter(loader(NDArrayDataset(np.arange(100)), batch_size=10, shuffle=True))
    norms = [np.linalg.norm(next(batches)[0].numpy()) for _ in range(10)]
    expected = [164.805946, 173.43875, 169.841102, 189.050258, 195.880065]
    expected += [206.387984, 209.909504, 185.776748, 145.948621, 160.252925]
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


def test_shuffle_visits_every_example_once_in_another_order_each_epoch():
    batches = loader(NDArrayDataset(np.arange(101)), batch_size=10, shuffle=True)
    epochs = [np.concatenate([batch[0].numpy() for batch in batches]) for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(101))
    assert (epochs[0] != epochs[1]).any() and (epochs[0] != np.arange(101)).any()


def test_the_order_is_drawn_when_the_epoch_starts():
    np.random.seed(3)
    batches = iter(loader(NDArrayDataset(np.arange(20)), 5, shuffle=True))
    expected = np.random.RandomState(3).permutation(20)
    np.random.seed(99)
    np.testing.assert_array_equal(np.concatenate([batch[0].numpy() for batch in batches]), expected)


def test_without_shuffle_and_transforms_nothing_is_drawn():
    np.random.seed(7)
    list(loader(NDArrayDataset(np.arange(20)), 5))
    list(loader(images(transforms=()), 5))
    assert np.random.rand() == np.random.RandomState(7).rand()


@pytest.mark.parametrize("wrap", [lambda dataset: dataset, ItemByItem])
@pytest.mark.parametrize("num_workers, prefetch", [(1, 1), (2, 2), (3, 8)])
def test_the_seed_alone_decides_whatever_the_threads(wrap, num_workers, prefetch):
    dataset = wrap(images())
    np.random.seed(11)
    expected = arrays(loader(dataset, 8, shuffle=True))
    after = np.random.rand()
    np.random.seed(11)
    assert_same(arrays(loader(dataset, 8, shuffle=True, num_workers=num_workers, prefetch=prefetch)), expected)
    assert np.random.rand() == after
    assert np.any(arrays(loader(dataset, 8, shuffle=True))[0][0] != expected[0][0])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_generator_that_served_another_batch_remembers_nothing_of_it(num_workers):
    """`randn` computes two numbers at a time and keeps the second."""
    dataset = images(transforms=(lambda image: np.full_like(image, generator().randn()),))
    dataset = ImageDataset(dataset.X[:9], dataset.y[:9], dataset.transforms)
    np.random.seed(5)
    seed = np.random.randint(2**32, dtype=np.uint32)
    expected = [np.random.RandomState((seed, i)).randn(3) for i in range(3)]
    np.random.seed(5)
    batches = arrays(loader(dataset, 3, num_workers=num_workers))
    assert_same([x[:, 0, 0, 0] for x, _ in batches], np.array(expected, np.float32))


def test_augmentation_differs_between_batches_and_epochs():
    one_image = ImageDataset(np.repeat(images().X[:1], 32, 0), np.zeros(32, int), [RandomCrop(3)])
    first, second = (np.stack([batch[0] for batch in arrays(loader(one_image, 8))]) for _ in range(2))
    assert len(np.unique(first.reshape(4, -1), axis=0)) == 4
    assert np.any(first != second)


def test_an_epoch_resumes_from_the_state_of_numpy_s_generator():
    batches = loader(images(), 8, shuffle=True, num_workers=2)
    np.random.seed(1)
    list(batches)
    state = np.random.get_state()
    expected = arrays(batches)
    np.random.seed(1234)
    np.random.set_state(state)
    assert_same(arrays(batches), expected)


def test_a_whole_batch_is_asked_for_where_the_data_set_offers_it():
    asked = []

    class Batches(NDArrayDataset):
        def __getitem__(self, index):
            raise AssertionError("item by item")

        def get_batch(self, indices):
            asked.append(indices.tolist())
            return self.arrays[0][indices]

    (first, second) = loader(Batches(np.arange(5) * 1.0), 3)
    assert asked == [[0, 1, 2], [3, 4]]
    assert len(first) == 1 and second[0].numpy().tolist() == [3, 4]


def test_a_subclass_that_redefines_the_item_is_not_bypassed():
    class Negated(NDArrayDataset):
        def __getitem__(self, index):
            return tuple(-field for field in super().__getitem__(index))

    class Zeroed(ImageDataset):
        def apply_transforms(self, x):
            return x * 0

    assert next(iter(loader(Negated(np.arange(5)), 3)))[0].numpy().tolist() == [0, -1, -2]
    base = images()
    assert next(iter(loader(Zeroed(base.X, base.y), 3)))[0].numpy().max() == 0


def test_any_sequence_of_examples_is_a_data_set():
    pairs = [(np.full((2,), i), float(i), Tensor([i, i + 1], device=cpu_numpy())) for i in range(4)]
    (batch,) = loader(pairs, 4)
    assert [field.shape for field in batch] == [(4, 2), (4,), (4, 2)]
    (batch,) = loader([1.0, 2.0, 3.0], 3)
    assert len(batch) == 1 and batch[0].numpy().tolist() == [1, 2, 3]


class Fragile(Dataset):
    def __init__(self, bad, error):
        super().__init__()
        self.bad, self.error = bad, error

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == self.bad:
            raise self.error
        return np.float32(index)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("error", [KeyError("no such image"), OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_an_exception_reaches_the_loop_with_its_type_after_the_batches_before_it(num_workers, error):
    met = []
    with pytest.raises(type(error)) as raised:
        for (batch,) in loader(Fragile(9, error), 4, num_workers=num_workers):
            met.append(batch.numpy().tolist())
    assert raised.value is error
    assert met == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert worker_threads() == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stop_iteration_of_a_data_set_does_not_end_the_epoch_in_silence(num_workers):
    with pytest.raises(RuntimeError):
        list(loader(Fragile(9, StopIteration()), 4, num_workers=num_workers))


def test_leaving_the_loop_early_leaves_no_thread():
    for _ in loader(images(), 2, num_workers=3, prefetch=4):
        assert worker_threads()
        break
    assert worker_threads() == []

    def fail():
        for _ in loader(images(), 2, num_workers=2):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    gc.collect()
    assert worker_threads() == []


def test_a_batch_that_cannot_be_a_tensor_leaves_no_thread():
    """Not even while the exception, and with it the loop's frame, is being kept."""
    with pytest.raises(DTypeError, match="expected fields of numbers, met one of dtype str") as kept:
        list(loader([(1.0, "a")] * 20, 2, num_workers=2))
    assert kept.value.__traceback__ is not None
    assert worker_threads() == []


def test_an_epoch_that_is_not_begun_starts_no_thread_and_one_that_ends_leaves_none():
    batches = loader(images(), 8, num_workers=2)
    iter(batches)
    assert worker_threads() == []
    list(batches)
    assert worker_threads() == []


def test_threads_stay_the_asked_number_of_batches_ahead():
    made = []

    class Slow(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            made.append(index)
            return np.float32(index)

    batches = iter(loader(Slow(), 1, num_workers=2, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert sorted(made) == [0, 1, 2, 3]  # the one in the loop's hands, and three ahead of it


def test_two_epochs_at_once_do_not_disturb_each_other():
    batches = loader(NDArrayDataset(np.arange(12)), 4, num_workers=1)
    for (one,), (other,) in zip(batches, batches):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    "dataset, options, message",
    [
        ([1, 2], {"batch_size": 0}, "batch_size must be an integer of 1 or more, met 0"),
        ([1, 2], {"batch_size": 2.5}, "batch_size must be an integer of 1 or more, met 2.5"),
        ([1, 2], {"batch_size": True}, "batch_size must be an integer of 1 or more, met True"),
        ([1, 2], {"num_workers": -1}, "num_workers must be an integer of 0 or more, met -1"),
        ([1, 2], {"prefetch": 0}, "prefetch must be an integer of 1 or more, met 0"),
        ([], {}, "the data set is empty"),
        ([1, 2], {"batch_size": 3, "drop_last": True}, "drop_last leaves no batch: batch_size 3 of 2 examples"),
    ],
)
def test_bad_arguments(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(dataset, **options)


def test_examples_that_do_not_fit_together():
    with pytest.raises(ShapeError, match=r"field 0 differs in shape between .*, met \[\(2,\), \(3,\)\]"):
        list(loader([np.zeros(2), np.zeros(3)], 2))
    with pytest.raises(ShapeError, match=r"examples of one batch have \[1, 2\] fields"):
        list(loader([(1,), (1, 2)], 2))
    with pytest.raises(DTypeError, match="expected fields of numbers, met one of dtype str"):
        list(loader(["a", "b"], 2))


@pytest.mark.parametrize("device", [cpu(), cpu_numpy()], ids=repr)
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "transforms",
    [(), (Normalize((0.4, 0.5, 0.6), 0.3),), (RandomFlipHorizontal(), RandomCrop(3), Normalize(0.4, (0.2, 0.3, 0.4))),
     (Normalize(0.5, 0.2), RandomCrop(2)), (lambda image: image * 2, Normalize(0.5, 0.2))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_device_finishes_are_the_data_set_s_own_numbers(device, num_workers, transforms, dtype):
    dataset = images(transforms=transforms)
    np.random.seed(5)
    seed = np.random.randint(2**32, dtype=np.uint32) if transforms else 0
    expected = []
    for i in range(5):
        with use_generator(lambda: np.random.RandomState((seed, i))):
            expected.append(dataset.get_batch(np.arange(10 * i, 10 * i + 10)))
    np.random.seed(5)
    batches = list(DataLoader(dataset, 10, device=device, num_workers=num_workers, dtype=dtype))
    assert all(batch[0].dtype == dtype and batch[0].device is device for batch in batches)
    assert_same(arrays(batches), [(x.astype(dtype), y) for x, y in expected])


def test_a_subclass_that_redefines_get_batch_is_asked_for_whole_batches():
    class Doubled(ImageDataset):
        def get_batch(self, indices):
            x, y = super().get_batch(indices)
            return x * 2, y

    dataset = images(transforms=(Normalize(0.5, 0.2),))
    doubled = Doubled(dataset.X, dataset.y, dataset.transforms)
    assert_same(arrays(loader(doubled, 10)), [(2 * x, y) for x, y in arrays(loader(dataset, 10))])


def test_a_generator_is_made_only_when_something_is_drawn():
    def fail():
        raise AssertionError("made")

    with use_generator(fail):
        images(transforms=(Normalize(0.5, 0.2),)).get_batch(np.arange(3))
        with pytest.raises(AssertionError, match="made"):
            images().get_batch(np.arange(3))


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 6)])
def test_images_that_are_none(shape):
    dataset = ImageDataset(np.zeros(shape, np.uint8), np.zeros(4, np.int64), Normalize(0.5, 0.2))
    with pytest.raises(ShapeError, match=r"Normalize: expected an image of shape \(H, W, C\) or \(C, H, W\), met"):
        next(iter(loader(dataset, 2)))
