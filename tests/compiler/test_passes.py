"""What passes over a program may not change: effects, errors, special values, and which results share memory."""

import numpy as np

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, same_bits


class M:
    """An object with attributes."""


@same_bits
def test_a_call_is_made_twice(jit, see):
    f = jit(lambda x: (x * 2 + x * 2, x * 3 - x * 2, (x * 2).sum() + (x * 2).sum()))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_a_call_is_made_twice_with_a_change_between(jit, see):
    a = numbers(3)

    def f(x):
        p = (a * 2).detach()
        a.cached_data[...] = x.cached_data
        q = (a * 2).detach()
        return p, q

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=i)), a)


@same_bits
def test_one_of_two_equal_results_changes_inside(jit, see):
    def f(x):
        p = (x * 2).detach()
        q = (x * 2).detach()
        p.cached_data[0] = 5.0
        return p, q

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_equal_results_do_not_share_memory(jit, see):
    f = jit(lambda x: (x * 2, x * 2))
    for i in range(6):
        p, q = f(numbers(3, seed=i))
        p.cached_data[...] = 0.0
        see(p, q)


@same_bits
def test_constant_results_do_not_share_memory(jit, see):
    f = jit(lambda x: (ndl.init.zeros(3) + 0, ndl.Tensor([1.0, 2.0, 3.0]), ndl.init.ones(3), x))
    for i in range(8):
        r = f(numbers(3, seed=i))
        see(r)
        for t in r[:3]:
            t.cached_data[...] = 9.0


@same_bits
def test_gradients_begin_as_zeros(jit, see):
    l = nn.Linear(3, 2)

    def f(x):
        for p in l.parameters():
            p.grad = ndl.zeros_like(p)
        (l(x) ** 2).sum().backward()

    f = jit(f)
    for i in range(8):
        f(numbers(4, 3, seed=i))
        see(l.weight.grad, l.bias.grad)
        l.weight.grad.cached_data[...] = 7.0


@same_bits
def test_a_state_is_set_to_a_constant(jit, see):
    m = M()
    m.h = numbers(3)

    def f(x):
        m.h = ndl.init.zeros(3)
        return x + m.h

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.h)
        m.h.cached_data[...] = 4.0


@same_bits
def test_unused_random_numbers_are_drawn(jit, see):
    d = nn.Dropout(0.5)

    def f(x):
        d(x)
        return x * 2

    f = jit(f)
    g = ndl.backend_ndarray.random
    for i in range(6):
        see(f(numbers(3, seed=i)), g.get_state())


@same_bits
def test_random_numbers_are_drawn_twice(jit, see):
    d = nn.Dropout(0.5)
    f = jit(lambda x: (d(x), d(x)))
    for i in range(6):
        see(f(numbers(8, seed=i)))


@same_bits
def test_unused_results_have_effects(jit, see):
    b = nn.BatchNorm1d(3)

    def f(x):
        b(x)
        b(x)
        return x * 2

    f = jit(f)
    for i in range(6):
        see(f(numbers(4, 3, seed=i)), b.state_dict())


@same_bits
def test_labels_out_of_range_of_an_unused_result(jit, see):
    def f(x, y):
        ndl.softmax_cross_entropy(x, y)
        return x * 2

    f = jit(f)
    for i in range(8):
        try:
            see(f(numbers(2, 3, seed=i), ndl.Tensor(np.array([0, 9 if i == 6 else 1]), requires_grad=False)))
        except ndl.ShapeError as e:
            see(str(e))


@same_bits
def test_indices_out_of_range_of_an_unused_result(jit, see):
    def f(x, y):
        x[y]
        ndl.gather(x, y)
        return x * 2

    f = jit(f)
    for i in range(8):
        try:
            see(f(numbers(3, 3, seed=i), ndl.Tensor(np.array([0, 9 if i == 6 else 1]), requires_grad=False)))
        except Exception as e:
            see(type(e).__name__)


