// out (..., m, n) = a (..., m, k) @ b (..., k, n), and out = x @ weight + bias, optionally followed by relu. Matrices
// may have any strides; gemm.h has the loop nest.
#include "kernels/common/dispatch.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The offset of matrix number `index` of a batch, counted in row-major order over the leading dimensions.
int64_t matrix_offset(const Array& array, int64_t index) {
  int64_t offset = 0;
  for (int d = array.ndim - 3; d >= 0; --d) {
    offset += index % array.shape[d] * array.strides[d];
    index /= array.shape[d];
  }
  return offset;
}

// Returns `count` equally spaced numbers as contiguous Ts: `source` itself if possible, else a copy in `buffer`.
template <class T, class E>
const T* read_row(const E* source, int64_t stride, int64_t count, T* buffer) {
  if constexpr (std::is_same_v<E, T>)
    if (stride == 1) return source;
  StridedMatrix<E>{source, 0, stride}.copy_block(buffer, count, 0, 1, 0, count);
  return buffer;
}

// out[r] = sum over p of matrix[r, p] * vector[p] for `rows` rows from `row` on, at most kVectorRows. Each number of
// the matrix is used only once, so the product is memory-bound and packing would only slow it down. The matrix is read
// in its memory order.
constexpr int64_t kVectorRows = 256, kVectorDepth = 2048;

template <class T, class E>
void multiply_vector(const StridedMatrix<E>& matrix, int64_t row, int64_t rows, int64_t depth, const E* vector,
                     int64_t vector_stride, E* out, int64_t out_stride) {
  T sums[kVectorRows] = {};
  const E* const corner = matrix.data + row * matrix.row_stride;
  if (matrix.row_stride == 1 && matrix.column_stride != 1) {
    T buffers[4][kVectorRows];
    for (int64_t p = 0; p < depth; p += 4) {  // four columns at once, so that sums are loaded less often
      const T* column[4];
      T factor[4];
      for (int64_t q = 0; q < 4; ++q) {
        const int64_t at = smaller(p + q, depth - 1);
        column[q] = read_row(corner + at * matrix.column_stride, 1, rows, buffers[q]);
        factor[q] = static_cast<T>(vector[at * vector_stride]);
      }
      if (p + 4 <= depth) {
        for (int64_t r = 0; r < rows; ++r)
          sums[r] +=
              factor[0] * column[0][r] + factor[1] * column[1][r] + factor[2] * column[2][r] + factor[3] * column[3][r];
      } else {
        for (int64_t q = 0; p + q < depth; ++q)
          for (int64_t r = 0; r < rows; ++r) sums[r] += factor[q] * column[q][r];
      }
    }
  } else {
    T row_buffer[kVectorDepth], vector_buffer[kVectorDepth];
    for (int64_t p = 0; p < depth; p += kVectorDepth) {
      const int64_t count = smaller(kVectorDepth, depth - p);
      const T* const factors = read_row(vector + p * vector_stride, vector_stride, count, vector_buffer);
      for (int64_t r = 0; r < rows; ++r) {
        const E* source = corner + r * matrix.row_stride + p * matrix.column_stride;
        const T* const numbers = read_row(source, matrix.column_stride, count, row_buffer);
        UnalignedVector<T> lanes[4] = {};
        int64_t q = 0;
        for (; q + 4 * kLanes<T> <= count; q += 4 * kLanes<T>) {
          const auto* x = reinterpret_cast<const UnalignedVector<T>*>(numbers + q);
          const auto* y = reinterpret_cast<const UnalignedVector<T>*>(factors + q);
          for (int i = 0; i < 4; ++i) lanes[i] += x[i] * y[i];
        }
        lanes[0] += lanes[1] + lanes[2] + lanes[3];
        for (int i = 0; i < kLanes<T>; ++i) sums[r] += lanes[0][i];
        for (; q < count; ++q) sums[r] += numbers[q] * factors[q];
      }
    }
  }
  for (int64_t r = 0; r < rows; ++r) out[(row + r) * out_stride] = static_cast<E>(sums[r]);
}

}  // namespace

void matmul(const Array& a, const Array& b, const Array& out) {
  const int rows = a.ndim - 2, columns = a.ndim - 1;
  const int64_t m = out.shape[rows], n = out.shape[columns], k = a.shape[columns];
  int64_t batch = 1;
  for (int d = 0; d < rows; ++d) batch *= out.shape[d];

  dispatch(a.dtype, [&](auto zero) {
    using Element = typename GemmTypes<decltype(zero)>::Element;
    using Sum = typename GemmTypes<decltype(zero)>::Sum;
    const auto matrix = [&](const Array& array, int64_t index) {
      return StridedMatrix<Element>{array.data<Element>() + matrix_offset(array, index), array.strides[rows],
                                    array.strides[columns]};
    };
    const auto result = [&](int64_t index) {
      return StridedResult<Element>{out.data<Element>() + matrix_offset(out, index), out.strides[rows],
                                    out.strides[columns]};
    };
    if (m != 1 && n != 1)
      return gemm<Sum>(
          batch, m, n, k, [&](int64_t index) { return matrix(a, index); },
          [&](int64_t index) { return matrix(b, index); }, result);

    const int64_t length = m == 1 ? n : m, blocks = ceil_div(length, kVectorRows), items = batch * blocks;
    const int parts = parallel_parts(items, saturated_product(batch, length, k));
    parallel_for(items, parts, [&](int, int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t index = item / blocks, row = item % blocks * kVectorRows;
        const int64_t count = smaller(kVectorRows, length - row);
        const auto left = matrix(a, index), right = matrix(b, index);
        const auto to = result(index);
        if (m == 1)
          multiply_vector<Sum>(StridedMatrix<Element>{right.data, right.column_stride, right.row_stride}, row, count, k,
                               left.data, left.column_stride, to.data, to.column_stride);
        else
          multiply_vector<Sum>(left, row, count, k, right.data, right.row_stride, to.data, to.row_stride);
      }
    });
  });
}

void linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu) {
  const int64_t m = x.shape[0], k = x.shape[1], n = weight.shape[1];
  if ((m == 1 || n == 1) && !is_half_dtype(x.dtype)) {  // memory-bound, see multiply_vector
    matmul(x, weight, out);
    const Array biases(bias.buffer, bias.dtype, 2, {m, n}, {0, bias.strides[0]}, bias.offset);
    return (relu ? add_relu : add)(out, biases, out);
  }
  dispatch_floating(x.dtype, [&](auto zero) {
    using Element = decltype(zero);
    using Sum = Compute<Element>;
    const Scratch<Sum> biases(n);
    read_vector(bias, biases.data());
    gemm<Sum>(
        1, m, n, k, [&](int64_t) { return StridedMatrix<Element>{x.data<Element>(), x.strides[0], x.strides[1]}; },
        [&](int64_t) { return StridedMatrix<Element>{weight.data<Element>(), weight.strides[0], weight.strides[1]}; },
        [&](int64_t) { return StridedResult<Element>{out.data<Element>(), out.strides[0], out.strides[1]}; },
        biases.data(), relu);
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
