// out (..., m, n) = a (..., m, k) @ b (..., k, n), and out = x @ weight + bias. Matrices, including transposed ones,
// are used without copying. Only those with gaps in both directions or with negative strides are copied.
#include <optional>
#include <utility>

#include "kernels/common/plan.h"
#include "kernels/cpu/libraries/kernels.h"
#include "kernels/cpu/libraries/operand.h"
#include "kernels/cpu/libraries/provider.h"
#include "kernels/cpu/libraries/recipe.h"

namespace needle::cpu::libraries {
namespace {

constexpr int64_t kThin = 32;

// A batch of equally spaced matrices: (count, rows, columns). A count of 1 repeats one matrix.
struct Matrices {
  int64_t count = 1, rows, columns;
  int64_t batch_stride = 0, row_stride, column_stride;
  bool is_plain;  // rows or columns are contiguous, and the batch has a single stride

  explicit Matrices(const Array& a)
      : rows(a.shape[a.ndim - 2]),
        columns(a.shape[a.ndim - 1]),
        row_stride(a.strides[a.ndim - 2]),
        column_stride(a.strides[a.ndim - 1]) {
    bool regular = true;
    for (int d = a.ndim - 3; d >= 0; --d) {
      if (a.shape[d] == 1) continue;
      if (count == 1) batch_stride = a.strides[d];
      regular = regular && a.strides[d] == batch_stride * count;
      count *= a.shape[d];
    }
    if (batch_stride == 0) count = 1;
    // The stride of an axis of extent 1 is meaningless, and oneDNN would misinterpret it.
    if (columns == 1) column_stride = row_stride == 1 ? rows : 1;
    if (rows == 1) row_stride = column_stride == 1 ? columns : 1;
    is_plain = regular && batch_stride >= 0 &&
               ((column_stride == 1 && row_stride >= columns) || (row_stride == 1 && column_stride >= rows));
    if (count == 1) batch_stride = rows * columns;
  }

  Layout layout(DType dtype) const {
    return strided_layout(dtype, {count, rows, columns}, {batch_stride, row_stride, column_stride});
  }
};

// out = a @ b (+ bias).
bool multiply(Level level, Kernel kernel, const Array& a, const Array& b, const Array* bias, const Array& out) {
  const int64_t m = out.shape[out.ndim - 2], n = out.shape[out.ndim - 1], k = a.shape[a.ndim - 1];
  // bfloat16 is multiplied in pairs. If the last number has no partner and is infinite, oneDNN 3.2 may produce NaN.
  if (a.dtype == DType::bfloat16 && k % 2 != 0) return false;
  const ShapeClass shape_class = m < kThin || k < kThin || n < kThin ? ShapeClass::thin
                                 : a.dtype == DType::bfloat16        ? ShapeClass::bfloat16
                                                                     : ShapeClass::any;
  if (!is_chosen(level, kernel, shape_class, out.size() * k)) return false;
  if (!Matrices(a).is_plain) return multiply(level, kernel, copied(level, a, a.dtype), b, bias, out);
  if (!Matrices(b).is_plain) return multiply(level, kernel, a, copied(level, b, b.dtype), bias, out);

  const Threads threads;
  const Output product(out, Matrices(out).is_plain && Matrices(out).column_stride == 1);
  const Matrices left(a), right(b), result(product.array());
  const Key key{static_cast<int64_t>(kernel),
                static_cast<int64_t>(a.dtype),
                result.count,
                m,
                k,
                n,
                left.count,
                left.batch_stride,
                left.row_stride,
                left.column_stride,
                right.count,
                right.batch_stride,
                right.row_stride,
                right.column_stride,
                result.batch_stride,
                result.row_stride};
  const auto recipe = find_recipe(key, [&](Recipe& made) {
    const Library& onednn = *library();
    const Layout a_layout = left.layout(a.dtype), b_layout = right.layout(a.dtype), c_layout = result.layout(a.dtype);
    const Layout bias_layout = bias ? strided_layout(a.dtype, {1, 1, n}, {n, n, 1}) : nullptr;
    PrimitiveDesc desc = describe([&](dnnl_primitive_desc_t* described) {
      return onednn.matmul_primitive_desc_create(described, onednn.engine, a_layout.get(), b_layout.get(),
                                                 bias_layout.get(), c_layout.get(), onednn.attributes);
    });
    if (is_fast(desc)) made.primitive.emplace(std::move(desc));
  });
  if (!recipe->primitive) return false;

  std::optional<Input> biases;
  if (bias) biases.emplace(level, *bias);
  recipe->primitive->run({{DNNL_ARG_SRC, first_byte(a)},
                          {DNNL_ARG_WEIGHTS, first_byte(b)},
                          {DNNL_ARG_BIAS, biases ? biases->data() : nullptr},
                          {DNNL_ARG_DST, product.data()}});
  product.finish(level);
  return true;
}

}  // namespace

bool matmul(Level level, const Array& a, const Array& b, const Array& out) {
  return is_supported(a) && is_supported(b) && is_supported(out) && multiply(level, Kernel::matmul, a, b, nullptr, out);
}

bool linear(Level level, const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu) {
  if (!is_supported(x) || !is_supported(weight) || !is_supported(out)) return false;
  if (!multiply(level, Kernel::linear, x, weight, &bias, out)) return false;
  if (relu) cpu::kernels(level).relu(out, out);
  return true;
}

}  // namespace needle::cpu::libraries
