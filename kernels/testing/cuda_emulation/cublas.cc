// The stand-in for cublasLt: plain loops, after checking the arguments as NVIDIA's header requires.
#include <cublasLt.h>

#include <algorithm>

#include "kernels/testing/cuda_emulation/library_numbers.h"

using cuda_emulation::Number;

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct cublasLtMatrixLayoutOpaque {
  cudaDataType type;
  int64_t rows, columns, leading;
  int32_t batch = 1;
  int64_t stride = 0;
};
struct cublasLtMatmulPreferenceOpaque {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};         // of a, b, c, d
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK;  // allowed ways to add the parts of a sum
};

namespace {

constexpr size_t kWorkspace = 4096;

Number number(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F: return Number::float64;
    case CUDA_R_16F: return Number::float16;
    case CUDA_R_16BF: return Number::bfloat16;
    default: return Number::float32;
  }
}

template <class Value>
cublasStatus_t set(Value& target, const void* value, size_t nbytes) {
  if (!value || nbytes != sizeof target) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&target, value, nbytes);
  return CUBLAS_STATUS_SUCCESS;
}

// The rows and columns of op(matrix).
int64_t rows(const cublasLtMatrixLayoutOpaque& m, cublasOperation_t op) {
  return op == CUBLAS_OP_N ? m.rows : m.columns;
}
int64_t columns(const cublasLtMatrixLayoutOpaque& m, cublasOperation_t op) {
  return op == CUBLAS_OP_N ? m.columns : m.rows;
}

cublasStatus_t check(const cublasLtMatmulDescOpaque& desc, const cublasLtMatrixLayoutOpaque& a,
                     const cublasLtMatrixLayoutOpaque& b, const cublasLtMatrixLayoutOpaque& d) {
  const bool is_double = d.type == CUDA_R_64F;
  if (a.type != d.type || b.type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
  if ((desc.compute == CUBLAS_COMPUTE_64F) != is_double || (desc.scale == CUDA_R_64F) != is_double)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && d.type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (rows(a, desc.a) != d.rows || columns(b, desc.b) != d.columns || columns(a, desc.a) != rows(b, desc.b))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const auto* m : {&a, &b, &d})
    if (m->rows < 1 || m->columns < 1 || m->leading < m->rows || m->batch != d.batch)
      return CUBLAS_STATUS_INVALID_VALUE;
  if (d.batch > 1 && d.stride < d.leading * (d.columns - 1) + d.rows) return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

bool is_aligned(const void* data, uint64_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

}  // namespace

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    default: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  *desc = new cublasLtMatmulDescOpaque{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t nbytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(desc->a, value, nbytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(desc->b, value, nbytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(desc->epilogue, value, nbytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(desc->bias, value, nbytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *layout = new cublasLtMatrixLayoutOpaque{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t nbytes) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(layout->batch, value, nbytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(layout->stride, value, nbytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t nbytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return set(preference->workspace, value, nbytes);
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) return set(preference->reduction, value, nbytes);
  const int operand = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
  if (operand < 0 || operand > 3) return CUBLAS_STATUS_INVALID_VALUE;
  return set(preference->alignment[operand], value, nbytes);
}

// Returns one algorithm. Its first four numbers are the alignments that it was found for, the fifth its workspace, and
// the sixth whether the two halves of a sum are rounded to the result's dtype before they are added.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t* results, int* count) {
  cuda_emulation::count_call("cublasLtMatmulAlgoGetHeuristic");
  if (!handle || most < 1) return CUBLAS_STATUS_INVALID_VALUE;
  *count = 0;
  if (const cublasStatus_t status = check(*desc, *a, *b, *d); status != CUBLAS_STATUS_SUCCESS) return status;
  results[0] = {};
  for (int i = 0; i < 4; ++i) results[0].algo.data[i] = preference->alignment[i];
  results[0].algo.data[4] = results[0].workspaceSize = preference->workspace >= kWorkspace ? kWorkspace : 0;
  results[0].algo.data[5] = (preference->reduction & ~CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  cuda_emulation::count_call("cublasLtMatmul");
  if (!handle || !alpha || !beta || !a || !b || !d) return CUBLAS_STATUS_INVALID_VALUE;
  if (const cublasStatus_t status = check(*desc, *a_layout, *b_layout, *d_layout); status != CUBLAS_STATUS_SUCCESS)
    return status;
  const void* const operands[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (!is_aligned(operands[i], algorithm->data[i])) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes < algorithm->data[4] || (workspace_bytes && (!workspace || !is_aligned(workspace, 256))))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (desc->epilogue != CUBLASLT_EPILOGUE_DEFAULT && !desc->bias) return CUBLAS_STATUS_INVALID_VALUE;
  const Number type = number(d_layout->type);
  const double scale = cuda_emulation::factor(type, alpha), kept = cuda_emulation::factor(type, beta);
  const bool rounds_parts = algorithm->data[5] != 0;
  cuda_emulation::submit(stream, [=, desc = *desc, x = *a_layout, y = *b_layout, out = *d_layout] {
    if (workspace_bytes) std::memset(workspace, 0xcd, workspace_bytes);
    const bool tf32 = desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const auto read = [&](const void* data, int64_t index) {
      const double value = cuda_emulation::load(type, data, index);
      return tf32 ? cuda_emulation::as_tf32(static_cast<float>(value)) : value;
    };
    const int64_t length = columns(x, desc.a);
    const int64_t x_row = desc.a == CUBLAS_OP_N ? 1 : x.leading, x_step = desc.a == CUBLAS_OP_N ? x.leading : 1;
    const int64_t y_step = desc.b == CUBLAS_OP_N ? 1 : y.leading, y_column = desc.b == CUBLAS_OP_N ? y.leading : 1;
    for (int64_t batch = 0; batch < out.batch; ++batch)
      for (int64_t j = 0; j < out.columns; ++j)
        for (int64_t i = 0; i < out.rows; ++i) {
          const int64_t place = batch * out.stride + i + j * out.leading;
          double sum = 0, part = 0;
          for (int64_t k = 0; k < length; ++k) {
            part += read(a, batch * x.stride + i * x_row + k * x_step) *
                    read(b, batch * y.stride + k * y_step + j * y_column);
            if (k != length / 2 && k != length - 1) continue;
            if (rounds_parts && kept == 0) {
              cuda_emulation::store(type, d, place, part);
              part = cuda_emulation::load(type, d, place);
            }
            sum += part;
            part = 0;
          }
          sum *= scale;
          if (kept != 0) sum += kept * cuda_emulation::load(type, c, place);
          if (desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT) sum += cuda_emulation::load(type, desc.bias, i);
          if (desc.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS) sum = sum < 0 ? 0 : sum;
          cuda_emulation::store(type, d, place, sum);
        }
  });
  return CUBLAS_STATUS_SUCCESS;
}
