"""The kernel table: one line for every kernel of a backend, with its operands and what it computes.

A backend is a module with one function per kernel, whose arrays are NDArrays, and with

    allocate(shape, strides, dtype, device)     an uninitialized NDArray, whose strides leave no gaps
    view(ndarray, shape, strides, offset)       another NDArray over the same buffer
    scalar(value, dtype_code)                   a number as an operand beside arrays of that dtype
    elementwise[kernel](a) or (a, b)            the result as a new NDArray, for operands that need no conversion, or
                                                None, and then elementwise.py does it (kernels/bindings/elementwise.h)
    reductions[kernel](a, axes, keepdims)       likewise for sum, max and min, and reduce.py (reduction.h)
    program(steps, memories, results, changed)  kernel calls that run in one go (kernels/bindings/program.h)
    Array(buffer, dtype_code, shape, strides, offset)   what a kernel reads of an NDArray

A buffer has an attribute `changed_at`, initially 0, which Needle sets (changes.py). If the memory is the host's, a
buffer supports Python's buffer protocol. Otherwise the module also has `upload`, `read` and `begin_read`. If it counts
its memory, it has `memory_stats` and `reset_peak_memory`. backend_cuda.pyi says what these take and return. If there
may be several devices, all of this is on what the module's `device(index)` returns.

backend_numpy.py is the reference implementation: every other backend is tested against it, over all dtypes and strides
(tests/backend_ndarray/test_conformance.py).

This file is the only place that lists kernels. At build time kernels/common/generate_kernel_list.py generates the C++
header kernel_list.h from it, on which the kernels' declarations, their tables and the Python bindings are based. This
file imports nothing from Needle.

The operands of a line have the form

    operands read -> operands written; numbers

An operand on both sides is read and written, `name[]` is a list of arrays, and a number or what else is no array follows
its type (`float eps`).
A call takes the operands in this order, each once.

Rules that hold for every kernel:

- The caller allocates the outputs, and the kernel overwrites them. An output of an element-wise or optimizer kernel may
  be the same array as an operand; otherwise outputs do not overlap with inputs. Checks run before any output is
  touched.
- Operands may have any strides. Floating operands and outputs of one call share one dtype unless stated otherwise;
  float16 and bfloat16 are computed in float32.
- Element-wise operands have the shape of `out` or are 0-d (arrays or scalars); a broadcast axis has stride 0. A scalar
  beside a half type need not be representable in it: arithmetic and comparisons use it as a float32, `copy` and `where`
  round it.
- A reduction writes to an `out` with extent 1 along every reduced axis.
- Images are (N, H, W, C), convolution weights (K_h, K_w, C_in, C_out). Normalization and softmax work along the last
  axis of `x` and treat the leading axes as rows.
"""

from __future__ import annotations

from typing import NamedTuple

# Kinds of kernels
COPY = "copy"
ELEMENTWISE = "element-wise"  # out has the dtype of the operands
COMPARISON = "comparison"  # element-wise, and out is bool
REDUCTION = "reduction"
PRODUCT = "product"
CONVOLUTION = "convolution"
POOLING = "pooling"
NORMALIZATION = "normalization"
SOFTMAX = "softmax"
RECURRENT = "recurrent"
INDEXING = "indexing"
RANDOM = "random"
OPTIMIZER = "optimizer"

# Dtypes of operands
ANY = "any"
NUMBERS = "numbers"  # any but bool
FLOATING = "floating"
BOOL = "bool"


class Operand(NamedTuple):
    """One operand of a kernel."""

    name: str
    type: str  # "array", "arrays" (a list of them), for a number "float", "int" or "bool", or "instructions"
    is_read: bool
    is_written: bool


class Kernel(NamedTuple):
    """One line of the table."""

    name: str
    kind: str
    dtypes: str
    operands: tuple[Operand, ...]  # in the order of a call
    libraries: tuple[str, ...]  # that provide it besides Needle: "onednn" for CPUs, "nvidia" for GPUs
    doc: str


