"""Every kernel that a backend has: its operands, in order, and what it computes.

A backend is a module with one function per entry, plus `Buffer(nbytes)`, `Array(buffer, dtype_code, shape, strides,
offset)`, `allocate(dtype_code, shape, strides)`, which makes both, and `scalar(value, dtype_code)`, a number beside
arrays of that dtype. backend_numpy.py is the reference that every other backend is tested against, over all dtypes and
strides (tests/backend_ndarray/test_conformance.py).

Rules that hold for every kernel:

- Outputs (`out`, the written `grad_*` and statistics) are allocated by the caller and overwritten. An output may be the
  same array as an operand of an element-wise or optimizer kernel; otherwise outputs do not overlap with inputs.
- Operands have any strides. Floating operands and outputs of one call share one dtype unless said otherwise; float16 and
  bfloat16 are computed in float32. Checks run before any output is touched.
- Element-wise operands have the shape of `out` or are 0-d, arrays or scalars; a broadcast is stride 0. A half type's
  scalar need not be a number of that type: arithmetic and comparisons take it as a float32, `copy` and `where` round it.
- A reduction writes to an `out` with extent 1 along every reduced axis.
- Images are (N, H, W, C), convolution weights (K_h, K_w, C_in, C_out). Normalization and softmax work along the last axis
  of `x` and see the leading axes as rows.
"""

from __future__ import annotations

