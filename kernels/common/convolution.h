// Index arithmetic of convolutions and their gradients, shared by all backends. A tap is one position in a
// window. Everything here has internal linkage, so that the linker cannot substitute code compiled for another
// instruction level.
#pragma once

#include <cstdint>

namespace needle {
namespace {

// The taps of a kernel, along one axis, that fall on a pixel of the image in at least one window.
struct Taps {
  int64_t begin, end;

  Taps(int64_t kernel, int64_t windows, int64_t stride, int64_t padding, int64_t extent)
      : begin(padding - (windows - 1) * stride), end(extent + padding) {
    begin = begin < 0 ? 0 : begin < kernel ? begin : kernel;
    end = end > kernel ? kernel : end > begin ? end : begin;
  }
  int64_t count() const { return end - begin; }
};

// The memory stride of `count` pixels or taps that are `stride` positions apart. A single one needs no stride (0), and
// computing the product for it might overflow.
inline int64_t step_of(int64_t stride, int64_t distance, int64_t count) { return count > 1 ? stride * distance : 0; }

// grad_x[n, y, x, c] is the sum over taps and f of grad_out[n, i, j, f] * weight[h, w, c, f] where i * stride + h = y +
// padding, and likewise for columns. Rows y with the same remainder modulo stride, y = first + stride * y', involve
// only the taps h = h0 + stride * t with h0 = (first + padding) mod stride, and then
// i = y' + (first + padding - h0) / stride - t. So each pair of remainders (of rows and columns) is a stride-1
// convolution of grad_out with a subset of the weights, flipped because t counts backwards. This avoids all products
// with the zeros between dilated gradients.
struct BackwardPart {
  int64_t first, pixels, tap, taps, lead;  // tap: that of the window's first element; lead: windows begin at y' - lead

  BackwardPart(int64_t first, int64_t extent, int64_t windows, int64_t kernel, int64_t stride, int64_t padding)
      : first(first), pixels((extent - first + stride - 1) / stride) {
    const int64_t h0 = (first + padding) % stride, all = h0 < kernel ? (kernel - h0 + stride - 1) / stride : 0;
    const int64_t all_lead = all - 1 - (first + padding - h0) / stride;
    const Taps used(all, pixels, 1, all_lead, windows);
    taps = used.count();
    tap = taps > 0 ? h0 + stride * (all - 1 - used.begin) : 0;
    lead = all_lead - used.begin;
  }
};

}  // namespace
}  // namespace needle
