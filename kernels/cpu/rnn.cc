// Recurrent layers over a sequence: the part of each step that depends on the previous step, forward and backward.
//
// T steps, B rows, U units (hidden_size), G gates per unit: 1 for the layer of Elman 1990, 4 for long short-term memory
// (Hochreiter and Schmidhuber 1997), in the order i, f, g, o. W_hh is (U, G*U). A step multiplies B rows with W_hh and
// applies a few element-wise functions. The product with the inputs was computed by matmul for all steps at once.
//
//   forward     gates[t] += h[t] W_hh              then h[t+1] from gates[t] and c[t]
//   backward    grad_gates[t] from grad_h          then grad_h = grad_gates[t] W_hh^T, and on to t - 1
//
// The product of one step is small, and all steps use the same matrix. So each thread takes some of the units and packs
// their columns of the matrix (see gemm.h) once for the whole sequence, into its own cache if they fit. It computes all
// gates of its units, and the states that follow from them, while they are in its L1 cache. The threads synchronize
// once per step, when every thread needs all of h[t+1] or grad_gates[t].
//
// Sums are computed as in gemm.h and do not depend on the number of threads. Half types are computed in float32
// throughout and rounded once.
#include <cmath>
#include <type_traits>

#include "kernels/common/recurrent.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

enum class Content { used, overwritten };

// An operand as row-major numbers of T: either the array itself or a copy, which `store` writes back.
template <class T>
class RowMajor {
 public:
  explicit RowMajor(const Array& a, Content content = Content::used)
      : original_(a),
        is_copy_(a.dtype != kDType || !a.is_compact()),
        used_(is_copy_ ? Array::compact(kDType, a.ndim, a.shape) : a) {
    if (is_copy_ && content == Content::used) copy(original_, used_);
  }
  void store() const {
    if (is_copy_) copy(used_, original_);
  }
  T* data() const { return used_.data<T>(); }
  // The address of index i along the first axis, each index having `size` numbers.
  T* at(int64_t i, int64_t size) const { return data() + i * size; }

 private:
  static constexpr DType kDType = std::is_same_v<T, double> ? DType::float64 : DType::float32;
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

// The packed columns of a matrix that one thread multiplies with at every step: columns `units` of each of `pieces`
// blocks that are `distance` columns wide.
template <class T>
class StepProduct {
 public:
  // The size, in numbers of T, of the packed matrix for `units` units in `threads` shares; kRowsSize is the additional
  // size per thread.
  static int64_t matrix_size(int64_t depth, int pieces, int64_t units, int threads) {
    return saturated_product(depth, pieces, units + threads * kTileColumns<T>);
  }
  static constexpr int64_t kRowsSize = kBlockRows * kPanelStride<T>;

  StepProduct(const StridedMatrix<T>& matrix, int64_t depth, Range units, int pieces, int64_t distance, T* packed,
              T* packed_rows)
      : depth_(depth), units_(units), pieces_(pieces), distance_(distance), packed_(packed), packed_rows_(packed_rows) {
    for (int piece = 0; piece < pieces; ++piece) columns(piece).pack(matrix, Team{0, 1});
  }

  // out[r][column] += sum over p of a[r][p] * matrix[p][column] for this thread's columns and all rows.
  void add_to(T* out, int64_t out_stride, const T* a, int64_t rows) const {
    int64_t offsets[kBlockRows];
    for (int64_t row = 0; row < rows; row += kBlockRows) {
      const int64_t count = smaller(kBlockRows, rows - row);
      for (int64_t r = 0; r < count; ++r) offsets[r] = (row + r) * out_stride;
      for (int64_t p = 0; p < depth_; p += kBlockDepth) {
        const int64_t depth = smaller(kBlockDepth, depth_ - p);
        pack_a(StridedMatrix<T>{a, depth_, 1}, row, count, p, depth, packed_rows_);
        for (int piece = 0; piece < pieces_; ++piece)
          multiply_block(count, units_.end - units_.begin, depth, packed_rows_, columns(piece).panel(p, 0),
                         out + piece * distance_ + units_.begin, offsets, 1,
                         Start<T>{out + piece * distance_ + units_.begin, offsets, 1});
      }
    }
  }

