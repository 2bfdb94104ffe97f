// Matrix products by cuBLAS, through its newer API, cublasLt: one call handles all dtypes, strides and batches, and can
// fuse a bias and a ReLU.
//
// cuBLAS is column-major: to it, a row-major (m, n) array is an (n, m) matrix. So we compute out = a b as
// out^T = b^T a^T; a flag marks transposed operands.
#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>

#include "kernels/common/bounded_cache.h"
#include "kernels/common/error.h"
#include "kernels/common/plan.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/libraries/error.h"
#include "kernels/cuda/libraries/kernels.h"
#include "kernels/cuda/libraries/provider.h"

namespace needle::cuda::libraries {
namespace {

constexpr int64_t kWorkspace = int64_t{32} << 20;  // what cuBLAS itself uses on compute capability 9.0
constexpr size_t kMostRecipes = 1024;

// A batch of matrices as cuBLAS sees them.
struct Matrix {
  void* data;
  int64_t rows, columns, leading;
  bool transposed;  // whether the product uses its transpose
  int64_t batch_stride;

  auto key() const { return std::make_tuple(rows, columns, leading, transposed, batch_stride, alignment()); }

  // The alignment of the first element: cuBLAS has faster algorithms for 16 bytes and more.
  uint32_t alignment() const {
    const auto address = reinterpret_cast<uintptr_t>(data);
    return address % 256 ? static_cast<uint32_t>(address & -address) : 256;
  }
};

// Describes the last two axes of `a`, whose transpose the product uses; false if cuBLAS cannot express their strides.
bool last_axes(const Array& a, Matrix& matrix) {
  const int row_axis = a.ndim - 2, column_axis = a.ndim - 1;
  const int64_t rows = a.shape[row_axis], columns = a.shape[column_axis];
  const int64_t row_stride = a.strides[row_axis], column_stride = a.strides[column_axis];
  matrix.data = first_byte(a);
  if ((column_stride == 1 || columns == 1) && (rows == 1 || row_stride >= columns)) {
    matrix.rows = columns, matrix.columns = rows, matrix.transposed = false;
    matrix.leading = rows == 1 ? columns : row_stride;
    return true;
  }
  if ((row_stride == 1 || rows == 1) && (columns == 1 || column_stride >= rows)) {
    matrix.rows = rows, matrix.columns = columns, matrix.transposed = true;
    matrix.leading = columns == 1 ? rows : column_stride;
    return true;
  }
  return false;
}

// Merges the leading axes into one; false if no single stride steps through them.
bool leading_axes_as_one(const Array& a, int64_t& batch, int64_t& stride) {
  batch = 1, stride = 0;
  for (int d = a.ndim - 3; d >= 0; --d) {
    if (a.shape[d] == 1) continue;
    if (batch == 1)
      stride = a.strides[d];
    else if (a.strides[d] != stride * batch)
      return false;
    batch *= a.shape[d];
  }
  return stride >= 0;
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::float64: return CUDA_R_64F;
    case DType::float16: return CUDA_R_16F;
    case DType::bfloat16: return CUDA_R_16BF;
    default: return CUDA_R_32F;
  }
}

cublasComputeType_t compute_type(DType dtype) {
  if (dtype == DType::float64) return CUBLAS_COMPUTE_64F;
  return dtype == DType::float32 && allows_tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

cublasLtHandle_t handle() {  // one per device, never destroyed
  static std::mutex mutex;
  static auto* handles = new std::map<int, cublasLtHandle_t>;
  const std::lock_guard<std::mutex> lock(mutex);
  cublasLtHandle_t& made = (*handles)[device().index];
  if (!made) NEEDLE_CUDA(cublasLtCreate(&made));
  return made;
}

// The descriptors and algorithm for one call signature.
struct Recipe {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, out = nullptr;
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace;
  bool exists;  // whether cuBLAS has an algorithm at all

  Recipe(DType dtype, const Matrix& a_matrix, const Matrix& b_matrix, const Matrix& out_matrix, int64_t batch,
         bool bias, bool relu) {
    const bool is_double = dtype == DType::float64;
    NEEDLE_CUDA(cublasLtMatmulDescCreate(&operation, compute_type(dtype), is_double ? CUDA_R_64F : CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, a_matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, b_matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias) set(CUBLASLT_MATMUL_DESC_EPILOGUE, relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS);
    layout(a, dtype, a_matrix, batch);
    layout(b, dtype, b_matrix, batch);
    layout(out, dtype, out_matrix, batch);

    cublasLtMatmulPreference_t preference;
    NEEDLE_CUDA(cublasLtMatmulPreferenceCreate(&preference));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      NEEDLE_CUDA(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspace));
    // Adds the parts of a long sum in the compute type; otherwise half-type parts are rounded before they are added.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a_matrix.alignment());
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b_matrix.alignment());
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out_matrix.alignment());
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out_matrix.alignment());
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle(), operation, a, b, out, out, preference, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(preference);
    exists = status == CUBLAS_STATUS_SUCCESS && count > 0;
    if (!exists) return;
    algorithm = found.algo;
    workspace = found.workspaceSize;
  }

  ~Recipe() {
    for (cublasLtMatrixLayout_t one : {a, b, out})
      if (one) cublasLtMatrixLayoutDestroy(one);
    if (operation) cublasLtMatmulDescDestroy(operation);
  }
  Recipe(const Recipe&) = delete;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    NEEDLE_CUDA(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value));
  }

 private:
  static void layout(cublasLtMatrixLayout_t& made, DType dtype, const Matrix& matrix, int64_t batch) {
    NEEDLE_CUDA(cublasLtMatrixLayoutCreate(&made, data_type(dtype), matrix.rows, matrix.columns, matrix.leading));
    const auto count = static_cast<int32_t>(batch);
    NEEDLE_CUDA(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
    NEEDLE_CUDA(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                 &matrix.batch_stride, sizeof matrix.batch_stride));
  }
};

