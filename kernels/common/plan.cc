#include "kernels/common/plan.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace needle {

std::byte* first_byte(const Array& a) {
  return a.data<std::byte>() + a.offset * (itemsize(a.dtype) - 1);  // data<std::byte>() already includes `offset` bytes
}

Plan::Plan(const Array* const* arrays, int num_operands, unsigned axes) : num_operands(num_operands) {
  const Array& first = *arrays[0];
  const auto stride_of = [&](int k, int axis) {
    return arrays[k]->ndim == 0 ? 0 : arrays[k]->strides[axis] * itemsize(arrays[k]->dtype);
  };
  for (int k = 0; k < num_operands; ++k) data[k] = first_byte(*arrays[k]);

  int order[kMaxDims], count = 0;  // axes, innermost first
  for (int axis = first.ndim - 1; axis >= 0; --axis) {
    if (!(axes >> axis & 1)) continue;
    size *= first.shape[axis];
    if (first.shape[axis] == 1) continue;
    const auto further_in = [&](int other) {  // whether `axis` belongs inside `other`
      for (int k = 0; k < num_operands; ++k) {
        const int64_t mine = std::abs(stride_of(k, axis)), theirs = std::abs(stride_of(k, other));
        if (mine != theirs) return mine < theirs;
      }
      return false;
    };
    int place = count++;
    for (; place > 0 && further_in(order[place - 1]); --place) order[place] = order[place - 1];
    order[place] = axis;
  }

  if (count == 0 || size == 0) {
    for (int k = 0; k < num_operands; ++k) stride[k][0] = itemsize(arrays[k]->dtype);
    extent[0] = size;
    return;
  }
  ndim = 0;
  for (int i = 0; i < count; ++i) {
    const int axis = order[i];
    bool merge = ndim > 0;
    for (int k = 0; merge && k < num_operands; ++k)
      merge = stride_of(k, axis) == stride[k][ndim - 1] * extent[ndim - 1];
    if (merge) {
      extent[ndim - 1] *= first.shape[axis];
      continue;
    }
    extent[ndim] = first.shape[axis];
    for (int k = 0; k < num_operands; ++k) stride[k][ndim] = stride_of(k, axis);
    ++ndim;
  }
}

void Plan::swap_dimensions(int a, int b) {
  std::swap(extent[a], extent[b]);
  for (int k = 0; k < num_operands; ++k) std::swap(stride[k][a], stride[k][b]);
}

Plan Plan::without_innermost(int count) const {
  Plan outer = *this;
  outer.ndim = std::max(ndim - count, 1);
  outer.size = 1;
  for (int d = 0; d < outer.ndim; ++d) {
    const bool exists = d + count < ndim;
    outer.extent[d] = exists ? extent[d + count] : 1;
    for (int k = 0; k < num_operands; ++k) outer.stride[k][d] = exists ? stride[k][d + count] : 0;
    outer.size *= outer.extent[d];
  }
  return outer;
}

Cursor::Cursor(const Plan& plan, int64_t position) : plan_(plan) {
  for (int k = 0; k < plan.num_operands; ++k) pointer_[k] = plan.data[k];
  for (int d = 0; d < plan.ndim; ++d) {
    index_[d] = plan.extent[d] ? position % plan.extent[d] : 0;
    position = plan.extent[d] ? position / plan.extent[d] : 0;
    for (int k = 0; k < plan.num_operands; ++k) pointer_[k] += index_[d] * plan.stride[k][d];
  }
}

void Cursor::advance(int64_t count) {
  index_[0] += count;
  for (int k = 0; k < plan_.num_operands; ++k) pointer_[k] += count * plan_.stride[k][0];
  for (int d = 0; d + 1 < plan_.ndim && index_[d] == plan_.extent[d]; ++d) {
    index_[d] = 0;
    ++index_[d + 1];
    for (int k = 0; k < plan_.num_operands; ++k)
      pointer_[k] += plan_.stride[k][d + 1] - plan_.extent[d] * plan_.stride[k][d];
  }
}

}  // namespace needle