 private:
  PackedB<T> columns(int piece) const {
    const int64_t size = round_up(units_.end - units_.begin, kTileColumns<T>) * depth_;
    return {packed_ + piece * size, 0, depth_, piece * distance_ + units_.begin, piece * distance_ + units_.end};
  }

  const int64_t depth_;
  const Range units_;
  const int pieces_;
  const int64_t distance_;
  T* const packed_;
  T* const packed_rows_;
};

// Calls body(team, units, product) in every thread of a team that divides the units among its threads; `product`
// multiplies with this thread's columns of `matrix` (depth x pieces * units).
template <class T, class Body>
void share_units(int64_t rows, int64_t units, int pieces, const StridedMatrix<T>& matrix, int64_t depth,
                 const Body& body) {
  const int64_t vectors = ceil_div(units, kLanes<T>);
  const double step_work = static_cast<double>(rows) * depth * pieces * units;
  const int threads = threads_worth(step_work, static_cast<int>(smaller(num_threads(), vectors)));

  const int64_t matrix_size = StepProduct<T>::matrix_size(depth, pieces, units, threads);
  const Buffer buffer(saturated_product(saturated_sum(matrix_size, threads * StepProduct<T>::kRowsSize), sizeof(T)));
  T* const memory = reinterpret_cast<T*>(buffer.data());
  parallel_team(threads, [&](int rank, int size) {
    const Team team{rank, size};
    const Range share = team.share(vectors);
    const Range mine{share.begin * kLanes<T>, smaller(share.end * kLanes<T>, units)};
    T* const packed = memory + StepProduct<T>::matrix_size(depth, pieces, mine.begin, team.rank);
    T* const packed_rows = memory + matrix_size + team.rank * StepProduct<T>::kRowsSize;
    body(team, mine, StepProduct<T>(matrix, depth, mine, pieces, units, packed, packed_rows));
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// One row of one step. Pointers point to the first of n units.

// On entry h holds the sum of both products, on return h[t+1].
template <class T>
void rnn_row(int64_t n, const T* bias, bool relu, T* h) {
  if (relu) {
#pragma GCC ivdep
    for (int64_t u = 0; u < n; ++u) {
      const T a = h[u] + bias[u];
      h[u] = a < 0 ? T{0} : a;
    }
  } else {
#pragma GCC ivdep
    for (int64_t u = 0; u < n; ++u) h[u] = math::tanh(h[u] + bias[u]);
  }
}

// Resets grad_h to zero after using it.
template <class T>
void rnn_backward_row(int64_t n, const T* grad_hidden, const T* h, bool relu, T* grad_h, T* grad_gate) {
#pragma GCC ivdep
  for (int64_t u = 0; u < n; ++u) {
    const T grad = grad_h[u] + grad_hidden[u];
    grad_gate[u] = !relu ? grad * (1 - h[u] * h[u]) : h[u] <= 0 ? T{0} : grad;
    grad_h[u] = 0;
  }
}

// A row of gates: pointers to the first of the n units of each of the four gates.
template <class T>
struct Gates {
  T *i, *f, *g, *o;
  Gates(T* row, int64_t units) : i(row), f(row + units), g(row + 2 * units), o(row + 3 * units) {}
};

// On entry the gates hold the sum of both products, on return their activations.
template <class T>
void lstm_row(int64_t n, const Gates<T>& gate, const Gates<const T>& bias, const T* c, T* new_c, T* new_h) {
  T *const gate_i = gate.i, *const gate_f = gate.f, *const gate_g = gate.g, *const gate_o = gate.o;
  const T *const bias_i = bias.i, *const bias_f = bias.f, *const bias_g = bias.g, *const bias_o = bias.o;
#pragma GCC ivdep
  for (int64_t u = 0; u < n; ++u) {
    const T i = math::sigmoid(gate_i[u] + bias_i[u]), f = math::sigmoid(gate_f[u] + bias_f[u]);
    const T g = math::tanh(gate_g[u] + bias_g[u]), o = math::sigmoid(gate_o[u] + bias_o[u]);
    const T cell = f * c[u] + i * g;
    gate_i[u] = i;
    gate_f[u] = f;
    gate_g[u] = g;
    gate_o[u] = o;
    new_c[u] = cell;
    new_h[u] = o * math::tanh(cell);
  }
}

// With h = o tanh(c), c = f c' + i g: the gradients of the four pre-activations and of c'. The gradient of h is
// grad_h + grad_hidden. grad_h is reset to zero; grad_c holds the gradient of c on entry and that of c' on return.
template <class T>
void lstm_backward_row(int64_t n, const T* grad_hidden, const Gates<const T>& gate, const T* c_before, const T* c,
                       T* grad_h, T* grad_c, const Gates<T>& grad) {
  const T *const gate_i = gate.i, *const gate_f = gate.f, *const gate_g = gate.g, *const gate_o = gate.o;
  T *const grad_i = grad.i, *const grad_f = grad.f, *const grad_g = grad.g, *const grad_o = grad.o;
#pragma GCC ivdep
  for (int64_t u = 0; u < n; ++u) {
    const T i = gate_i[u], f = gate_f[u], g = gate_g[u], o = gate_o[u], tanh_c = math::tanh(c[u]);
    const T of_h = grad_h[u] + grad_hidden[u];
    const T of_c = grad_c[u] + of_h * o * (1 - tanh_c * tanh_c);
    grad_i[u] = of_c * g * i * (1 - i);
    grad_f[u] = of_c * c_before[u] * f * (1 - f);
    grad_g[u] = of_c * i * (1 - g * g);
    grad_o[u] = of_h * tanh_c * o * (1 - o);
    grad_c[u] = of_c * f;
    grad_h[u] = 0;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// All steps

template <class T>
void rnn_typed(const RecurrentSizes& n, const Array& gates_, const Array& W_hh, const Array& bias_,
               const Array& hidden_, bool relu) {
  const RowMajor<T> gates(gates_), weights(W_hh), bias(bias_), hidden(hidden_);
  const StridedMatrix<T> matrix{weights.data(), n.units, 1};
  share_units<T>(n.rows, n.units, 1, matrix, n.units, [&](const Team& team, Range mine, const StepProduct<T>& product) {
    const int64_t width = mine.end - mine.begin;
    for (int64_t t = 0; t < n.steps; ++t) {
      const T* h = hidden.at(t, n.states);
      T* new_h = hidden.at(t + 1, n.states);
      for (int64_t at = mine.begin; at < n.states; at += n.units)
        std::memcpy(new_h + at, gates.at(t, n.states) + at, width * sizeof(T));
      product.add_to(new_h, n.units, h, n.rows);
      for (int64_t at = mine.begin; at < n.states; at += n.units)
        rnn_row(width, bias.data() + mine.begin, relu, new_h + at);
      team.barrier();
    }
  });
  hidden.store();
}

template <class T>
void rnn_backward_typed(const RecurrentSizes& n, const Array& grad_hidden_, const Array& hidden_, const Array& W_hh,
                        const Array& grad_gates_, const Array& grad_h0_, bool relu) {
  const RowMajor<T> grad_hidden(grad_hidden_), hidden(hidden_), weights(W_hh);
  const RowMajor<T> grad_gates(grad_gates_, Content::overwritten), grad_h(grad_h0_, Content::overwritten);
  const StridedMatrix<T> transposed{weights.data(), 1, n.units};
  share_units<T>(n.rows, n.units, 1, transposed, n.units,
                 [&](const Team& team, Range mine, const StepProduct<T>& product) {
                   const int64_t width = mine.end - mine.begin;
                   for (int64_t at = mine.begin; at < n.states; at += n.units)
                     std::memset(grad_h.data() + at, 0, width * sizeof(T));
                   for (int64_t t = n.steps - 1; t >= 0; --t) {
                     T* grad_gate = grad_gates.at(t, n.states);
                     for (int64_t at = mine.begin; at < n.states; at += n.units)
                       rnn_backward_row(width, grad_hidden.at(t, n.states) + at, hidden.at(t + 1, n.states) + at, relu,
                                        grad_h.data() + at, grad_gate + at);
                     team.barrier();
                     product.add_to(grad_h.data(), n.units, grad_gate, n.rows);
                   }
                 });
  grad_gates.store();
  grad_h.store();
}

template <class T>
void lstm_typed(const RecurrentSizes& n, const Array& gates_, const Array& W_hh, const Array& bias_,
                const Array& hidden_, const Array& cells_) {
  const RowMajor<T> gates(gates_), weights(W_hh), bias(bias_), hidden(hidden_), cells(cells_);
  const StridedMatrix<T> matrix{weights.data(), 4 * n.units, 1};
  share_units<T>(n.rows, n.units, 4, matrix, n.units, [&](const Team& team, Range mine, const StepProduct<T>& product) {
    for (int64_t t = 0; t < n.steps; ++t) {
      const T *h = hidden.at(t, n.states), *c = cells.at(t, n.states);
      T *new_h = hidden.at(t + 1, n.states), *new_c = cells.at(t + 1, n.states);
      T* gate = gates.at(t, 4 * n.states);
      product.add_to(gate, 4 * n.units, h, n.rows);
      for (int64_t row = 0; row < n.rows; ++row) {
        const int64_t at = row * n.units + mine.begin;
        lstm_row(mine.end - mine.begin, Gates<T>(gate + 4 * row * n.units + mine.begin, n.units),
                 Gates<const T>(bias.data() + mine.begin, n.units), c + at, new_c + at, new_h + at);
      }
      team.barrier();
    }
  });
  gates.store();
  hidden.store();
  cells.store();
}

template <class T>
void lstm_backward_typed(const RecurrentSizes& n, const Array& grad_hidden_, const Array& grad_cell_,
                         const Array& gates_, const Array& cells_, const Array& W_hh, const Array& grad_gates_,
                         const Array& grad_h0_, const Array& grad_c0_) {
  const RowMajor<T> grad_hidden(grad_hidden_), grad_cell(grad_cell_), gates(gates_), cells(cells_), weights(W_hh);
  const RowMajor<T> grad_gates(grad_gates_, Content::overwritten);
  const RowMajor<T> grad_h(grad_h0_, Content::overwritten), grad_c(grad_c0_, Content::overwritten);
  const StridedMatrix<T> transposed{weights.data(), 1, 4 * n.units};
  share_units<T>(n.rows, n.units, 1, transposed, 4 * n.units,
                 [&](const Team& team, Range mine, const StepProduct<T>& product) {
                   const int64_t width = mine.end - mine.begin;
                   for (int64_t at = mine.begin; at < n.states; at += n.units) {
                     std::memset(grad_h.data() + at, 0, width * sizeof(T));
                     std::memcpy(grad_c.data() + at, grad_cell.data() + at, width * sizeof(T));
                   }
                   for (int64_t t = n.steps - 1; t >= 0; --t) {
                     T* grad_gate = grad_gates.at(t, 4 * n.states);
                     for (int64_t row = 0; row < n.rows; ++row) {
                       const int64_t at = row * n.units + mine.begin, gate_at = 4 * row * n.units + mine.begin;
                       lstm_backward_row(width, grad_hidden.at(t, n.states) + at,
                                         Gates<const T>(gates.at(t, 4 * n.states) + gate_at, n.units),
                                         cells.at(t, n.states) + at, cells.at(t + 1, n.states) + at, grad_h.data() + at,
                                         grad_c.data() + at, Gates<T>(grad_gate + gate_at, n.units));
                     }
                     team.barrier();
                     product.add_to(grad_h.data(), n.units, grad_gate, n.rows);
                   }
                 });
  grad_gates.store();
  grad_h.store();
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

}  // namespace needle::cpu::NEEDLE_LEVEL
