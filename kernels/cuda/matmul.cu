// out (..., m, n) = a (..., m, k) @ b (..., k, n), and out = x @ weight + bias, optionally followed by relu, for
// matrices of any strides. Floating dtypes use the tiles of gemm.h; the others, which no model multiplies, are computed
// element by element.

#include "kernels/common/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

constexpr int64_t kMostExtent = int64_t{1} << 30;

// Whether every matrix along the leading axes begins at an address where packs of four are aligned.
bool keeps_packs_aligned(const Array& array, int leading) {
  const int64_t size = itemsize(array.dtype);
  if (reinterpret_cast<uintptr_t>(first_byte(array)) % (4 * size) != 0) return false;
  for (int d = 0; d < leading; ++d)
    if (array.strides[d] % 4 != 0 && array.shape[d] > 1) return false;
  return true;
}

// An axis of an array as a matrix axis.
PlainAxis axis_of(const Array& array, int axis) { return {static_cast<int>(array.shape[axis]), array.strides[axis]}; }

bool packs(const Array& array, int inner, int outer) {
  return array.strides[inner] == 1 && (array.strides[outer] % 4 == 0 || array.shape[outer] == 1) &&
         keeps_packs_aligned(array, array.ndim - 2);
}

template <class E>
Operand<E, PlainAxis, Unbounded> operand(const Array& array, int line, int depth) {
  const bool along_line = array.strides[line] == 1 || (array.strides[depth] != 1 && line > depth);
  return {array.data<E>(),
          axis_of(array, line),
          axis_of(array, depth),
          {},
          along_line,
          along_line ? packs(array, line, depth) : packs(array, depth, line)};
}

// `bias` (of the columns) and `relu` are as in Result.
template <class E>
void multiply(const Array& a, const Array& b, const Array& out, const Array* bias, bool relu) {
  const int row = out.ndim - 2, column = out.ndim - 1;
  const Array* const arrays[] = {&out, &a, &b};
  const Plan batch(arrays, 3, (1u << row) - 1);
  // A transposed result is computed as the product of the transposed operands in swapped order, so that it is written
  // in memory order.
  if (!bias && out.strides[row] == 1 && out.strides[column] != 1) {
    const Array* const exchanged[] = {&out, &b, &a};
    return gemm<Compute<E>>(
        batch.size, Strides<3>(Plan(exchanged, 3, (1u << row) - 1)), operand<E>(b, column, row),
        operand<E>(a, row, column),
        Result<E, PlainAxis>{out.data<E>(), axis_of(out, column), axis_of(out, row), packs(out, row, column)});
  }
  gemm<Compute<E>>(batch.size, Strides<3>(batch), operand<E>(a, row, column), operand<E>(b, column, row),
                   Result<E, PlainAxis>{out.data<E>(), axis_of(out, row), axis_of(out, column), packs(out, column, row),
                                        bias ? bias->data<E>() : nullptr, bias ? bias->strides[0] : 0, relu});
}

// One thread per element of out. Integers wrap around; bool adds as `or` and multiplies as `and`.
template <class E>
__global__ void __launch_bounds__(kThreads)
    multiply_elements_kernel(uint32_t count, int k, Strides<3> strides, E* out, const E* a, const E* b,
                             int64_t a_stride, int64_t b_stride) {
  using Sum = std::conditional_t<sizeof(E) == 8, uint64_t, uint32_t>;
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    int64_t offset[3];
    strides.locate(i, offset);
    const E* left = reinterpret_cast<const E*>(reinterpret_cast<const std::byte*>(a) + offset[1]);
    const E* right = reinterpret_cast<const E*>(reinterpret_cast<const std::byte*>(b) + offset[2]);
    Sum sum = 0;
    for (int p = 0; p < k; ++p, left += a_stride, right += b_stride) {
      if constexpr (std::is_same_v<E, bool>)
        sum |= *left & *right;
      else
        sum += static_cast<Sum>(*left) * static_cast<Sum>(*right);
    }
    *reinterpret_cast<E*>(reinterpret_cast<std::byte*>(out) + offset[0]) = static_cast<E>(sum);
  }
}

template <class E>
void multiply_elements(const Array& a, const Array& b, const Array& out) {
  const int row = out.ndim - 2, column = out.ndim - 1;
  Array left = a, right = b;  // broadcast to out's shape, each along the other's axis
  left.shape = right.shape = out.shape;
  left.strides[column] = right.strides[row] = 0;
  const Array* const arrays[] = {&out, &left, &right};
  for_each_part(Plan(arrays, 3, kAllAxes), [&](const Plan& part) {
    launch(multiply_elements_kernel<E>, blocks_for(part.size, kThreads), kThreads, static_cast<uint32_t>(part.size),
           static_cast<int>(a.shape[column]), Strides<3>(part), reinterpret_cast<E*>(part.data[0]),
           reinterpret_cast<const E*>(part.data[1]), reinterpret_cast<const E*>(part.data[2]), a.strides[column],
           b.strides[row]);
  });
}

void check_extents(const char* op, int64_t m, int64_t n, int64_t k) {
  if (std::max({m, n, k}) >= kMostExtent)
    throw_shape_error("%s: (%ld, %ld) times (%ld, %ld), expected extents of less than 2^30 on a GPU", op, m, k, k, n);
}

}  // namespace

void matmul(const Array& a, const Array& b, const Array& out) {
  const int row = out.ndim - 2, column = out.ndim - 1;
  check_extents("matmul", out.shape[row], out.shape[column], a.shape[column]);
  if (out.size() == 0) return;
  dispatch(a.dtype, [&](auto zero) {
    using E = decltype(zero);
    if constexpr (is_floating<E>)
      multiply<E>(a, b, out, nullptr, false);
    else
      multiply_elements<E>(a, b, out);
  });
}

void linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu) {
  check_extents("linear", x.shape[0], weight.shape[1], x.shape[1]);
  if (out.size() == 0) return;
  dispatch_floating(x.dtype, [&](auto zero) { multiply<decltype(zero)>(x, weight, out, &bias, relu); });
}

}  // namespace needle::cuda
