#include "kernels/common/dtype.h"

namespace needle {

int64_t itemsize(DType dtype) {
  static constexpr int64_t sizes[kNumDTypes] = {4, 8, 2, 2, 1, 1, 4, 8, 1};
  return sizes[static_cast<int>(dtype)];
}

const char* name(DType dtype) {
  static constexpr const char* names[kNumDTypes] = {"float32", "float64", "float16", "bfloat16", "int8",
                                                    "uint8",   "int32",   "int64",   "bool"};
  return names[static_cast<int>(dtype)];
}

}  // namespace needle
