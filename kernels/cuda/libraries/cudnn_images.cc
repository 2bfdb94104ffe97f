#include "kernels/cuda/libraries/cudnn_images.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/common/plan.h"

namespace needle::cuda::libraries {
namespace {

constexpr int64_t kMost = INT32_MAX;

bool is_aligned(const Array& a) { return reinterpret_cast<uintptr_t>(first_byte(a)) % 16 == 0; }

// Whether each image is row-major without gaps, and images follow one another without overlap.
bool is_channels_last(const Array& images) {
  const Dims& shape = images.shape;
  const int64_t packed[] = {0, shape[2] * shape[3], shape[3], 1};
  for (int d = 1; d < 4; ++d)
    if (shape[d] != 1 && images.strides[d] != packed[d]) return false;
  return shape[0] == 1 || images.strides[0] >= shape[1] * packed[1];
}

bool can_stay(const Array& images) {
  return is_plainly_strided(images) && (images.dtype == DType::float64 || is_channels_last(images));
}

Array row_major(DType dtype, const Dims& shape) { return Array::compact(dtype, 4, shape, *device().pool); }

Array in_order_of_filter(const Array& weight) {
  const int channels_last[] = {3, 0, 1, 2}, channels_first[] = {3, 2, 0, 1};
  const int* order = weight.dtype == DType::float64 ? channels_first : channels_last;
  Array ordered = weight;
  for (int d = 0; d < 4; ++d) {
    ordered.shape[d] = weight.shape[order[d]];
    ordered.strides[d] = weight.strides[order[d]];
  }
  return ordered;
}

}  // namespace

bool is_within_reach(const Array& a) {
  int64_t last = 0;
  for (int d = 0; d < a.ndim; ++d) {
    if (a.shape[d] == 0 || a.shape[d] > kMost) return false;
    last += (a.shape[d] - 1) * std::abs(a.strides[d]);
  }
  return last < kMost && a.size() < kMost;
}

bool is_plainly_strided(const Array& images) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and extent
  for (int d = 0; d < 4; ++d)
    if (images.shape[d] != 1) axes.emplace_back(images.strides[d], images.shape[d]);
  std::sort(axes.begin(), axes.end());
  int64_t reach = 0;  // the largest offset along the axes so far
  for (const auto& [stride, extent] : axes) {
    if (stride <= reach) return false;
    reach += (extent - 1) * stride;
  }
  return is_aligned(images);
}

bool is_plain_vector(const Array& a) { return a.is_compact() && is_aligned(a); }

Array with_plain_strides(const Array& images) {
  Array plain = images;
  const Dims& shape = images.shape;
  const int64_t packed[] = {shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1};
  for (int d = 0; d < 4; ++d)
    if (shape[d] == 1) plain.strides[d] = packed[d];
  return plain;
}

Images::Images(const Array& images, Content content)
    : original_(images),
      is_copy_(!can_stay(images)),
      used_(is_copy_ ? row_major(images.dtype, images.shape) : with_plain_strides(images)) {
  if (is_copy_ && content == Content::used) copy(original_, used_);
}

void* Images::data() const { return first_byte(used_); }

void Images::store() const {
  if (is_copy_) copy(used_, original_);
}

Filter::Filter(const Array& weight, Content content)
    : ordered_(in_order_of_filter(weight)),
      is_copy_(!ordered_.is_compact() || !is_aligned(ordered_)),
      used_(is_copy_ ? row_major(weight.dtype, ordered_.shape) : ordered_) {
  if (is_copy_ && content == Content::used) copy(ordered_, used_);
}

void* Filter::data() const { return first_byte(used_); }

void Filter::store() const {
  if (is_copy_) copy(used_, ordered_);
}

}  // namespace needle::cuda::libraries
