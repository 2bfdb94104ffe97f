"""State of Needle that changes between calls: parameters, buffers, checkpoints."""

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import bits, numbers, same_bits


def inputs(count, *shape):
    return [numbers(*shape, seed=i) for i in range(count)]


@same_bits
def test_the_data_of_a_parameter_is_rebound(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(8, 4, 3)):
        if i >= 4:
            linear.weight.data = numbers(3, 2, seed=i)
        see(f(x))


@same_bits
def test_the_data_of_a_parameter_is_rebound_to_another_layout(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(12, 4, 3)):
        if i == 4:
            linear.weight.data = numbers(2, 3, seed=i).detach().transpose()
        if i == 8:
            linear.weight.data = numbers(5, 2, seed=i).detach()[1:4]
        see(f(x))


@same_bits
def test_weights_change_in_place(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(8, 4, 3)):
        linear.weight.cached_data[...] = float(i)
        linear.bias.cached_data[...] = numbers(2, seed=i).cached_data
        see(f(x))


@same_bits
def test_weights_are_loaded_between_calls(jit, see):
    linear, other = nn.Linear(3, 2), nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(8, 4, 3)):
        if i == 5:
            linear.load_state_dict(other.state_dict())
        see(f(x))


@same_bits
def test_a_parameter_is_replaced_by_another_object(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(10, 4, 3)):
        if i == 5:
            linear.weight = ndl.Parameter(numbers(3, 2, seed=7))
        see(f(x))


@same_bits
def test_a_parameter_becomes_none(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(10, 4, 3)):
        if i == 5:
            linear.bias = None
        see(f(x))


@same_bits
def test_a_model_is_converted_between_calls(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x.astype(linear.weight.dtype)))
    for i, x in enumerate(inputs(10, 4, 3)):
        if i == 5:
            linear.to(dtype="float64")
        see(f(x))


@same_bits
def test_tied_weights(jit, see):
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    optimizer = optim.Adam([*first.parameters(), second.bias], lr=0.01)

    def step(x):
        optimizer.reset_grad()
        loss = (second(first(x)) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = jit(step)
    for x in inputs(6, 4, 3):
        see(step(x), first.state_dict(), second.state_dict(), first.weight.grad)


@same_bits
def test_two_tensors_share_memory_until_one_is_rebound(jit, see):
    a = numbers(3, seed=8)
    b = a.detach()
    f = jit(lambda x: x * a + b)
    for i, x in enumerate(inputs(10, 3)):
        if i == 5:
            b.data = numbers(3, seed=9)
        see(f(x))


@same_bits
def test_one_of_two_tensors_that_share_memory_is_transposed(jit, see):
    a, b = numbers(3, 3), numbers(3, 3)
    b.data = a
    f = jit(lambda x: x * (a + 2 * b))
    for i, x in enumerate(inputs(8, 3, 3)):
        if i == 4:
            b.data = a.transpose()
        see(f(x))


@same_bits
def test_two_tensors_begin_to_share_memory(jit, see):
    a, b = numbers(3, seed=8), numbers(3, seed=9)

    def f(x):
        a.cached_data[...] = (a + x).cached_data
        return a + b

    f = jit(f)
    for i, x in enumerate(inputs(10, 3)):
        if i == 5:
            b.data = a
        see(f(x), a, b)


@same_bits
def test_a_moving_average_of_weights(jit, see):
    model, average = nn.Linear(3, 2), nn.Linear(3, 2)
    average.load_state_dict(model.state_dict())
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()
        for mean, weight in zip(average.parameters(), model.parameters()):
            mean.data = mean.data * 0.9 + weight.data * 0.1

    step = jit(step)
    for x in inputs(6, 4, 3):
        step(x)
        see(model.parameters(), average.parameters())


@same_bits
def test_a_parameter_is_frozen_between_calls(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        linear.weight.grad = linear.bias.grad = None
        (linear(x) ** 2).sum().backward()

    step = jit(step)
    for i, x in enumerate(inputs(10, 4, 3)):
        linear.weight.requires_grad = i < 5
        step(x)
        see(linear.weight.grad, linear.bias.grad)


@same_bits
def test_a_tensor_begins_to_require_a_gradient(jit, see):
    scale = numbers(3)
    f = jit(lambda x: x * scale)
    for i, x in enumerate(inputs(10, 3)):
        scale.requires_grad = i >= 5
        see(f(x))


@same_bits
def test_running_statistics_are_set_back(jit, see):
    norm = nn.BatchNorm1d(3)
    f = jit(lambda x: norm(x))
    for i, x in enumerate(inputs(8, 4, 3)):
        if i == 5:
            norm.running_mean.data = ndl.Tensor([1.0, 2.0, 3.0])
        see(f(x), norm.running_mean, norm.running_var)


@same_bits
def test_copies_of_running_statistics_are_held(jit, see):
    norm = nn.BatchNorm1d(3)
    f = jit(lambda x: norm(x))
    for x in inputs(8, 4, 3):
        see(f(x), norm.running_mean, norm.running_mean.cached_data.copy(), norm.state_dict())


@same_bits
def test_a_checkpoint_in_the_middle(jit, see):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    schedule = optim.StepLR(optimizer, 2, 0.5)

    def step(x):
        optimizer.reset_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    step = jit(step)
    stateful = model, optimizer, schedule
    for i, x in enumerate(inputs(10, 4, 3)):
        if i == 4:
            states = [thing.state_dict() for thing in stateful], ndl.backend_ndarray.random.get_state()
        if i == 7:
            for thing, state in zip(stateful, states[0]):
                thing.load_state_dict(state)
            ndl.backend_ndarray.random.set_state(states[1])
        see(step(x), model.state_dict(), [bits(array) for array in optimizer.state_dict().values()])


@same_bits
def test_the_state_of_an_lstm_goes_from_call_to_call(jit, see):
    model = nn.LSTM(3, 4)
    f = jit(lambda x, state: model(x, state))
    state = (ndl.zeros_like(numbers(1, 2, 4)), ndl.zeros_like(numbers(1, 2, 4)))
    for x in inputs(7, 5, 2, 3):
        y, state = f(x, state)
        state = tuple(s.detach() for s in state)
        see(y, state)


@same_bits
def test_the_state_of_an_lstm_stays_in_tensors_of_the_module(jit, see):
    model = nn.LSTMCell(3, 4)
    h, c = ndl.zeros_like(numbers(2, 4)), ndl.zeros_like(numbers(2, 4))

    def f(x):
        new_h, new_c = model(x, (h, c))
        h.data, c.data = new_h, new_c
        return new_h * 2

    f = jit(f)
    for x in inputs(7, 2, 3):
        see(f(x), h, c)


@same_bits
def test_several_functions_over_one_model(jit, see):
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def train(x):
        optimizer.reset_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    train, predict, decay = jit(train), jit(lambda x: model(x)), jit(lambda f: model.weight * f)
    for i, x in enumerate(inputs(7, 4, 3)):
        train(x)
        see(predict(x), model.parameters())
        model.weight.data = decay(0.9)
        see(predict(x), model.weight)
