// Recurrent layers over a sequence: the part of each step that depends on the previous step, forward and backward.
//
// T steps, B rows, U units (hidden_size), G gates per unit: 1 for the layer of Elman 1990, 4 for long short-term memory
// (Hochreiter and Schmidhuber 1997), in the order i, f, g, o. W_hh is (U, G*U). One launch computes a step: a product
// of B rows with W_hh, and then the element-wise functions of each row and unit:
//
//   forward     gates[t] + h[t] W_hh                    then h[t+1], and c[t+1] from c[t]
//   backward    grad_h = grad_gates[t+1] W_hh^T         then grad_gates[t], with grad_h of t - 1 in the next launch
//
// Half types are computed in float32 throughout and rounded once.
#include <cmath>
#include <type_traits>

#include "kernels/common/recurrent.h"
#include "kernels/cuda/compact.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/math.h"

namespace needle::cuda {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// Calls finish(row, unit, sums) for each row and unit, where the `gates` sums are
//   sum over p < depth of a[row][p] * W[p][gate * units + unit], W (depth, gates * units), or, transposed,
//   sum over p < depth of a[row][p] * W[unit][p],                W (units, depth).
//
// A block has kRows rows and kUnits units, few of each, so that the blocks of one step fill a GPU. Its threads form
// groups that divide the depth among them; each group computes all of the block's sums, 2 rows by 4 columns per thread.
// Tiles of both matrices pass through shared memory; while one is multiplied, the next is being loaded into registers.
//
// Bound by latency at the usual sizes (B 20, U 200 to 650): W_hh stays in the L2 cache, and nearly all of a tile's time
// is the wait for the next, which should be 0.7 us. An LSTM's forward step of 650 units in float32 has 6 tiles, 5 us
// with the launch; its backward step, 2600 deep, has 21, 15 us. The lower bound for the products is 1 us, so a library
// that keeps W_hh in registers over all steps can be several times as fast.
constexpr int kRows = 32, kUnits = 8;

template <class T, int gates, bool transposed, class Finish>
__global__ void __launch_bounds__(kThreads, 2)
    step_kernel(const T* a, int depth, const T* W, int rows, int units, const Finish finish) {
  constexpr int kDepth = 512 / sizeof(T), kColumns = kUnits * gates, kQuads = kColumns / 4;
  constexpr int kGroup = kRows / 2 * kQuads, kGroups = kThreads / kGroup;
  constexpr int kFromA = kRows * kDepth / kThreads, kFromW = kColumns * kDepth / kThreads;  // loads per thread
  alignas(32) __shared__ T a_tile[kDepth][kRows + 2];
  alignas(32) __shared__ T W_tile[kDepth][kColumns + 4];  // the gates of a unit are adjacent
  static_assert(sizeof a_tile >= sizeof(T) * kGroups * kRows * kColumns);

  const int thread = static_cast<int>(threadIdx.x);
  const int first_unit = static_cast<int>(blockIdx.x) * kUnits, first_row = static_cast<int>(blockIdx.y) * kRows;
  T next_a[kFromA], next_W[kFromW];
  // A thread loads the numbers of `a` at one p from every kThreads / kDepth-th row, and likewise of a transposed W from
  // every such unit. Otherwise it loads those of one unit and gate at every kThreads / kColumns-th p. Neighbouring
  // threads read neighbouring addresses.
  const auto fetch = [&](int first) {
    constexpr int kRowStep = kThreads / kDepth, kWStep = kThreads / (transposed ? kDepth : kColumns);
    static_assert(kThreads % kDepth == 0 && kThreads % kColumns == 0);
    int row = first_row + thread / kDepth, p = first + thread % kDepth;
    const T* from = a + int64_t{row} * depth + p;
#pragma unroll
    for (int k = 0; k < kFromA; ++k, row += kRowStep, from += int64_t{kRowStep} * depth)
      next_a[k] = row < rows && p < depth ? *from : T{0};
    int unit = first_unit + (transposed ? thread / kDepth : thread % kUnits);
    if (!transposed) p = first + thread / kColumns;
    const int gate = thread / kUnits % gates;
    from = W + (transposed ? int64_t{unit} * depth + p : (int64_t{p} * gates + gate) * units + unit);
#pragma unroll
    for (int k = 0; k < kFromW; ++k, from += int64_t{kWStep} * (transposed ? depth : gates * units)) {
      next_W[k] = unit < units && p < depth ? *from : T{0};
      (transposed ? unit : p) += kWStep;
    }
  };
  const auto put = [&] {
#pragma unroll
    for (int k = 0; k < kFromA; ++k) {
      const int i = thread + k * kThreads;
      a_tile[i % kDepth][i / kDepth] = next_a[k];
    }
#pragma unroll
    for (int k = 0; k < kFromW; ++k) {
      const int i = thread + k * kThreads;
      const int unit = transposed ? i / kDepth : i % kUnits, gate = i / kUnits % gates;
      W_tile[transposed ? i % kDepth : i / kColumns][transposed ? unit : unit * gates + gate] = next_W[k];
    }
  };

  const int group = thread / kGroup, quad = thread % kQuads * 4, pair = thread % kGroup / kQuads * 2;
  T sums[2][4] = {};
  fetch(0);
  for (int first = 0; first < depth; first += kDepth) {
    put();
    __syncthreads();
    if (first + kDepth < depth) fetch(first + kDepth);
#pragma unroll 8
    for (int k = 0; k < kDepth / kGroups; ++k) {
      const int p = k * kGroups + group;
      const auto x = *reinterpret_cast<const Pack<T, 2>*>(&a_tile[p][pair]);
      const auto w = *reinterpret_cast<const Pack<T, 4>*>(&W_tile[p][quad]);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[r][c] += x.values[r] * w.values[c];
    }
    __syncthreads();
  }

  T* const partial = &a_tile[0][0];  // (kGroups, kRows, kColumns)
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c) partial[(group * kRows + pair + r) * kColumns + quad + c] = sums[r][c];
  __syncthreads();
  static_assert(kThreads == kRows * kUnits);
  const int row = thread / kUnits, unit = thread % kUnits;
  if (first_row + row >= rows || first_unit + unit >= units) return;
  T total[gates] = {};
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
#pragma unroll
    for (int gate = 0; gate < gates; ++gate) total[gate] += partial[(g * kRows + row) * kColumns + unit * gates + gate];
  finish(int64_t{first_row + row}, int64_t{first_unit + unit}, total);
}

