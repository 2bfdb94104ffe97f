// Checks of the recurrent layers.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"
#include "kernels/common/recurrent.h"

namespace needle::check {
namespace {

void check_shape(const char* op, NamedArray a, int64_t first, int64_t second, int64_t third) {
  if (!a.array.has_shape({first, second, third}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld)", op, a.name, ShapeText(a.array).text, first,
                      second, third);
}

void check_shape(const char* op, NamedArray a, int64_t first, int64_t second) {
  if (!a.array.has_shape({first, second}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld)", op, a.name, ShapeText(a.array).text, first, second);
}

// The sizes of gates (T, B, G*U), after checking that W_hh matches them.
RecurrentSizes check_sizes(const char* op, NamedArray gates, const Array& W_hh, int num_gates) {
  check_floating(op, gates);
  check_ndim(op, gates, 3);
  check_same_dtype(op, {"W_hh", W_hh}, gates);
  check_ndim(op, {"W_hh", W_hh}, 2);
  const RecurrentSizes sizes = recurrent_sizes(gates.array, W_hh);
  check_shape(op, {"W_hh", W_hh}, sizes.units, num_gates * sizes.units);
  check_shape(op, gates, sizes.steps, sizes.rows, num_gates * sizes.units);
  return sizes;
}

void check_states(const char* op, NamedArray states, int64_t steps, const RecurrentSizes& sizes, const Array& gates) {
  check_same_dtype(op, states, {"gates", gates});
  check_shape(op, states, steps, sizes.rows, sizes.units);
}

void check_state(const char* op, NamedArray state, const RecurrentSizes& sizes, const Array& gates) {
  check_same_dtype(op, state, {"gates", gates});
  check_shape(op, state, sizes.rows, sizes.units);
}

}  // namespace

void rnn(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, bool /*relu*/) {
  const RecurrentSizes sizes = check_sizes("rnn", {"gates", gates}, W_hh, 1);
  check_same_dtype("rnn", {"bias", bias}, {"gates", gates});
  check_vector("rnn", {"bias", bias}, sizes.units);
  check_states("rnn", {"hidden", hidden}, sizes.steps + 1, sizes, gates);
}

void rnn_backward(const Array& grad_hidden, const Array& hidden, const Array& W_hh, const Array& grad_gates,
                  const Array& grad_h0, bool /*relu*/) {
  constexpr const char* op = "rnn_backward";
  const RecurrentSizes sizes = check_sizes(op, {"grad_hidden", grad_hidden}, W_hh, 1);
  check_states(op, {"hidden", hidden}, sizes.steps + 1, sizes, grad_hidden);
  check_states(op, {"grad_gates", grad_gates}, sizes.steps, sizes, grad_hidden);
  check_state(op, {"grad_h0", grad_h0}, sizes, grad_hidden);
}

void lstm(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden, const Array& cells) {
  const RecurrentSizes sizes = check_sizes("lstm", {"gates", gates}, W_hh, 4);
  check_same_dtype("lstm", {"bias", bias}, {"gates", gates});
  check_vector("lstm", {"bias", bias}, 4 * sizes.units);
  check_states("lstm", {"hidden", hidden}, sizes.steps + 1, sizes, gates);
  check_states("lstm", {"cells", cells}, sizes.steps + 1, sizes, gates);
}

void lstm_backward(const Array& grad_hidden, const Array& grad_cell, const Array& gates, const Array& cells,
                   const Array& W_hh, const Array& grad_gates, const Array& grad_h0, const Array& grad_c0) {
  constexpr const char* op = "lstm_backward";
  const RecurrentSizes sizes = check_sizes(op, {"gates", gates}, W_hh, 4);
  check_states(op, {"grad_hidden", grad_hidden}, sizes.steps, sizes, gates);
  check_state(op, {"grad_cell", grad_cell}, sizes, gates);
  check_states(op, {"cells", cells}, sizes.steps + 1, sizes, gates);
  check_like(op, {"grad_gates", grad_gates}, {"gates", gates});
  check_state(op, {"grad_h0", grad_h0}, sizes, gates);
  check_state(op, {"grad_c0", grad_c0}, sizes, gates);
}

}  // namespace needle::check
