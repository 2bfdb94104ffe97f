// Operand checks of kernels that have many operands, shared by all backends. They look only at dtypes and shapes, never
// at elements.
#pragma once

#include "kernels/common/check.h"

namespace needle {

// gather and scatter_add: `table` (rows, width), `picked` (*indices.shape, width).
void check_indexed_rows(const char* op, NamedArray table, const Array& indices, NamedArray picked);

inline constexpr int64_t kByteValues = 256;
void check_crop_images(const Array& images, const Array& windows, const Array& values, const Array& out);

// `velocities` are checked only if momentum != 0.
void check_sgd_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities, double momentum,
                    const ArrayList& only_if_finite);
void check_adam_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,
                     const ArrayList& second_moments, int64_t step, const ArrayList& only_if_finite);

// The sizes of a recurrent layer over a sequence.
struct RecurrentSizes {
  int64_t steps, rows, units;
  int64_t states() const;  // number of state elements in one step
};

RecurrentSizes check_rnn(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden);
RecurrentSizes check_rnn_backward(const Array& grad_hidden, const Array& hidden, const Array& W_hh,
                                  const Array& grad_gates, const Array& grad_h0);
RecurrentSizes check_lstm(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden,
                          const Array& cells);
RecurrentSizes check_lstm_backward(const Array& grad_hidden, const Array& grad_cell, const Array& gates,
                                   const Array& cells, const Array& W_hh, const Array& grad_gates, const Array& grad_h0,
                                   const Array& grad_c0);

}  // namespace needle
