"""State that a function replaces: attributes, entries, globals and closures that are another Tensor after each call."""

import numpy as np

import needle as ndl
from needle import nn
from tests.compiler.scenarios import numbers, refused, same_bits


class M:
    """An object with attributes."""


@same_bits
def test_two_attributes_are_exchanged(jit, see):
    m = M()
    m.a, m.b = numbers(3, seed=1), numbers(3, seed=2)

    def f():
        m.a, m.b = m.b, m.a

    f = jit(f)
    for i in range(8):
        f()
        see(m.a, m.b)


@same_bits
def test_two_attributes_are_exchanged_and_computed(jit, see):
    m = M()
    m.a, m.b = numbers(3, seed=1), numbers(3, seed=2)

    def f(x):
        m.a, m.b = m.b, m.a + x
        return m.a * 2

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.a, m.b)


@same_bits
def test_an_attribute_becomes_an_argument(jit, see):
    m = M()
    m.last = numbers(3)

    def f(x):
        y = x + m.last
        m.last = x
        return y

    f = jit(f)
    for i in range(8):
        x = numbers(3, seed=i)
        see(f(x), m.last, m.last is x)


@same_bits
def test_an_attribute_becomes_the_result(jit, see):
    m = M()
    m.last = numbers(3)

    def f(x):
        y = x + m.last
        m.last = y
        return y

    f = jit(f)
    for i in range(8):
        y = f(numbers(3, seed=i))
        see(y, m.last is y)
        y.cached_data[...] = 1.0
        see(m.last)


@same_bits
def test_earlier_states_are_held(jit, see):
    m = M()
    m.h = numbers(3)
    held = []

    def f(x):
        m.h = m.h * 0.5 + x

    f = jit(f)
    for i in range(8):
        held.append(m.h)
        f(numbers(3, seed=i))
    see(held, m.h)


@same_bits
def test_a_state_becomes_none_between_calls(jit, see):
    m = M()
    m.h = None

    def f(x):
        y = x if m.h is None else x + m.h
        m.h = y * 2
        return y

    f = jit(f)
    for i in range(12):
        if i in (6, 9):
            m.h = None
        see(f(numbers(3, seed=i)), m.h)


@same_bits
def test_entries_of_a_list_are_replaced(jit, see):
    hs = [numbers(3), numbers(3, seed=5)]

    def f(x):
        for i in range(2):
            hs[i] = hs[i] * 0.5 + x
            x = hs[i] * 2
        return x

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), hs)


@same_bits
def test_a_list_of_states_becomes_shorter_between_calls(jit, see):
    hs = [numbers(3), numbers(3, seed=5)]

    def f(x):
        for i in range(len(hs)):
            hs[i] = hs[i] * 0.5 + x
        return x * 2

    f = jit(f)
    for i in range(12):
        if i in (1, 7):
            hs.pop()
        if i == 4:
            hs.append(numbers(3, seed=6))
        see(f(numbers(3, seed=i)), hs)


@same_bits
def test_a_list_of_states_is_replaced(jit, see):
    m = M()
    m.hs = [numbers(3), numbers(3, seed=5)]

    def f(x):
        m.hs = [h * 0.5 + x for h in m.hs]
        return m.hs[0] * 2

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.hs)


@same_bits
def test_a_tuple_of_states_is_replaced(jit, see):
    m = M()
    m.hc = (numbers(3), numbers(3, seed=5))

    def f(x):
        h, c = m.hc
        c = c * 0.5 + x
        h = h + c
        m.hc = (h, c)
        return h

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.hc)


@same_bits
def test_a_state_shares_memory_with_the_result(jit, see):
    m = M()
    m.h = numbers(3)

    def f(x):
        y = m.h * 0.5 + x
        m.h = y.detach()
        return y

    f = jit(f)
    for i in range(8):
        y = f(numbers(3, seed=i))
        y.cached_data[...] = float(i)
        see(y, m.h)


@same_bits
def test_a_window_moves(jit, see):
    m = M()
    m.h = numbers(4)

    def f(x):
        m.h = ndl.concatenate([m.h[1:], x], 0)
        return m.h.sum()

    f = jit(f)
    for i in range(9):
        if i == 6:
            m.h = numbers(4, seed=77)
        see(f(numbers(1, seed=i)), m.h)


@same_bits
def test_a_global_is_replaced(jit, see):
    globals()["H"] = numbers(3)

    def f(x):
        global H
        H = H * 0.5 + x
        return H * 1

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), H)


