// The sizes of a recurrent layer over a sequence.
#pragma once

#include "kernels/common/array.h"

namespace needle {

struct RecurrentSizes {
  int64_t steps, rows, units;
  int64_t states;  // number of state elements in one step
};

// Of `gates` (T, B, G * H), or another array of T steps and B rows, and W_hh (H, G * H).
static inline RecurrentSizes recurrent_sizes(const Array& gates, const Array& W_hh) {
  const int64_t rows = gates.shape[1], units = W_hh.shape[0];
  return {gates.shape[0], rows, units, rows * units};
}

}  // namespace needle
