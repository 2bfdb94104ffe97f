// Arrays in a form that cuDNN accepts: the arrays themselves if possible, else row-major copies. cuDNN's extents and
// strides are ints, and its kernels read 16 bytes at once.
#pragma once

#include "kernels/common/array.h"
#include "kernels/cuda/compact.h"

namespace needle::cuda::libraries {

// Whether `a` is nonempty and 32-bit offsets can address all of it.
bool is_within_reach(const Array& a);

// Whether no elements of `images` overlap, all strides are positive, and the first element is 16-byte aligned.
bool is_plainly_strided(const Array& images);

// Whether `a` (C,) is contiguous and its first element is 16-byte aligned.
bool is_plain_vector(const Array& a);

// The same elements, with consistent strides for axes of extent 1, because cuDNN checks them, too.
Array with_plain_strides(const Array& images);

// Images as an operand of a convolution. With a channels-last filter they must also be channels-last, without gaps
// inside an image. With the other filter layout, which float64 needs, they may have any strides.
class Images {
 public:
  explicit Images(const Array& images, Content content = Content::used);
  const Array& array() const { return used_; }
  void* data() const;
  void store() const;  // copies the result back, if this is a copy

 private:
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

// Weights (K_h, K_w, C_in, C_out) in cuDNN's order, row-major: (C_out, K_h, K_w, C_in), or for float64 (C_out, C_in,
// K_h, K_w). That order differs from ours, so the weights are copied: C_in * C_out * taps numbers, compared with as
// many multiply-adds for each output pixel.
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
