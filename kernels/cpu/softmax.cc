// Softmax, log-softmax and log-sum-exp along the last axis, and softmax cross-entropy.
//
// With m = max(x):  softmax(x) = exp(x - m) / sum(exp(x - m)),  logsumexp(x) = m + log(sum(exp(x - m))). If m is not
// finite, logsumexp is m and all other results are NaN, as in PyTorch.
#include <cmath>

#include "kernels/cpu/fold.h"
#include "kernels/cpu/indices.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int kCost = 8;  // the cost of an exponential, in additions

// Writes exp(x - shift) and returns its sum.
template <class T>
T shifted_exp(int64_t n, const T* x, T shift, T* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = math::exp(x[i] - shift);
  return static_cast<T>(long_sum(n, to));
}

template <class T>
struct LogSum {
  T maximum, log_sum;  // logsumexp(x) = maximum + log_sum; log_sum is NaN if the maximum is not finite
};

template <class T>
LogSum<T> log_sum(int64_t n, const T* x) {
  alignas(64) T chunk[kChunk];
  const T maximum = fold<Max<T>>(n, x);
  Longer<T> sum = 0;
  for (int64_t i = 0; i < n; i += kChunk) sum += shifted_exp(n - i < kChunk ? n - i : kChunk, x + i, maximum, chunk);
  return {maximum, std::log(static_cast<T>(sum))};
}

// Calls row(cursor, values, classes, scratch) for every row of arrays[0]. `values` holds the row and `scratch` has room
// for another row. The cursor's operands are the arrays.
template <class T, class Row>
void for_each_row(const Array* const* arrays, int num_arrays, const Row& row) {
  const Array& x = *arrays[0];
  const int64_t classes = last_extent(x);
  const Plan plan(arrays, num_arrays, leading_axes(x));
  const RowAccess<T> read(x);
  const int parts = parallel_parts(plan.size, kCost * plan.size * classes);
  const Scratch<T> scratch(saturated_product(2, parts, classes));
  parallel_for(plan.size, parts, [&](int part, int64_t begin, int64_t end) {
    T* values_scratch = &scratch[2 * part * classes];
    Cursor cursor(plan, begin);
    for (int64_t i = begin; i < end; ++i, cursor.advance(1))
      row(cursor, read.read(cursor.pointer(0), 0, classes, values_scratch), classes, values_scratch + classes);
  });
}

template <class T>
void softmax_typed(const Array& x, const Array& out) {
  const Array* arrays[] = {&x, &out};
  const RowAccess<T> write(out);
  for_each_row<T>(arrays, 2, [&](const Cursor& cursor, const T* values, int64_t classes, T* scratch) {
    T* to = write.target(cursor.pointer(1), 0, scratch);
    const T sum = shifted_exp(classes, values, fold<Max<T>>(classes, values), to);
    const T scale = 1 / sum;
    for (int64_t c = 0; c < classes; ++c) to[c] *= scale;
    write.finish(cursor.pointer(1), 0, classes, to);
  });
}

template <class T>
void log_softmax_typed(const Array& x, const Array& out) {
  const Array* arrays[] = {&x, &out};
  const RowAccess<T> write(out);
  for_each_row<T>(arrays, 2, [&](const Cursor& cursor, const T* values, int64_t classes, T* scratch) {
    T* to = write.target(cursor.pointer(1), 0, scratch);
    const LogSum<T> total = log_sum(classes, values);
#pragma GCC ivdep
    for (int64_t c = 0; c < classes; ++c) to[c] = (values[c] - total.maximum) - total.log_sum;
    write.finish(cursor.pointer(1), 0, classes, to);
  });
}

template <class T>
void logsumexp_typed(const Array& x, const Array& out) {
  const Array* arrays[] = {&x, &out};
  const Store store = store_for(out.dtype);
  for_each_row<T>(arrays, 2, [&](const Cursor& cursor, const T* values, int64_t classes, T*) {
    const LogSum<T> total = log_sum(classes, values);
    const bool is_finite = std::fabs(total.maximum) < INFINITY;
    const T result = is_finite ? total.maximum + total.log_sum : total.maximum;
    store(1, &result, cursor.pointer(1), 0);
  });
}

