// The kernel table: every kernel that a backend has, its operands and what it computes.
// needle/backend_ndarray/kernel_table.py is the same list in words.
//
// Rules that hold for every kernel:
// - `out` and everything named grad_* that is written is allocated by the caller and overwritten. It may be the same
//   array as an operand of an element-wise or optimizer kernel; otherwise outputs do not overlap with inputs.
// - Operands may have any strides. Floating operands and outputs of one call share one dtype unless said otherwise;
//   float16 and bfloat16 are computed in float32. Checks run before any output is touched.
// - Element-wise operands have the shape of `out` or are 0-d (a broadcast is stride 0). A half type's scalar need not be
//   a number of that type: arithmetic and comparisons take it as a float32, `copy` and `where` round it.
// - A reduction writes to an `out` with extent 1 along every reduced axis.
// - Images are (N, H, W, C), convolution weights (K_h, K_w, C_in, C_out); normalization and softmax work along the last
//   axis of `x` and see the leading axes as rows.
#pragma once

#include <cstdint>

#include "kernels/common/array.h"

// KERNEL(name, (parameters))
#define NEEDLE_KERNELS(KERNEL)                                                                                         \
  /* out = a, converted to out's dtype: floats to integers truncate towards zero and saturate, to bool means != 0 */   \
  KERNEL(copy, (const Array& a, const Array& out))                                                                     \
  /* element-wise, one operand; any dtype but bool */                                                                  \
  KERNEL(negate, (const Array& a, const Array& out))                                                                   \
  KERNEL(abs, (const Array& a, const Array& out))                                                                      \
  KERNEL(sign, (const Array& a, const Array& out))                                                                     \
  KERNEL(relu, (const Array& a, const Array& out))                                                                     \
  /* element-wise, one operand; floating */                                                                            \
  KERNEL(floor, (const Array& a, const Array& out))                                                                    \
  KERNEL(ceil, (const Array& a, const Array& out))                                                                     \
  KERNEL(exp, (const Array& a, const Array& out))                                                                      \
  KERNEL(log, (const Array& a, const Array& out))                                                                      \
  KERNEL(sqrt, (const Array& a, const Array& out))                                                                     \
  KERNEL(sin, (const Array& a, const Array& out))                                                                      \
  KERNEL(cos, (const Array& a, const Array& out))                                                                      \
  KERNEL(tanh, (const Array& a, const Array& out))                                                                     \
  KERNEL(sigmoid, (const Array& a, const Array& out))                                                                  \
  KERNEL(gelu, (const Array& a, const Array& out)) /* a P(X <= a) for a standard normal X */                           \
  KERNEL(erf, (const Array& a, const Array& out))                                                                      \
  /* element-wise, two operands of out's dtype; integers wrap around, bool adds as `or` and multiplies as `and`;       \
     maximum and minimum hand on NaN; integer division by zero and its remainder give 0, as in NumPy */                \
  KERNEL(add, (const Array& a, const Array& b, const Array& out))                                                      \
  KERNEL(subtract, (const Array& a, const Array& b, const Array& out))                                                 \
  KERNEL(multiply, (const Array& a, const Array& b, const Array& out))                                                 \
  KERNEL(divide, (const Array& a, const Array& b, const Array& out)) /* floating */                                    \
  KERNEL(floor_divide, (const Array& a, const Array& b, const Array& out))                                             \
  KERNEL(remainder, (const Array& a, const Array& b, const Array& out)) /* has the sign of b */                        \
  KERNEL(add_relu, (const Array& a, const Array& b, const Array& out)) /* max(a + b, 0) */                             \
  KERNEL(relu_backward, (const Array& grad_out, const Array& a, const Array& out)) /* a <= 0 ? 0 : grad_out */         \
  /* grad_out times gelu's derivative at a; floating */                                                                \
  KERNEL(gelu_backward, (const Array& grad_out, const Array& a, const Array& out))                                     \
  KERNEL(power, (const Array& a, const Array& b, const Array& out))                                                    \
  KERNEL(maximum, (const Array& a, const Array& b, const Array& out))                                                  \
  KERNEL(minimum, (const Array& a, const Array& b, const Array& out))                                                  \
  KERNEL(lerp, (const Array& a, const Array& b, double weight, const Array& out)) /* a + weight * (b - a); floating */ \
  /* element-wise, two operands of one dtype; out is bool */                                                           \
  KERNEL(equal, (const Array& a, const Array& b, const Array& out))                                                    \
  KERNEL(not_equal, (const Array& a, const Array& b, const Array& out))                                                \
  KERNEL(less, (const Array& a, const Array& b, const Array& out))                                                     \
  KERNEL(less_equal, (const Array& a, const Array& b, const Array& out))                                               \
  /* element-wise on bool; out is bool */                                                                              \
  KERNEL(logical_and, (const Array& a, const Array& b, const Array& out))                                              \
  KERNEL(logical_or, (const Array& a, const Array& b, const Array& out))                                               \
  KERNEL(logical_xor, (const Array& a, const Array& b, const Array& out))                                              \
  KERNEL(logical_not, (const Array& a, const Array& out))                                                              \
  /* out = condition ? a : b; condition is bool */                                                                     \
  KERNEL(where, (const Array& condition, const Array& a, const Array& b, const Array& out))                            \
  /* reductions; sum of nothing is 0, max and min of nothing are a ShapeError and hand on NaN; sum of integers wraps,  \
     bool is not summed; of a half type, out may be float32. argmax and argmin reduce one axis, write int64, take the  \
     first of equals and of NaN */                                                                                     \
  KERNEL(sum, (const Array& a, const Array& out))                                                                      \
  /* the sum of a * a, for floating a; out is float64 if a is, else float32 */                                         \
  KERNEL(sum_of_squares, (const Array& a, const Array& out))                                                           \
  KERNEL(max, (const Array& a, const Array& out))                                                                      \
  KERNEL(min, (const Array& a, const Array& out))                                                                      \
  KERNEL(argmax, (const Array& a, const Array& out))                                                                   \
  KERNEL(argmin, (const Array& a, const Array& out))                                                                   \
  /* out (..., m, n) = a (..., m, k) @ b (..., k, n), the leading axes equal; any dtype; k = 0 gives zeros */          \
  KERNEL(matmul, (const Array& a, const Array& b, const Array& out))                                                   \
  /* out (m, n) = x (m, k) @ weight (k, n) + bias (n,), or relu of it; floating */                                     \
  KERNEL(linear, (const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu))                \
  /* out[n, i, j, f] = sum over (h, w, c) of x[n, i*stride+h-padding, j*stride+w-padding, c] * weight[h, w, c, f] */   \
  KERNEL(conv2d, (const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding))             \
  /* the same + bias (C_out,) */                                                                                       \
  KERNEL(conv2d_bias, (const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,       \
                       int64_t padding))                                                                               \
  KERNEL(conv2d_backward_data,                                                                                         \
         (const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride, int64_t padding))           \
  KERNEL(conv2d_backward_weight,                                                                                       \
         (const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride, int64_t padding))           \
  /* pooling over kernel x kernel windows; max ignores the padding, hands on NaN, and its gradient goes to the first   \
     largest element of a window; avg counts the padding's zeros */                                                    \
  KERNEL(max_pool2d, (const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding))              \
  KERNEL(max_pool2d_backward, (const Array& x, const Array& grad_out, const Array& grad_x, int64_t kernel,             \
                               int64_t stride, int64_t padding))                                                       \
  KERNEL(avg_pool2d, (const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding))              \
  KERNEL(avg_pool2d_backward,                                                                                          \
         (const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding))                \
  /* x, out (..., C); weight, bias, mean, variance (C,). Training form: mean and the biased variance over the rows are \
     written. out = (x - mean) / sqrt(variance + eps) * weight + bias, or relu of it */                                \
  KERNEL(batch_norm, (const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,     \
                      const Array& variance, double eps, bool relu))                                                   \
  /* the same with given mean and variance */                                                                          \
  KERNEL(batch_norm_inference, (const Array& x, const Array& weight, const Array& bias, const Array& mean,             \
                                const Array& variance, const Array& out, double eps, bool relu))                       \
  KERNEL(batch_norm_backward, (const Array& grad_out, const Array& x, const Array& weight, const Array& bias,          \
                               const Array& mean, const Array& variance, const Array& grad_x,                          \
                               const Array& grad_weight, const Array& grad_bias, double eps, bool relu))               \
  /* x, out (..., C), normalized along the last axis; weight, bias (C,); mean, variance (...) are written */           \
  KERNEL(layer_norm, (const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,     \
                      const Array& variance, double eps))                                                              \
  KERNEL(layer_norm_backward, (const Array& grad_out, const Array& x, const Array& weight, const Array& mean,          \
                               const Array& variance, const Array& grad_x, const Array& grad_weight,                   \
                               const Array& grad_bias, double eps))                                                    \
  /* along the last axis, shifted by its maximum; log_sum_exp writes (...) */                                          \
  KERNEL(softmax, (const Array& x, const Array& out))                                                                  \
  KERNEL(log_softmax, (const Array& x, const Array& out))                                                              \
  KERNEL(log_sum_exp, (const Array& x, const Array& out))                                                              \
  /* loss (rows,) = log_sum_exp(logits) - logits[row, label]; logits (rows, classes), labels (rows,) int32 or int64.   \
     The backward form writes grad_logits = (softmax(logits) - one_hot(labels)) * grad_loss[row].                      \
     A label outside 0..classes-1 is a ShapeError that names it */                                                     \
  KERNEL(softmax_cross_entropy, (const Array& logits, const Array& labels, const Array& loss))                         \
  KERNEL(softmax_cross_entropy_backward,                                                                               \
         (const Array& logits, const Array& labels, const Array& grad_loss, const Array& grad_logits))                 \
  /* recurrent layers over T steps of B rows and H units; W_hh (H, G*H), bias (G*H,), hidden and cells (T + 1, B, H),  \
     of which the first is given and the rest written. G = 1: gates (T, B, H) are the products with the inputs;        \
     hidden[t+1] = tanh(gates[t] + hidden[t] W_hh + bias), or relu of it */                                            \
  KERNEL(rnn, (const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, bool relu))              \
  /* grad_hidden (T, B, H) is of hidden[1:], grad_gates of what the nonlinearity was applied to */                     \
  KERNEL(rnn_backward, (const Array& grad_hidden, const Array& hidden, const Array& W_hh, const Array& grad_gates,     \
                        const Array& grad_h0, bool relu))                                                              \
  /* G = 4, in the order i, f, g, o: gates (T, B, 4H) are the products with the inputs, and the gates on return:       \
     i, f, o = sigmoid and g = tanh of gates[t] + hidden[t] W_hh + bias; cells[t+1] = f cells[t] + i g;                \
     hidden[t+1] = o tanh(cells[t+1]) */                                                                               \
  KERNEL(lstm, (const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, const Array& cells))    \
  /* grad_cell (B, H) is of cells[T] */                                                                                \
  KERNEL(lstm_backward, (const Array& grad_hidden, const Array& grad_cell, const Array& gates, const Array& cells,     \
                         const Array& W_hh, const Array& grad_gates, const Array& grad_h0, const Array& grad_c0))      \
  /* out[i..., :] = a[indices[i...], :] for a (rows, width), indices int32 or int64 of any shape, out (*i, width) */   \
  KERNEL(gather, (const Array& a, const Array& indices, const Array& out))                                             \
  /* out[indices[i...], :] += a[i..., :], in the order of i; adds to what out holds */                                 \
  KERNEL(scatter_add, (const Array& a, const Array& indices, const Array& out))                                        \
  /* images (M, H, W, C) uint8 picked, cut out, mirrored and made numbers: for (m, down, right, flipped) = windows[n], \
     int32 (N, 4), out[n, i, j, c] = values[c, images[m, i + down, (flipped ? W - 1 - j : j) + right, c]], and         \
     values[c, 0] where that is outside; values (C, 256) of out's dtype, any */                                        \
  KERNEL(crop_images, (const Array& images, const Array& windows, const Array& values, const Array& out))              \
  /* Philox4x32-10, a function of (seed, offset, element number in row-major order), see random.h:                     \
     uniform in [0, 1), standard normal, and dropout's mask: 0 with probability p, else 1 / (1 - p) */                 \
  KERNEL(random_uniform, (const Array& out, int64_t seed, int64_t offset))                                             \
  KERNEL(random_normal, (const Array& out, int64_t seed, int64_t offset))                                              \
  KERNEL(random_dropout_mask, (const Array& out, double p, int64_t seed, int64_t offset))                              \
  /* optimizer steps, in place, for a list of parameters of one dtype; every other list has as many arrays, of their   \
     shapes, but for only_if_finite: one number, float32 or float64, that must be finite for anything to change; or    \
     none. g = grad + weight_decay * parameter; velocity = momentum * velocity + (1 - dampening) * g;                  \
     parameter -= learning_rate * (nesterov ? g + momentum * velocity : velocity). Without momentum velocities are not \
     looked at */                                                                                                      \
  KERNEL(sgd_step, (const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities,                  \
                    double learning_rate, double momentum, double dampening, double weight_decay, bool nesterov,       \
                    const ArrayList& only_if_finite))                                                                  \
  /* Kingma and Ba 2015: g = grad + weight_decay * parameter, or, decoupled (Loshchilov and Hutter 2019),              \
     parameter *= 1 - learning_rate * weight_decay; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;        \
     parameter -= learning_rate * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps) */                       \
  KERNEL(adam_step, (const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,              \
                     const ArrayList& second_moments, double learning_rate, double beta1, double beta2, double eps,    \
                     double weight_decay, bool decoupled, int64_t step, const ArrayList& only_if_finite))

namespace needle {

// One pointer per kernel. A backend has a table, that of the CPU one for each instruction level.
struct Kernels {
#define NEEDLE_FIELD(name, parameters) void(*name) parameters;
  NEEDLE_KERNELS(NEEDLE_FIELD)
#undef NEEDLE_FIELD
};

}  // namespace needle