@same_bits
def test_a_variable_of_a_closure_is_replaced(jit, see):
    h = numbers(3)

    def f(x):
        nonlocal h
        h = h * 0.5 + x
        return h * 1

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), h)


@same_bits
def test_two_attributes_are_one_tensor(jit, see):
    m = M()
    m.a = numbers(3)
    m.b = m.a

    def f(x):
        m.a = m.a + x
        return m.a + m.b

    f = jit(f)
    for i in range(9):
        if i == 6:
            m.b = m.a
        see(f(numbers(3, seed=i)), m.a, m.b)


@same_bits
def test_a_parameter_is_replaced_inside(jit, see):
    l = nn.Linear(3, 2)

    def f(x):
        l.weight = ndl.Parameter(l.weight.detach() * 0.9)
        return l(x)

    f = jit(f)
    for i in range(8):
        see(f(numbers(4, 3, seed=i)), l.weight, len(l.parameters()), type(l.weight).__name__)


@same_bits
def test_the_state_of_an_lstm_is_none_at_the_start_of_a_sequence(jit, see):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.state = nn.LSTMCell(3, 4), None

        def forward(self, x):
            h, c = self.cell(x, self.state)
            self.state = (h.detach(), c.detach())
            return h * 2

    net = Net()
    f = jit(net)
    for i in range(24):
        if i % 4 == 0:
            net.state = None
        see(f(numbers(2, 3, seed=i)), net.state)


@same_bits
def test_states_in_nested_containers(jit, see):
    m = M()
    m.states = [(numbers(3), numbers(3, seed=1)), {"a": numbers(3, seed=2)}]

    def f(x):
        (a, b), d = m.states
        m.states = [(b, a + x), {"a": d["a"] * x}]
        return a

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.states)


@same_bits
def test_a_state_in_a_slot(jit, see):
    class WithSlot:
        __slots__ = ("h",)

    m = WithSlot()
    m.h = numbers(3)

    def f(x):
        m.h = m.h + x
        return m.h * 1

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.h)


@same_bits
def test_a_state_begins_to_require_gradients(jit, see):
    m = M()
    m.h = numbers(3)

    def f(x):
        y = m.h * 0.5 + x
        m.h = y
        return y

    f = jit(f)
    for i in range(10):
        if i == 6:
            m.h = numbers(3, seed=77, requires_grad=True)
        see(f(numbers(3, seed=i)), m.h)


@same_bits
def test_a_state_becomes_a_number_or_an_array_of_numpy_between_calls(jit, see):
    m = M()
    m.h = numbers(3)

    def f(x):
        m.h = x + m.h * 0.5
        return m.h * 1

    f = jit(f)
    for i in range(12):
        if i in (6, 9):
            m.h = 3.0 if i == 6 else np.float32(2.0)
        see(f(numbers(3, seed=i)), m.h)


@same_bits
def test_a_state_is_one_of_the_weights(jit, see):
    linear, m = nn.Linear(3, 3), M()
    m.last = numbers(3, 3)

    def f(x):
        y = linear(x) @ m.last
        m.last = linear.weight
        return y

    f = jit(f)
    for i in range(12):
        if i == 8:
            linear.weight.requires_grad = False
        if i == 10:
            linear.weight = ndl.Parameter(numbers(3, 3, seed=9))
        see(f(numbers(3, 3, seed=i)), m.last is linear.weight, m.last)


@same_bits
def test_the_first_state_is_held_elsewhere(jit, see):
    m = M()
    m.state = m.first = (numbers(3), numbers(3, seed=1))

    def f(x):
        m.state = (m.state[0] + m.first[1], m.state[1] * x)
        return m.state[0] * m.first[0]

    f = jit(f)
    for i in range(12):
        if i == 7:
            m.first = m.state
        if i == 9:
            m.first[0].requires_grad = True
        see(f(numbers(3, seed=i)), m.state, m.first)


@refused("another object")
def test_a_list_changes_before_it_is_replaced(jit, see):
    m = M()
    m.hs = [numbers(3), numbers(3, seed=5)]

    def f(x):
        m.hs[0] = m.hs[0] + x
        m.hs = [m.hs[1], m.hs[0]]
        return m.hs[0] * 2

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), m.hs)


@refused("m.hc has other shapes or plain values")
def test_a_state_with_a_counter(jit, see):
    m = M()
    m.hc = (numbers(3), 0)

    def f(x):
        m.hc = (m.hc[0] + x, m.hc[1] + 1)
        return m.hc[0] * 2

    f = jit(f)
    for i in range(16):
        see(f(numbers(3, seed=i)), m.hc)