def _kernel(name: str, kind: str, dtypes: str, operands: str, doc: str, libraries: str = "") -> Kernel:
    read, _, rest = operands.partition("->")
    written, _, numbers = rest.partition(";")
    reads, writes = ([item.strip() for item in part.split(",") if item.strip()] for part in (read, written))
    in_order = dict.fromkeys([*reads, *writes, *(item.strip() for item in numbers.split(",") if item.strip())])
    return Kernel(
        name, kind, dtypes, tuple(_operand(item, reads, writes) for item in in_order), tuple(libraries.split()), doc
    )


def _operand(item: str, reads: list[str], writes: list[str]) -> Operand:
    number_type, _, name = item.rpartition(" ")
    kind = number_type or ("arrays" if name.endswith("[]") else "array")
    return Operand(name.removesuffix("[]"), kind, item not in writes or item in reads, item in writes)


_LIST = [
    _kernel("copy", COPY, ANY, "a -> out",
            "a in out's dtype; floats to integers truncate and saturate, NaN gives 0; to bool is != 0"),

    # Functions of one element
    _kernel("negate", ELEMENTWISE, NUMBERS, "a -> out", "-a"),
    _kernel("abs", ELEMENTWISE, NUMBERS, "a -> out", "|a|"),
    _kernel("sign", ELEMENTWISE, NUMBERS, "a -> out", "-1, 0 or 1; NaN stays NaN"),
    _kernel("relu", ELEMENTWISE, NUMBERS, "a -> out", "max(a, 0); NaN stays NaN"),
    _kernel("floor", ELEMENTWISE, FLOATING, "a -> out", "the largest whole number not above a"),
    _kernel("ceil", ELEMENTWISE, FLOATING, "a -> out", "the smallest whole number not below a"),
    _kernel("exp", ELEMENTWISE, FLOATING, "a -> out", "e^a"),
    _kernel("log", ELEMENTWISE, FLOATING, "a -> out", "the natural logarithm"),
    _kernel("sqrt", ELEMENTWISE, FLOATING, "a -> out", "the square root"),
    _kernel("sin", ELEMENTWISE, FLOATING, "a -> out", "the sine"),
    _kernel("cos", ELEMENTWISE, FLOATING, "a -> out", "the cosine"),
    _kernel("tanh", ELEMENTWISE, FLOATING, "a -> out", "the hyperbolic tangent"),
    _kernel("sigmoid", ELEMENTWISE, FLOATING, "a -> out", "1 / (1 + e^-a)"),
    _kernel("erf", ELEMENTWISE, FLOATING, "a -> out", "the error function"),
    _kernel("gelu", ELEMENTWISE, FLOATING, "a -> out",
            "a * P(X <= a) for a standard normal X, a / 2 * (1 + erf(a / sqrt(2)))"),
    _kernel("logical_not", ELEMENTWISE, BOOL, "a -> out", "not a"),

    # Functions of two elements. Integers wrap around
    _kernel("add", ELEMENTWISE, ANY, "a, b -> out", "a + b; `or` for bool"),
    _kernel("subtract", ELEMENTWISE, NUMBERS, "a, b -> out", "a - b"),
    _kernel("multiply", ELEMENTWISE, ANY, "a, b -> out", "a * b; `and` for bool"),
    _kernel("divide", ELEMENTWISE, FLOATING, "a, b -> out", "a / b"),
    _kernel("floor_divide", ELEMENTWISE, NUMBERS, "a, b -> out", "floor(a / b); an integer divided by 0 gives 0"),
    _kernel("remainder", ELEMENTWISE, NUMBERS, "a, b -> out",
            "a - b * floor(a / b), which has the sign of b; of an integer divided by 0 it is 0"),
    _kernel("power", ELEMENTWISE, NUMBERS, "a, b -> out", "a^b; integers to a negative power give 0 unless a is 1 or -1"),
    _kernel("maximum", ELEMENTWISE, ANY, "a, b -> out", "the larger one; NaN if either is"),
    _kernel("minimum", ELEMENTWISE, ANY, "a, b -> out", "the smaller one; NaN if either is"),
    _kernel("add_relu", ELEMENTWISE, NUMBERS, "a, b -> out", "max(a + b, 0); NaN stays NaN"),
    _kernel("relu_backward", ELEMENTWISE, NUMBERS, "grad_out, a -> out", "a <= 0 ? 0 : grad_out, so NaN passes it"),
    _kernel("sigmoid_backward", ELEMENTWISE, FLOATING, "grad_out, y -> out", "grad_out * y * (1 - y) with y = sigmoid(a)"),
    _kernel("tanh_backward", ELEMENTWISE, FLOATING, "grad_out, y -> out", "grad_out * (1 - y * y) with y = tanh(a)"),
    _kernel("gelu_backward", ELEMENTWISE, FLOATING, "grad_out, a -> out",
            "grad_out * (P(X <= a) + a * p(a)) with X's density p"),
    _kernel("logical_and", ELEMENTWISE, BOOL, "a, b -> out", "a and b"),
    _kernel("logical_or", ELEMENTWISE, BOOL, "a, b -> out", "a or b"),
    _kernel("logical_xor", ELEMENTWISE, BOOL, "a, b -> out", "a != b"),
    _kernel("equal", COMPARISON, ANY, "a, b -> out", "a == b"),
    _kernel("not_equal", COMPARISON, ANY, "a, b -> out", "a != b"),
    _kernel("less", COMPARISON, ANY, "a, b -> out", "a < b"),
    _kernel("less_equal", COMPARISON, ANY, "a, b -> out", "a <= b"),

    # A function of three elements
    _kernel("where", ELEMENTWISE, ANY, "condition, a, b -> out", "condition ? a : b; condition is bool"),

    # Any of the above as instructions (kernel, out, a, ...): a tuple of at most 64, each of which reads and writes
    # registers. Registers 0, 1, ... are the inputs, which may be scalars, and the next ones the outputs, which have one
    # shape; together at most 16. Others hold temporary results. Each is written once, before it is read. `copy` takes
    # the dtype code of its result, too: ("copy", out, a, code). An output may be the same array as an input, whose
    # register keeps the values from before
    _kernel("fused", ELEMENTWISE, ANY, "inputs[] -> outputs[]; instructions instructions",
            "what the kernels of the instructions compute one after another, to the bit"),
    _kernel("fused_sum", REDUCTION, ANY, "inputs[] -> outputs[], total; instructions instructions, int summed",
            "`fused`, whose outputs may be none, and the sum of the register `summed`, to the bit"),

    # Reductions. Sums of integers wrap around
    _kernel("sum", REDUCTION, NUMBERS, "a -> out", "0 of nothing; where a is of a half type, out may be float32"),
    _kernel("sum_of_squares", REDUCTION, FLOATING, "a -> out", "sum of a * a; out is float64 if a is, else float32"),
    _kernel("max", REDUCTION, ANY, "a -> out", "NaN if there is one; of one element or more"),
    _kernel("min", REDUCTION, ANY, "a -> out", "NaN if there is one; of one element or more"),
    _kernel("argmax", REDUCTION, ANY, "a -> out",
            "along one axis, the first of the largest, or of the NaNs; out is int64"),
    _kernel("argmin", REDUCTION, ANY, "a -> out",
            "along one axis, the first of the smallest, or of the NaNs; out is int64"),

    _kernel("matmul", PRODUCT, ANY, "a, b -> out",
            "(..., m, k) @ (..., k, n), the leading axes equal; 0 where k is 0", "onednn nvidia"),
    _kernel("linear", PRODUCT, FLOATING, "x, weight, bias -> out; bool relu",
            "x (m, k) @ weight (k, n) + bias (n,), or relu of it", "onednn nvidia"),

    _kernel("conv2d", CONVOLUTION, FLOATING, "x, weight -> out; int stride, int padding",
            "out[n, i, j, f] = sum over h, w, c of x[n, i*stride+h-padding, j*stride+w-padding, c] * weight[h, w, c, f]",
            "onednn nvidia"),
    _kernel("conv2d_bias", CONVOLUTION, FLOATING, "x, weight, bias -> out; int stride, int padding",
            "the same + bias (C_out,)", "onednn nvidia"),
    _kernel("conv2d_backward_data", CONVOLUTION, FLOATING, "grad_out, weight -> grad_x; int stride, int padding",
            "the gradient of x", "onednn nvidia"),
    _kernel("conv2d_backward_weight", CONVOLUTION, FLOATING, "x, grad_out -> grad_weight; int stride, int padding",
            "the gradient of weight", "onednn nvidia"),

    # Over windows of kernel x kernel pixels
    _kernel("max_pool2d", POOLING, FLOATING, "x -> out; int kernel, int stride, int padding",
            "the padding is not looked at; NaN if there is one", "nvidia"),
    _kernel("max_pool2d_backward", POOLING, FLOATING, "x, grad_out -> grad_x; int kernel, int stride, int padding",
            "to the first of a window's largest elements"),
    _kernel("avg_pool2d", POOLING, FLOATING, "x -> out; int kernel, int stride, int padding",
            "the padding's zeros are counted", "onednn nvidia"),
    _kernel("avg_pool2d_backward", POOLING, FLOATING, "grad_out -> grad_x; int kernel, int stride, int padding",
            "the gradient of x", "onednn nvidia"),

    # (x - mean) / sqrt(variance + eps) * weight + bias, or relu of it. If x, out and their gradients are of a half
    # type, the rest may be float32
    _kernel("batch_norm", NORMALIZATION, FLOATING,
            "x, weight, bias, running[] -> out, mean, variance, running[]; float eps, float momentum, bool relu",
            "x (..., C), the rest (C,); mean and biased variance over the rows. running is empty or holds the running mean "
            "and the running variance: r += momentum * (s - r), with the statistic s rounded to r's dtype", "onednn"),
    _kernel("batch_norm_inference", NORMALIZATION, FLOATING,
            "x, weight, bias, mean, variance -> out; float eps, bool relu", "with given mean and variance", "onednn"),
    _kernel("batch_norm_backward", NORMALIZATION, FLOATING,
            "grad_out, x, weight, bias, mean, variance -> grad_x, grad_weight, grad_bias; float eps, bool relu",
            "the gradients of batch_norm", "onednn"),
    _kernel("layer_norm", NORMALIZATION, FLOATING, "x, weight, bias -> out, mean, variance; float eps",
            "x (..., C), weight and bias (C,), mean and biased variance of each row (...)"),
    _kernel("layer_norm_backward", NORMALIZATION, FLOATING,
            "grad_out, x, weight, mean, variance -> grad_x, grad_weight, grad_bias; float eps",
            "the gradients of layer_norm"),

    # Along the last axis, shifted by its maximum
    _kernel("softmax", SOFTMAX, FLOATING, "x -> out",
            "e^x / sum(e^x); NaN, as all here, where the largest x is not finite"),
    _kernel("log_softmax", SOFTMAX, FLOATING, "x -> out", "x - log(sum(e^x))"),
    _kernel("logsumexp", SOFTMAX, FLOATING, "x -> out",
            "log(sum(e^x)), without the last axis; the largest x where that is not finite"),
    _kernel("softmax_cross_entropy", SOFTMAX, FLOATING, "logits, labels -> loss",
            "-log(softmax(logits)[label]) of each row; labels are int32 or int64 and checked"),
    _kernel("softmax_cross_entropy_backward", SOFTMAX, FLOATING, "logits, labels, grad_loss -> grad_logits",
            "(softmax(logits) - one_hot(labels)) * grad_loss"),

    # Over T steps of B vectors. W_hh (H, G*H), bias (G*H,), hidden and cells (T + 1, B, H), of which the first entry is
    # given. grad_hidden (T, B, H) is the gradient of hidden[1:], grad_cell (B, H) that of cells[T], grad_gates that of
    # the gates before their nonlinearities. G = 1 for rnn; for lstm G = 4, in the order i, f, g, o
    _kernel("rnn", RECURRENT, FLOATING, "gates, W_hh, bias, hidden -> hidden; bool relu",
            "gates (T, B, H) = x W_ih; h[t+1] = tanh(gates[t] + h[t] W_hh + bias), or relu of it"),
    _kernel("rnn_backward", RECURRENT, FLOATING, "grad_hidden, hidden, W_hh -> grad_gates, grad_h0; bool relu",
            "the gradients of rnn"),
    _kernel("lstm", RECURRENT, FLOATING, "gates, W_hh, bias, hidden, cells -> gates, hidden, cells",
            "gates (T, B, 4H) = x W_ih become i, f, g, o: sigmoid, and of g tanh, of gates[t] + h[t] W_hh + bias; "
            "c[t+1] = f c[t] + i g; h[t+1] = o tanh(c[t+1])"),
    _kernel("lstm_backward", RECURRENT, FLOATING,
            "grad_hidden, grad_cell, gates, cells, W_hh -> grad_gates, grad_h0, grad_c0", "the gradients of lstm"),

    # Rows by index. Indices are int32 or int64, of any shape, and are checked
    _kernel("gather", INDEXING, ANY, "a, indices -> out", "out[i..., :] = a[indices[i...], :]"),
    _kernel("scatter_add", INDEXING, NUMBERS, "a, indices, out -> out",
            "out[indices[i...], :] += a[i..., :], in the order of i"),
    _kernel("crop_images", INDEXING, ANY, "images, windows, values -> out",
            "images (M, H, W, C) of uint8 cut out and mirrored: with (m, down, right, flipped) = windows[n], int32 (N, 4), "
            "out[n, i, j, c] = values[c, images[m, i + down, (flipped ? W - 1 - j : j) + right, c]], and values[c, 0] "
            "where that is outside; values (C, 256) of out's dtype"),

    # Philox4x32-10 of (seed, offset, row-major element index), see kernels/cpu/random.h
    _kernel("random_uniform", RANDOM, FLOATING, "-> out; int seed, int offset", "uniform on [0, 1)"),
    _kernel("random_normal", RANDOM, FLOATING, "-> out; int seed, int offset", "standard normal"),
    _kernel("random_dropout_mask", RANDOM, FLOATING, "-> out; float p, int seed, int offset",
            "0 with probability p, else 1 / (1 - p)"),

    # In place, on a list of parameters of one dtype. Every other list has one array of the same shape per parameter,
    # except only_if_finite: it is empty or holds one float32 or float64 number. If that is not finite, nothing changes
    _kernel("sgd_step", OPTIMIZER, FLOATING,
            "parameters[], grads[], velocities[], float learning_rate, float momentum, float dampening, "
            "float weight_decay, bool nesterov, only_if_finite[] -> parameters[], velocities[]",
            "g = grad + weight_decay * parameter; velocity = momentum * velocity + (1 - dampening) * g; "
            "parameter -= learning_rate * (nesterov ? g + momentum * velocity : velocity); without momentum, of g"),
    _kernel("adam_step", OPTIMIZER, FLOATING,
            "parameters[], grads[], first_moments[], second_moments[], float learning_rate, float beta1, float beta2, "
            "float eps, float weight_decay, bool decoupled, int step, only_if_finite[] "
            "-> parameters[], first_moments[], second_moments[]",
            "Kingma and Ba 2015: g = grad + weight_decay * parameter or, decoupled (Loshchilov and Hutter 2019), "
            "parameter *= 1 - learning_rate * weight_decay; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
            "parameter -= learning_rate * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)"),
]  # fmt: skip

KERNELS = {kernel.name: kernel for kernel in _LIST}