// The cached recipe for a product with this signature, or a new one.
Recipe& recipe_for(DType dtype, const Matrix& a, const Matrix& b, const Matrix& out, int64_t batch, bool bias,
                   bool relu) {
  const auto key =
      std::make_tuple(device().index, dtype, compute_type(dtype), a.key(), b.key(), out.key(), batch, bias, relu);
  static auto* kept = new BoundedCache<std::decay_t<decltype(key)>, std::unique_ptr<Recipe>>(kMostRecipes);
  if (const auto* found = kept->find(key)) return **found;
  return *kept->keep(key, std::make_unique<Recipe>(dtype, a, b, out, batch, bias, relu));
}

bool product(Kernel kernel, const Array& a, const Array& b, const Array* bias, const Array& out, bool relu) {
  if (!is_chosen(kernel, out.dtype, out.size() * a.shape[a.ndim - 1])) return false;
  if (!is_floating_dtype(out.dtype)) return false;
  if (a.size() == 0 || b.size() == 0 || out.size() == 0) return false;
  // out^T = b^T a^T: b is the first operand.
  Matrix first, second, result;
  if (!last_axes(b, first) || !last_axes(a, second) || !last_axes(out, result) || result.transposed) return false;
  int64_t batch, same;
  if (!leading_axes_as_one(out, batch, result.batch_stride) || !leading_axes_as_one(a, same, second.batch_stride) ||
      same != batch || !leading_axes_as_one(b, same, first.batch_stride) || same != batch)
    return false;
  if (batch > 1 && result.batch_stride < result.columns * result.leading) return false;

  static std::mutex mutex;  // recipes are not thread-safe
  const std::lock_guard<std::mutex> lock(mutex);
  Recipe& recipe = recipe_for(out.dtype, first, second, result, batch, bias != nullptr, relu);
  if (!recipe.exists) return false;
  if (bias) recipe.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(first_byte(*bias)));
  std::optional<Buffer> workspace;
  try {
    workspace.emplace(static_cast<int64_t>(recipe.workspace), *device().pool);
  } catch (const OutOfMemoryError&) {  // our kernel needs no workspace
    return false;
  }
  const double one = 1, zero = 0;
  const float one_float = 1, zero_float = 0;
  const bool is_double = out.dtype == DType::float64;
  NEEDLE_CUDA(cublasLtMatmul(
      handle(), recipe.operation, is_double ? static_cast<const void*>(&one) : &one_float, first.data, recipe.a,
      second.data, recipe.b, is_double ? static_cast<const void*>(&zero) : &zero_float, result.data, recipe.out,
      result.data, recipe.out, &recipe.algorithm, workspace->data(), recipe.workspace, device().stream));
  return true;
}

}  // namespace

bool matmul(const Array& a, const Array& b, const Array& out) {
  return product(Kernel::matmul, a, b, nullptr, out, false);
}

bool linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu) {
  if (bias.shape[0] > 1 && bias.strides[0] != 1) return false;
  return product(Kernel::linear, x, weight, &bias, out, relu);
}

}  // namespace needle::cuda::libraries
