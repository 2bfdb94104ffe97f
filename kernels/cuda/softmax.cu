// Softmax, log-softmax and log-sum-exp along the last axis, and softmax cross-entropy.
//
// With m = max(x):  softmax(x) = exp(x - m) / sum(exp(x - m)),  logsumexp(x) = m + log(sum(exp(x - m))). If m is not
// finite, logsumexp is m and all other results are NaN, as in PyTorch.
//
// 1 to 1,024 threads compute a row and hold it in registers (rows.h). In rows of more than 16,384 values (float64:
// 4,096), each thread rescales its sum whenever it finds a new maximum (Milakov and Gimelshein 2018), and the row is
// read again for writing.
//
// Bound: memory, reading x and writing out once; expected is some 85% of the bandwidth from 1,000 rows on. The
// arithmetic per element, mostly the exponential, is about half of what an H100 can do in that time for float16, a
// quarter for float32.
#include <cmath>

#include "kernels/cuda/device_errors.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace needle::cuda {
namespace {

// The maximum of some values, and the sum of exp(x - shift).
template <class Value>
struct Total {
  Value maximum, sum;

  __device__ bool is_finite() const { return std::fabs(maximum) < Value{INFINITY}; }
  __device__ Value shift() const { return is_finite() ? maximum : Value{0}; }
  __device__ Value log_sum() const { return is_finite() ? std::log(sum) : Value{NAN}; }
  __device__ Value logsumexp() const { return is_finite() ? maximum + std::log(sum) : maximum; }
};

template <class Value>
__device__ Total<Value> shuffle_xor(const Total<Value>& total, int bits) {
  return {cuda::shuffle_xor(total.maximum, bits), cuda::shuffle_xor(total.sum, bits)};
}

struct JoinMaximum {
  template <class Value>
  __device__ void operator()(Value& left, Value right) const {
    if ((right > left) | (right != right)) left = right;
  }
};

struct JoinSum {
  template <class Value>
  __device__ void operator()(Value& left, Value right) const {
    left += right;
  }
};

struct JoinTotal {
  template <class Value>
  __device__ void operator()(Total<Value>& left, const Total<Value>& right) const {
    Total<Value> total = left;
    JoinMaximum{}(total.maximum, right.maximum);
    total.sum = shifted(left, total.shift()) + shifted(right, total.shift());
    left = total;
  }

 private:
  // The sum rescaled to `shift`. A sum of 0 is a special case, because 0 times an infinite factor is NaN.
  template <class Value>
  static __device__ Value shifted(const Total<Value>& total, Value shift) {
    return total.sum == 0 ? Value{0} : total.sum * std::exp(total.shift() - shift);
  }
};

// The total of a row. With `keep_exp` and a row of one tile, exp(x - shift) replaces the held values.
template <bool keep_exp, class T, int width, int arrays>
__device__ Total<Compute<T>> total_of(const Rows<arrays>& rows, const typename Rows<arrays>::Place& place,
                                      Tile<T, width>& tile) {
  using Value = Compute<T>;
  constexpr Value nothing = -Value{INFINITY};
  Total<Value> total{nothing, 0};
  for (int64_t first = 0; first < rows.channels; first += rows.tile) {
    tile.load(place.at[0], rows.step[0], first, place.exists ? rows.channels : 0, rows.lanes, place.lane, nothing);
    Total<Value> here{nothing, 0};
#pragma unroll
    for (int i = 0; i < kHeld<T>; ++i) JoinMaximum{}(here.maximum, tile.values[i]);
    if (rows.is_one_tile()) here.maximum = join_lanes(here.maximum, rows.lanes, JoinMaximum{});
#pragma unroll
    for (int i = 0; i < kHeld<T>; ++i) {
      const Value power = std::exp(tile.values[i] - here.shift());  // 0 past the end of the row
      here.sum += power;
      if (keep_exp) tile.values[i] = power;
    }
    if (rows.is_one_tile()) return {here.maximum, join_lanes(here.sum, rows.lanes, JoinSum{})};
    JoinTotal{}(total, here);
  }
  return join_lanes(total, rows.lanes, JoinTotal{});
}

// Class indices, read directly from memory.
struct Labels {
  bool is_int64;
  IndexLimit limit;

  Labels(const char* op, const Array& labels, int64_t classes)
      : is_int64(labels.dtype == DType::int64), limit(index_limit(op, "label", classes)) {}

  __device__ int64_t read(const std::byte* at) const {
    return is_int64 ? *reinterpret_cast<const int64_t*>(at) : *reinterpret_cast<const int32_t*>(at);
  }
};

// The forms of output. `begin_row` computes a row's constants; the `apply` of its result computes the output of class c
// from exp(x - shift) if takes_exp, else from x.

struct SoftmaxForm {
  static constexpr bool takes_exp = true;
  template <class Value>
  struct Row {
    Value scale;
    __device__ Value apply(Value power, int64_t) const { return power * scale; }
  };
  template <class T, class Place, class Value>
  __device__ Row<Value> begin_row(const Place&, const Total<Value>& total) const {
    return {total.is_finite() ? 1 / total.sum : Value{NAN}};
  }
};

struct LogSoftmaxForm {
  static constexpr bool takes_exp = false;
  template <class Value>
  struct Row {
    Value shift, log_sum;
    __device__ Value apply(Value x, int64_t) const { return (x - shift) - log_sum; }
  };
  template <class T, class Place, class Value>
  __device__ Row<Value> begin_row(const Place&, const Total<Value>& total) const {
    return {total.shift(), total.log_sum()};
  }
};

// (softmax(x) - one_hot(label)) * grad_loss; rows: (x, out, labels, grad_loss)
struct CrossEntropyBackwardForm {
  static constexpr bool takes_exp = true;
  Labels labels;