KERNELS = {
    # Copies
    "copy": "(a, out): out = a in out's dtype; floats to integers truncate and saturate, NaN gives 0; to bool is != 0",
    # Element-wise: numbers
    "negate": "(a, out): -a",
    "abs": "(a, out): |a|",
    "sign": "(a, out): -1, 0 or 1; NaN stays NaN",
    "relu": "(a, out): max(a, 0); NaN stays NaN",
    "subtract": "(a, b, out): a - b; integers wrap around, here and below",
    "floor_divide": "(a, b, out): floor(a / b); an integer divided by 0 gives 0",
    "remainder": "(a, b, out): a - b * floor(a / b); of an integer divided by 0 it is 0",
    "add_relu": "(a, b, out): max(a + b, 0), NaN stays NaN",
    "relu_backward": "(grad_out, a, out): a <= 0 ? 0 : grad_out, so NaN passes it",
    "power": "(a, b, out): a^b; integers to a negative power give 0 unless a is 1 or -1",
    # Element-wise: floating
    "floor": "(a, out): the largest whole number not above a",
    "ceil": "(a, out): the smallest whole number not below a",
    "exp": "(a, out): e^a",
    "log": "(a, out): the natural logarithm",
    "sqrt": "(a, out): the square root",
    "sin": "(a, out): the sine",
    "cos": "(a, out): the cosine",
    "tanh": "(a, out): the hyperbolic tangent",
    "sigmoid": "(a, out): 1 / (1 + e^-a)",
    "erf": "(a, out): the error function",
    "gelu": "(a, out): a * P(X <= a) for a standard normal X, a / 2 * (1 + erf(a / sqrt(2)))",
    "divide": "(a, b, out): a / b",
    "gelu_backward": "(grad_out, a, out): grad_out * (P(X <= a) + a * p(a)) with X's density p",
    "lerp": "(a, b, weight, out): a + weight * (b - a); weight is a number",
    # Element-wise: any dtype
    "add": "(a, b, out): a + b; `or` for bool",
    "multiply": "(a, b, out): a * b; `and` for bool",
    "maximum": "(a, b, out): the larger one; NaN if either is",
    "minimum": "(a, b, out): the smaller one; NaN if either is",
    "where": "(condition, a, b, out): condition ? a : b; condition is bool",
    # Element-wise: out is bool
    "equal": "(a, b, out): a == b",
    "not_equal": "(a, b, out): a != b",
    "less": "(a, b, out): a < b",
    "less_equal": "(a, b, out): a <= b",
    "logical_and": "(a, b, out): a and b; operands are bool",
    "logical_or": "(a, b, out): a or b; operands are bool",
    "logical_xor": "(a, b, out): a != b; operands are bool",
    "logical_not": "(a, out): not a; operands are bool",
    # Reductions; any dtype but bool
    "sum": "(a, out): 0 of nothing; where a is of a half type, out may be float32",
    "sum_of_squares": "(a, out): sum of a * a; a is floating, out float64 if a is, else float32",
    "max": "(a, out): NaN if there is one; of one element or more",
    "min": "(a, out): NaN if there is one; of one element or more",
    "argmax": "(a, out): along one axis, the first of the largest, or of the NaNs; out is int64",
    "argmin": "(a, out): along one axis, the first of the smallest, or of the NaNs; out is int64",
    # Matrix products, any dtype
    "matmul": "(a, b, out): (..., m, k) @ (..., k, n), the leading axes equal",
    "linear": "(x, weight, bias, out, relu): x (m, k) @ weight (k, n) + bias (n,), or relu of it; floating",
    # Convolution; floating
    "conv2d": "(x, weight, out, stride, padding): see conv.py",
    "conv2d_bias": "(x, weight, bias, out, stride, padding): the same + bias (C_out,)",
    "conv2d_backward_data": "(grad_out, weight, grad_x, stride, padding)",
    "conv2d_backward_weight": "(x, grad_out, grad_weight, stride, padding)",
    # Pooling over kernel x kernel windows; floating
    "max_pool2d": "(x, out, kernel, stride, padding): the padding is not looked at; NaN if there is one",
    "max_pool2d_backward": "(x, grad_out, grad_x, kernel, stride, padding): to a window's first largest element",
    "avg_pool2d": "(x, out, kernel, stride, padding): the padding's zeros are counted",
    "avg_pool2d_backward": "(grad_out, grad_x, kernel, stride, padding)",
    # Normalization, (x - mean) / sqrt(variance + eps) * weight + bias, or relu of it; floating. Where x, out and their
    # gradients are of a half type, the rest may be float32
    "batch_norm": "(x, weight, bias, out, mean, variance, eps, relu): writes mean and biased variance over the rows",
    "batch_norm_inference": "(x, weight, bias, mean, variance, out, eps, relu)",
    "batch_norm_backward": "(grad_out, x, weight, bias, mean, variance, grad_x, grad_weight, grad_bias, eps, relu)",
    "layer_norm": "(x, weight, bias, out, mean, variance, eps): writes the mean and biased variance of each row",
    "layer_norm_backward": "(grad_out, x, weight, mean, variance, grad_x, grad_weight, grad_bias, eps)",
    # Softmax along the last axis; floating
    "softmax": "(x, out): e^x / sum(e^x); NaN, as all here, where the largest x is not finite",
    "log_softmax": "(x, out): x - log(sum(e^x))",
    "log_sum_exp": "(x, out): log(sum(e^x)), without the last axis; the largest x where that is not finite",
    "softmax_cross_entropy": "(logits, labels, loss): -log(softmax(logits)[label]) of each row; labels int32 or int64",
    "softmax_cross_entropy_backward": "(logits, labels, grad_loss, grad_logits): (softmax - one_hot) * grad_loss",
    # Recurrent layers over T steps of B vectors; W_hh (H, G*H), bias (G*H,), hidden and cells (T + 1, B, H), of which
    # the first is given; grad_hidden is of hidden[1:], grad_gates of the gates before their nonlinearities; floating
    "rnn": "(gates, W_hh, bias, hidden, relu): G = 1, gates (T, B, H): h[t+1] = tanh(gates[t] + h[t] W_hh + bias), or relu",
    "rnn_backward": "(grad_hidden, hidden, W_hh, grad_gates, grad_h0, relu)",
    "lstm": "(gates, W_hh, bias, hidden, cells): G = 4, gates (T, B, 4H) are x W_ih and become i, f, g, o: "
    "a = gates[t] + h[t] W_hh + bias; i, f, o = sigmoid of its 1st, 2nd, 4th part, g = tanh of its 3rd; "
    "c[t+1] = f c[t] + i g; h[t+1] = o tanh(c[t+1])",
    "lstm_backward": "(grad_hidden, grad_cell, gates, cells, W_hh, grad_gates, grad_h0, grad_c0): grad_cell is of c[T]",
    # Rows by number (int32 or int64, of any shape, checked); any dtype
    "gather": "(a, indices, out): out[i..., :] = a[indices[i...], :]",
    "scatter_add": "(a, indices, out): out[indices[i...], :] += a[i..., :], in the order of i",
    # Images (M, H, W, C) of uint8, windows (m, down, right, flipped), int32 (N, 4), values (C, 256) of any dtype
    "crop_images": "(images, windows, values, out): "
    "out[n, i, j, c] = values[c, images[m, i + down, (flipped ? W - 1 - j : j) + right, c]]; values[c, 0] outside",
    # Philox4x32-10 of (seed, offset, element number in row-major order): kernels/cpu/random.h; floating
    "random_uniform": "(out, seed, offset): uniform on [0, 1)",
    "random_normal": "(out, seed, offset): standard normal",
    "random_dropout_mask": "(out, p, seed, offset): 0 with probability p, else 1 / (1 - p)",
    # Optimizer updates, in place, of a list of parameters with a list of gradients and so on; floating. Where
    # only_if_finite has a number, float32 or float64, and it is not finite, nothing changes
    "sgd_step": "(parameters, grads, velocities, learning_rate, momentum, dampening, weight_decay, nesterov, "
    "only_if_finite): g = grad + weight_decay * parameter; velocity = momentum * velocity + (1 - dampening) * g; "
    "parameter -= learning_rate * (nesterov ? g + momentum * velocity : velocity); without momentum, of g",
    "adam_step": "(parameters, grads, m, v, learning_rate, beta1, beta2, eps, weight_decay, decoupled, step, "
    "only_if_finite): "
    "g = grad + weight_decay * parameter, or decoupled: parameter *= 1 - learning_rate * weight_decay; "
    "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
    "parameter -= learning_rate * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)",
}