template <class T, int gates, bool transposed, class Finish>
void launch_step(const RecurrentSizes& n, const T* a, int64_t depth, const T* W, const Finish& finish) {
  const dim3 grid(static_cast<unsigned>((n.units + kUnits - 1) / kUnits),
                  static_cast<unsigned>((n.rows + kRows - 1) / kRows));
  launch(step_kernel<T, gates, transposed, Finish>, grid, kThreads, a, static_cast<int>(depth), W,
         static_cast<int>(n.rows), static_cast<int>(n.units), finish);
}

// ---------------------------------------------------------------------------------------------------------------------
// The functions applied to the sums. Pointers point to the (B, U) or (B, 4U) numbers of a step.

template <class T>
struct Rnn {
  const T *gates, *bias;
  T* new_h;
  int64_t units;
  bool relu;

  __device__ void operator()(int64_t row, int64_t unit, const T (&sum)[1]) const {
    const int64_t at = row * units + unit;
    const T x = gates[at] + sum[0] + bias[unit];
    new_h[at] = !relu ? std::tanh(x) : x < 0 ? T{0} : x;
  }
};

template <class T>
struct RnnBackward {
  const T *grad_hidden, *h;
  T* grad_gate;
  int64_t units;
  bool relu;

  __device__ void operator()(int64_t row, int64_t unit, const T (&grad_h)[1]) const {
    const int64_t at = row * units + unit;
    const T grad = grad_h[0] + grad_hidden[at];
    grad_gate[at] = !relu ? grad * (1 - h[at] * h[at]) : h[at] <= 0 ? T{0} : grad;
  }
};

// On entry the gates hold the products with the inputs, on return their activations.
template <class T>
struct Lstm {
  T* gates;
  const T *bias, *c;
  T *new_c, *new_h;
  int64_t units;