  template <class Value>
  struct Row {
    int64_t label;
    Value inverse, grad;
    __device__ Value apply(Value power, int64_t c) const {
      const Value probability = power * inverse;
      return (c == label ? probability - 1 : probability) * grad;
    }
  };
  template <class T, class Place, class Value>
  __device__ Row<Value> begin_row(const Place& place, const Total<Value>& total) const {
    const int64_t label = labels.read(place.at[2]);
    if (place.lane == 0) labels.limit.allows(label, place.row);
    const Value grad = static_cast<Value>(*reinterpret_cast<const T*>(place.at[3]));
    return {label, total.is_finite() ? 1 / total.sum : Value{NAN}, grad};
  }
};

// rows: (x, out, ...)
template <class T, int width, class Form, int arrays>
__global__ void __launch_bounds__(kMostLanes<T>) softmax_kernel(Form form, Rows<arrays> rows) {
  using Value = Compute<T>;
  const auto place = rows.place();
  Tile<T, width> tile;
  const Total<Value> total = total_of<Form::takes_exp>(rows, place, tile);
  if (!place.exists) return;
  const auto row = form.template begin_row<T>(place, total);
  for (int64_t first = 0; first < rows.channels; first += rows.tile) {
    if (!rows.is_one_tile()) {
      tile.load(place.at[0], rows.step[0], first, rows.channels, rows.lanes, place.lane, 0);
#pragma unroll
      for (int i = 0; i < kHeld<T>; ++i)
        if (Form::takes_exp) tile.values[i] = std::exp(tile.values[i] - total.shift());
    }
    tile.store(place.at[1], rows.step[1], first, rows.channels, rows.lanes, place.lane,
               [&](Value value, int64_t c) { return row.apply(value, c); });
  }
}

// rows: (x, out), where out has no last axis.
template <class T, int width>
__global__ void __launch_bounds__(kMostLanes<T>) logsumexp_kernel(Rows<2> rows) {
  const auto place = rows.place();
  Tile<T, width> tile;
  const Total<Compute<T>> total = total_of<false>(rows, place, tile);
  if (place.exists && place.lane == 0) *reinterpret_cast<T*>(place.at[1]) = static_cast<T>(total.logsumexp());
}

// rows: (x, loss, labels); loss = logsumexp(x) - x[label]
template <class T, int width>
__global__ void __launch_bounds__(kMostLanes<T>) cross_entropy_kernel(Rows<3> rows, Labels labels) {
  using Value = Compute<T>;
  const auto place = rows.place();
  Tile<T, width> tile;
  const Total<Value> total = total_of<false>(rows, place, tile);
  if (!place.exists || place.lane > 0) return;
  const int64_t label = labels.read(place.at[2]);
  if (!labels.limit.allows(label, place.row)) return;
  const Value x = static_cast<Value>(*reinterpret_cast<const T*>(place.at[0] + label * rows.step[0]));
  *reinterpret_cast<T*>(place.at[1]) = static_cast<T>(total.log_sum() - (x - total.shift()));
}

template <class Form, int arrays>
void softmax_rows(const Form& form, const Array* const (&list)[arrays]) {
  dispatch_floating(list[0]->dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows<T>(list, [&](const Rows<arrays>& rows, unsigned grid, unsigned block, bool packed) {
      launch(packed ? softmax_kernel<T, kPackWidth<T>, Form, arrays> : softmax_kernel<T, 1, Form, arrays>, grid, block,
             form, rows);
    });
  });
}

}  // namespace

void softmax(const Array& x, const Array& out) { softmax_rows(SoftmaxForm{}, {&x, &out}); }

void log_softmax(const Array& x, const Array& out) { softmax_rows(LogSoftmaxForm{}, {&x, &out}); }

void logsumexp(const Array& x, const Array& out) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows<T>({&x, &out}, [&](const Rows<2>& rows, unsigned grid, unsigned block, bool packed) {
      launch(packed ? logsumexp_kernel<T, kPackWidth<T>> : logsumexp_kernel<T, 1>, grid, block, rows);
    });
  });
}

void softmax_cross_entropy(const Array& logits, const Array& labels, const Array& loss) {
  constexpr const char* op = "softmax_cross_entropy";
  const Labels reader(op, labels, logits.shape[1]);
  dispatch_floating(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows<T>({&logits, &loss, &labels}, [&](const Rows<3>& rows, unsigned grid, unsigned block, bool packed) {
      launch(packed ? cross_entropy_kernel<T, kPackWidth<T>> : cross_entropy_kernel<T, 1>, grid, block, rows, reader);
    });
  });
}

void softmax_cross_entropy_backward(const Array& logits, const Array& labels, const Array& grad_loss,
                                    const Array& grad_logits) {
  constexpr const char* op = "softmax_cross_entropy_backward";
  softmax_rows(CrossEntropyBackwardForm{Labels(op, labels, logits.shape[1])},
               {&logits, &grad_logits, &labels, &grad_loss});
}

}  // namespace needle::cuda
