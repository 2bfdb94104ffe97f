// Shared by the element-wise kernels: turns an operation on one element into a kernel over arrays.
//
// An operation is a struct with `apply`, which takes an element of each input in the compute type. If all operands are
// contiguous in the same order, a thread reads 16 bytes of each at a time; otherwise it locates each element by the
// strides.
#pragma once

#include "kernels/common/dispatch.h"
#include "kernels/cuda/index.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {

// `width` adjacent elements, read and written by one instruction.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

// An input of a kernel, read in the compute type: an array or, if it has no memory, one number.
template <class T>
struct Input {
  const std::byte* data;
  Compute<T> number;
  bool steps;  // false if there is only one element, at `data`

  // For the elements of `a` from the address `first` on.
  Input(const Array& a, const std::byte* first) : data(a.buffer ? first : nullptr), number{}, steps(a.ndim > 0) {
    if (!data) number = a.number<T>();
  }

  template <int width>
  __device__ Pack<Compute<T>, width> read(int64_t pack) const {
    Pack<Compute<T>, width> all;
    if (data && steps) {
      const Pack<T, width> stored = reinterpret_cast<const Pack<T, width>*>(data)[pack];
#pragma unroll
      for (int i = 0; i < width; ++i) all.values[i] = static_cast<Compute<T>>(stored.values[i]);
    } else {
      const Compute<T> value = read_at(0);
#pragma unroll
      for (int i = 0; i < width; ++i) all.values[i] = value;
    }
    return all;
  }

  __device__ Compute<T> read_at(int64_t offset) const {
    return data ? static_cast<Compute<T>>(*reinterpret_cast<const T*>(data + offset)) : number;
  }
};

template <int width, class Operation, class Out, class... In>
__device__ Pack<Out, width> apply_to_packs(const Operation& operation, const Pack<In, width>&... in) {
  Pack<Out, width> out;
#pragma unroll
  for (int i = 0; i < width; ++i) out.values[i] = static_cast<Out>(operation.apply(in.values[i]...));
  return out;
}

template <int width, class Operation, class Out, class... In>
__global__ void __launch_bounds__(kThreads) dense_kernel(Operation operation, int64_t n, Out* out, Input<In>... in) {
  const int64_t packs = n / width, stride = int64_t{gridDim.x} * blockDim.x;
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (int64_t pack = first; pack < packs; pack += stride)
    reinterpret_cast<Pack<Out, width>*>(out)[pack] =
        apply_to_packs<width, Operation, Out>(operation, in.template read<width>(pack)...);
  if (const int64_t i = packs * width + first; i < n)  // the remaining elements, fewer than a block has threads
    out[i] = static_cast<Out>(operation.apply(in.template read<1>(i).values[0]...));
}

template <class Operation, class Out, class... In, int... k>
__device__ void strided_element(const Operation& operation, const int64_t* offset, std::byte* out,
                                std::integer_sequence<int, k...>, const Input<In>&... in) {
  *reinterpret_cast<Out*>(out + offset[0]) = static_cast<Out>(operation.apply(in.read_at(offset[k + 1])...));
}

template <class Operation, class Out, class... In>
__global__ void __launch_bounds__(kThreads)
    strided_kernel(Operation operation, uint32_t n, Strides<1 + sizeof...(In)> strides, std::byte* out,
                   Input<In>... in) {
  const uint32_t stride = gridDim.x * blockDim.x;
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
    int64_t offset[1 + sizeof...(In)];
    strides.locate(i, offset);
    strided_element<Operation, Out>(operation, offset, out, std::make_integer_sequence<int, sizeof...(In)>{}, in...);
  }
}

// Whether every operand is contiguous in the plan's order and its packs are aligned.
template <int operands>
bool is_dense(const Plan& plan, const Array* const (&arrays)[operands], int width) {
  if (plan.ndim > 1) return false;
  for (int k = 0; k < operands; ++k) {
    if (k > 0 && arrays[k]->ndim == 0) continue;
    const int64_t size = itemsize(arrays[k]->dtype);
    if (plan.stride[k][0] != size || reinterpret_cast<uintptr_t>(plan.data[k]) % (size * width) != 0) return false;
  }
  return true;
}

template <class Out, class... In, class Operation, size_t... k, class... Arrays>
void run_elementwise(const Operation& operation, std::index_sequence<k...>, const Array& out, const Arrays&... in) {
  constexpr int operands = 1 + sizeof...(In);
  constexpr int width = std::min(16 / static_cast<int>(std::max({sizeof(Out), sizeof(In)...})), 8);
  const Array* const arrays[] = {&out, &in...};
  const Plan plan(arrays, operands, kAllAxes);
  if (is_dense(plan, arrays, width)) {
    launch(dense_kernel<width, Operation, Out, In...>, blocks_for(plan.size, int64_t{kThreads} * width), kThreads,
           operation, plan.size, reinterpret_cast<Out*>(plan.data[0]), Input<In>(in, plan.data[k + 1])...);
    return;
  }
  for_each_part(plan, [&](const Plan& part) {
    launch(strided_kernel<Operation, Out, In...>, blocks_for(part.size, kThreads), kThreads, operation,
           static_cast<uint32_t>(part.size), Strides<operands>(part), part.data[0], Input<In>(in, part.data[k + 1])...);
  });
}

// out = operation(in...), element-wise. Out and In are the element types; shapes have been checked.
template <class Out, class... In, class Operation, class... Arrays>
void elementwise(const Operation& operation, const Array& out, const Arrays&... in) {
  run_elementwise<Out, In...>(operation, std::index_sequence_for<In...>{}, out, in...);
}

}  // namespace needle::cuda