  __device__ void operator()(int64_t row, int64_t unit, const T (&sum)[4]) const {
    const int64_t at = row * units + unit;
    T* const gate = gates + 4 * row * units + unit;
    const auto x = [&](int k) { return gate[k * units] + sum[k] + bias[k * units + unit]; };
    const T i = math::sigmoid(x(0)), f = math::sigmoid(x(1)), g = std::tanh(x(2)), o = math::sigmoid(x(3));
    const T cell = f * c[at] + i * g;
    gate[0] = i;
    gate[units] = f;
    gate[2 * units] = g;
    gate[3 * units] = o;
    new_c[at] = cell;
    new_h[at] = o * std::tanh(cell);
  }
};

// With h = o tanh(c), c = f c' + i g: the gradients of the four pre-activations, and that of c' from that of c, which
// may be the same memory.
template <class T>
struct LstmBackward {
  const T *grad_hidden, *gates, *c_before, *c, *grad_c;
  T *grad_gates, *grad_c_before;
  int64_t units;

  __device__ void operator()(int64_t row, int64_t unit, const T (&grad_h)[1]) const {
    const int64_t at = row * units + unit, gate_at = 4 * row * units + unit;
    const T* const gate = gates + gate_at;
    const T i = gate[0], f = gate[units], g = gate[2 * units], o = gate[3 * units], tanh_c = std::tanh(c[at]);
    const T of_h = grad_h[0] + grad_hidden[at];
    const T of_c = grad_c[at] + of_h * o * (1 - tanh_c * tanh_c);
    T* const grad = grad_gates + gate_at;
    grad[0] = of_c * g * i * (1 - i);
    grad[units] = of_c * c_before[at] * f * (1 - f);
    grad[2 * units] = of_c * i * (1 - g * g);
    grad[3 * units] = of_h * tanh_c * o * (1 - o);
    grad_c_before[at] = of_c * f;
  }
};

template <class T>
struct Keep {
  T* out;
  int64_t units;
  __device__ void operator()(int64_t row, int64_t unit, const T (&sum)[1]) const { out[row * units + unit] = sum[0]; }
};

// ---------------------------------------------------------------------------------------------------------------------
// All steps

template <class T>
constexpr DType kDType = std::is_same_v<T, double> ? DType::float64 : DType::float32;

template <class T>
void rnn_typed(const RecurrentSizes& n, const Array& gates_, const Array& W_hh, const Array& bias_,
               const Array& hidden_, bool relu) {
  const Compact gates(gates_, kDType<T>), W(W_hh, kDType<T>), bias(bias_, kDType<T>), hidden(hidden_, kDType<T>);
  for (int64_t t = 0; t < n.steps; ++t) {
    T* const h = hidden.data<T>() + t * n.states;
    launch_step<T, 1, false>(n, h, n.units, W.data<T>(),
                             Rnn<T>{gates.data<T>() + t * n.states, bias.data<T>(), h + n.states, n.units, relu});
  }
  hidden.store();
}

template <class T>
void rnn_backward_typed(const RecurrentSizes& n, const Array& grad_hidden_, const Array& hidden_, const Array& W_hh,
                        const Array& grad_gates_, const Array& grad_h0_, bool relu) {
  const Compact grad_hidden(grad_hidden_, kDType<T>), hidden(hidden_, kDType<T>), W(W_hh, kDType<T>);
  const Compact grad_gates(grad_gates_, kDType<T>, Content::overwritten);
  const Compact grad_h0(grad_h0_, kDType<T>, Content::overwritten);
  int64_t depth = 0;  // the last step has no successor to propagate from
  for (int64_t t = n.steps - 1; t >= 0; --t) {
    const int64_t at = t * n.states;
    T* const grad_gate = grad_gates.data<T>() + at;
    launch_step<T, 1, true>(
        n, grad_gate + n.states, depth, W.data<T>(),
        RnnBackward<T>{grad_hidden.data<T>() + at, hidden.data<T>() + at + n.states, grad_gate, n.units, relu});
    depth = n.units;
  }
  launch_step<T, 1, true>(n, grad_gates.data<T>(), depth, W.data<T>(), Keep<T>{grad_h0.data<T>(), n.units});
  grad_gates.store();
  grad_h0.store();
}