@same_bits
def test_relu_of_special_values(jit, see):
    f = jit(
        lambda x: (
            ndl.relu(x),
            ndl.relu(x * 2 + 1),
            ndl.maximum(x, 0.0),
            ndl.add_relu(x, x),
            ndl.where(x > 0, x, 0 * x),
        )
    )
    for i in range(6):
        x = numbers(8, seed=i)
        x.cached_data[0] = float("nan")
        x.cached_data[1] = -0.0
        x.cached_data[2] = float("inf")
        x.cached_data[3] = -float("inf")
        see(f(x))


@same_bits
def test_the_input_of_relu_is_used_again(jit, see):
    l = nn.Linear(4, 4)
    r = nn.ReLU()

    def f(x):
        l.weight.grad = l.bias.grad = None
        h = l(x)
        y = r(h)
        (y * h).sum().backward()
        return h, y

    f = jit(f)
    for i in range(6):
        see(f(numbers(4, 4, seed=i)), l.weight.grad)


@same_bits
def test_the_input_of_relu_is_a_result(jit, see):
    f = jit(lambda x: (lambda h: (h, ndl.relu(h), ndl.relu(h) + h))(x * 2))
    for i in range(6):
        see(f(numbers(8, seed=i)))


@same_bits
def test_relu_of_an_argument(jit, see):
    f = jit(lambda x: ndl.relu(x))
    for i in range(6):
        x = numbers(8, seed=i)
        see(f(x), x)


@same_bits
def test_a_chain_over_dtypes(jit, see):
    def f(x):
        a = x.astype("float16")
        b = a * 2 + x
        c = b.astype("bfloat16")
        d = (c * c).astype("int32")
        return a, b, c, d, (d > 0), (x > 0) * x, ndl.where(d > 0, a, c)

    f = jit(f)
    for i in range(6):
        see(f(numbers(40, seed=i)))


@same_bits
def test_a_chain_with_broadcasts(jit, see):
    def f(x, y):
        return (
            ((x + y) * 2 - y).sum(0),
            (x * y).sum(1),
            ndl.exp(x) / ndl.exp(x).sum(1).reshape(5, 1).broadcast_to((5, 7)),
        )

    f = jit(f)
    for i in range(6):
        see(f(numbers(5, 7, seed=i), numbers(1, 7, seed=i + 9).broadcast_to((5, 7))))


@same_bits
def test_a_chain_over_strides(jit, see):
    def f(x):
        return (
            (x[::2] * 2 + 1)[::-1],
            (x.transpose() * 2 + x.transpose()).reshape(-1) if x.shape[0] == x.shape[1] else x,
            ndl.flip(x, 0) * x,
        )

    f = jit(f)
    for i in range(6):
        see(f(numbers(6, 6, seed=i)))


@same_bits
def test_views_of_a_temporary_that_changes(jit, see):
    def f(x):
        y = (x * 2).detach()
        z = y[1:]
        y.cached_data[...] = (y + 1).cached_data
        w = (z * 3).detach()
        y.cached_data[0] = w.cached_data[0]
        return y * 1, z * 1, w

    f = jit(f)
    for i in range(6):
        see(f(numbers(5, seed=i)))


@same_bits
def test_a_copy_within_one_array(jit, see):
    def f(x):
        y = (x * 1).detach()
        y.cached_data[1:] = y.cached_data[:-1]
        return y * 2

    f = jit(f)
    for i in range(6):
        see(f(numbers(9, seed=i)))


@same_bits
def test_arrays_that_threads_share(jit, see):
    f = jit(lambda x: (ndl.relu(x * 2 + 1) * x).sum(0) + ndl.tanh(x).mean(0))
    for i in range(5):
        see(f(numbers(300, 1000, seed=i)))


@same_bits
def test_checked_steps_of_training(jit, see):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    schedule = optim.StepLR(optimizer, 1, 0.5)

    def step(x):
        optimizer.reset_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    step = jit(step, check=True)
    for i in range(8):
        see(step(numbers(4, 3, seed=i)), model.state_dict(), optimizer.lr, optimizer.steps)
        see([p.grad for p in model.parameters()], ndl.backend_ndarray.random.get_state())


@same_bits
def test_checked_inference(jit, see):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    f = jit(lambda x: model(x), check=True)
    for i in range(8):
        see(f(numbers(4, 3, seed=i)), model.state_dict(), ndl.backend_ndarray.random.get_state())
