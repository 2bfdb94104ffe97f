"""What a function does besides: it stores, appends and counts, in places that a replay does not know."""

import collections
import dataclasses
import numpy as np
from tests.compiler.scenarios import numbers, refused, same_bits


@dataclasses.dataclass
class Log:
    losses: list


@refused("is new")
def test_a_result_is_appended_to_a_list(jit, see):
    losses = []

    def f(x):
        losses.append(x * 2)
        return x

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(losses)


@same_bits
def test_a_result_is_stored_in_an_object(jit, see):
    log = Log([])

    def f(x):
        log.losses = [x * 2]
        return x

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(log.losses)


@same_bits
def test_a_result_is_stored_in_a_dict(jit, see):
    cache = {}

    def f(x):
        cache["last"] = x * 2
        return x

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(cache)


@refused("last has changed")
def test_a_result_is_stored_in_a_deque(jit, see):
    last = collections.deque(maxlen=3)

    def f(x):
        last.append(x * 2)
        return x

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(list(last))


@refused("kept by something|is new|entries")
def test_an_argument_is_appended_to_a_list(jit, see):
    seen = []

    def f(x):
        seen.append(x)
        return x * 2

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(seen)


@refused("")
def test_an_argument_is_appended_to_a_deque(jit, see):
    seen = collections.deque()

    def f(x):
        seen.append(x)
        return x * 2

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(list(seen))


@refused("")
def test_numbers_are_appended_to_a_deque(jit, see):
    seen = collections.deque()

    def f(x):
        seen.append(len(seen))
        return x * 2

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(list(seen))


@refused("")
def test_a_numpy_array_changes_inside(jit, see):
    counts = np.zeros(2)

    def f(x):
        counts[0] += 1
        return x * 2

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(counts.copy())


@refused("changes what it depends on")
def test_a_counter_in_an_attribute_of_the_function(jit, see):
    def f(x):
        inner.calls += 1
        return x * 2

    inner = f
    inner.calls = 0
    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(inner.calls)


@refused("changes what it depends on")
def test_two_counters_of_one_name(jit, see):
    def make():
        count = 0

        def add():
            nonlocal count
            count += 1

        return add, lambda: count

    (first, read), (_, zero) = make(), make()

    def f(x):
        first()
        return x * 2 + zero()

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(read())


@same_bits
def test_a_state_is_replaced_in_an_attribute(jit, see):
    class Model:
        def __init__(self):
            self.h = numbers(3)

        def step(self, x):
            self.h = self.h * 0.5 + x
            return self.h * 2

    model = Model()
    step = jit(model.step)
    for i in range(6):
        see(step(numbers(3, seed=i)))


@same_bits
def test_a_flag_is_cleared_now_and_then(jit, see):
    """Calls between which others are replayed do not count as a function that never settles."""
    log = Log([])
    log.is_new = True

    def f(x):
        if log.is_new:
            log.is_new = False
            return x
        return x * 2

    f = jit(f)
    for i in range(30):
        if i % 5 == 0:
            log.is_new = True
        see(f(numbers(3, seed=i)), log.is_new)


@same_bits
def test_every_fifth_call_is_another(jit, see):
    """So do calls that are recorded and met once only, if others are replayed between them."""
    log = Log([])
    f = jit(lambda x: x * log.factor)
    for i in range(80):
        log.factor = i if i % 5 == 4 else 1.0
        see(f(numbers(3, seed=i)))