template <class T>
void lstm_typed(const RecurrentSizes& n, const Array& gates_, const Array& W_hh, const Array& bias_,
                const Array& hidden_, const Array& cells_) {
  const Compact gates(gates_, kDType<T>), W(W_hh, kDType<T>), bias(bias_, kDType<T>);
  const Compact hidden(hidden_, kDType<T>), cells(cells_, kDType<T>);
  for (int64_t t = 0; t < n.steps; ++t) {
    T *const h = hidden.data<T>() + t * n.states, *const c = cells.data<T>() + t * n.states;
    launch_step<T, 4, false>(
        n, h, n.units, W.data<T>(),
        Lstm<T>{gates.data<T>() + 4 * t * n.states, bias.data<T>(), c, c + n.states, h + n.states, n.units});
  }
  gates.store();
  hidden.store();
  cells.store();
}

template <class T>
void lstm_backward_typed(const RecurrentSizes& n, const Array& grad_hidden_, const Array& grad_cell_,
                         const Array& gates_, const Array& cells_, const Array& W_hh, const Array& grad_gates_,
                         const Array& grad_h0_, const Array& grad_c0_) {
  const Compact grad_hidden(grad_hidden_, kDType<T>), grad_cell(grad_cell_, kDType<T>), gates(gates_, kDType<T>);
  const Compact cells(cells_, kDType<T>), W(W_hh, kDType<T>);
  const Compact grad_gates(grad_gates_, kDType<T>, Content::overwritten);
  const Compact grad_h0(grad_h0_, kDType<T>, Content::overwritten), grad_c(grad_c0_, kDType<T>, Content::overwritten);
  copy(grad_cell.array(), grad_c.array());  // from here on, the gradient of the cell before each step
  int64_t depth = 0;                        // the last step has no successor to propagate from
  for (int64_t t = n.steps - 1; t >= 0; --t) {
    const int64_t at = t * n.states;
    const T* const c = cells.data<T>() + at;
    T* const grad_gate = grad_gates.data<T>() + 4 * at;
    launch_step<T, 1, true>(n, grad_gate + 4 * n.states, depth, W.data<T>(),
                            LstmBackward<T>{grad_hidden.data<T>() + at, gates.data<T>() + 4 * at, c, c + n.states,
                                            grad_c.data<T>(), grad_gate, grad_c.data<T>(), n.units});
    depth = 4 * n.units;
  }
  launch_step<T, 1, true>(n, grad_gates.data<T>(), depth, W.data<T>(), Keep<T>{grad_h0.data<T>(), n.units});
  grad_gates.store();
  grad_h0.store();
  grad_c.store();
}

}  // namespace

void rnn(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, bool relu) {
  const RecurrentSizes sizes = recurrent_sizes(gates, W_hh);
  (gates.dtype == DType::float64 ? rnn_typed<double> : rnn_typed<float>)(sizes, gates, W_hh, bias, hidden, relu);
}

void rnn_backward(const Array& grad_hidden, const Array& hidden, const Array& W_hh, const Array& grad_gates,
                  const Array& grad_h0, bool relu) {
  const RecurrentSizes sizes = recurrent_sizes(grad_hidden, W_hh);
  (hidden.dtype == DType::float64 ? rnn_backward_typed<double> : rnn_backward_typed<float>)(sizes, grad_hidden, hidden,
                                                                                            W_hh, grad_gates, grad_h0,
                                                                                            relu);
}

void lstm(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, const Array& cells) {
  const RecurrentSizes sizes = recurrent_sizes(gates, W_hh);
  (gates.dtype == DType::float64 ? lstm_typed<double> : lstm_typed<float>)(sizes, gates, W_hh, bias, hidden, cells);
}

void lstm_backward(const Array& grad_hidden, const Array& grad_cell, const Array& gates, const Array& cells,
                   const Array& W_hh, const Array& grad_gates, const Array& grad_h0, const Array& grad_c0) {
  const RecurrentSizes sizes = recurrent_sizes(gates, W_hh);
  (gates.dtype == DType::float64
       ? lstm_backward_typed<double>
       : lstm_backward_typed<float>)(sizes, grad_hidden, grad_cell, gates, cells, W_hh, grad_gates, grad_h0, grad_c0);
}

}  // namespace needle::cuda