// Calls row(index, values, scratch) for every row of logits; `scratch` has room for another row.
template <class T, class Row>
void for_each_logits(const Array& logits, const Row& row) {
  const int64_t rows = logits.shape[0], classes = logits.shape[1], step = logits.strides[0] * itemsize(logits.dtype);
  const std::byte* first = first_byte(logits);
  const RowAccess<T> read(logits);
  const int parts = parallel_parts(rows, kCost * rows * classes);
  const Scratch<T> scratch(saturated_product(2, parts, classes));
  parallel_for(rows, parts, [&](int part, int64_t begin, int64_t end) {
    T* values_scratch = &scratch[2 * part * classes];
    for (int64_t r = begin; r < end; ++r)
      row(r, read.read(first + r * step, 0, classes, values_scratch), values_scratch + classes);
  });
}

template <class T>
void softmax_cross_entropy_typed(const Array& logits, const int64_t* labels, const Array& loss) {
  const Scratch<T> losses(logits.shape[0]);
  for_each_logits<T>(logits, [&](int64_t row, const T* values, T*) {
    const LogSum<T> total = log_sum(logits.shape[1], values);
    losses[row] = total.log_sum - (values[labels[row]] - total.maximum);
  });
  write_vector(losses.data(), loss);
}

template <class T>
void softmax_cross_entropy_backward_typed(const Array& logits, const int64_t* labels, const Array& grad_loss,
                                          const Array& grad_logits) {
  const int64_t classes = logits.shape[1], step = grad_logits.strides[0] * itemsize(grad_logits.dtype);
  std::byte* first = first_byte(grad_logits);
  const RowAccess<T> write(grad_logits);
  const Scratch<T> grads(logits.shape[0]);
  read_vector(grad_loss, grads.data());
  for_each_logits<T>(logits, [&](int64_t row, const T* values, T* scratch) {
    T* to = write.target(first + row * step, 0, scratch);
    const T sum = shifted_exp(classes, values, fold<Max<T>>(classes, values), to);
    const T probability = to[labels[row]] / sum, scale = grads[row] / sum;
    for (int64_t c = 0; c < classes; ++c) to[c] *= scale;
    to[labels[row]] = (probability - 1) * grads[row];
    write.finish(first + row * step, 0, classes, to);
  });
}

}  // namespace

void softmax(const Array& x, const Array& out) {
  x.dtype == DType::float64 ? softmax_typed<double>(x, out) : softmax_typed<float>(x, out);
}

void log_softmax(const Array& x, const Array& out) {
  x.dtype == DType::float64 ? log_softmax_typed<double>(x, out) : log_softmax_typed<float>(x, out);
}

void logsumexp(const Array& x, const Array& out) {
  x.dtype == DType::float64 ? logsumexp_typed<double>(x, out) : logsumexp_typed<float>(x, out);
}

void softmax_cross_entropy(const Array& logits, const Array& labels, const Array& loss) {
  constexpr const char* op = "softmax_cross_entropy";
  const Scratch<int64_t> checked(labels.shape[0]);
  read_indices(op, "label", labels, logits.shape[1], checked.data());
  logits.dtype == DType::float64 ? softmax_cross_entropy_typed<double>(logits, checked.data(), loss)
                                 : softmax_cross_entropy_typed<float>(logits, checked.data(), loss);
}

void softmax_cross_entropy_backward(const Array& logits, const Array& labels, const Array& grad_loss,
                                    const Array& grad_logits) {
  constexpr const char* op = "softmax_cross_entropy_backward";
  const Scratch<int64_t> checked(labels.shape[0]);
  read_indices(op, "label", labels, logits.shape[1], checked.data());
  (logits.dtype == DType::float64
       ? softmax_cross_entropy_backward_typed<double>
       : softmax_cross_entropy_backward_typed<float>)(logits, checked.data(), grad_loss, grad_logits);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
