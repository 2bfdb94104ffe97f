// Arrays as cuDNN takes them: where they lie if it can, else as row-major copies. Its numbers are ints, and its kernels
// read 16 bytes at once.
#pragma once

#include "kernels/common/array.h"
#include "kernels/cuda/compact.h"

namespace needle::cuda::libraries {

// Whether cuDNN's 32-bit numbers reach all of `a`, and there is something in it.
bool is_within_reach(const Array& a);

// Whether no two elements of images share a place, all strides are positive, and the first one is at 16 bytes.
bool is_plainly_strided(const Array& images);

// Whether there is nothing between the elements of (C,), and the first one is at 16 bytes.
bool is_plain_vector(const Array& a);

// The same elements, with strides along axes of one element that fit to the others, which cuDNN looks at.
Array with_plain_strides(const Array& images);

// Images as an operand of a convolution. With a channels-last filter they are to be channels-last, too, without gaps
// inside an image; with the other, which float64 needs, they may lie anyhow.
class Images {
 public:
  explicit Images(const Array& images, Content content = Content::used);
  const Array& array() const { return used_; }
  void* data() const;
  void store() const;  // what was computed, to where it belongs

 private:
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

// Weights (K_h, K_w, C_in, C_out) in cuDNN's order, row-major: (C_out, K_h, K_w, C_in), or for float64
// (C_out, C_in, K_h, K_w). Theirs is another order than ours, so this is a copy of weights, a matter of C_in C_out taps
// numbers beside as many multiply-adds for each output pixel.
class Filter {
 public:
  explicit Filter(const Array& weight, Content content = Content::used);
  void* data() const;
  void store() const;

 private:
  const Array ordered_;
  const bool is_copy_;
  const Array used_;
};

}  // namespace needle::cuda::libraries
