// The kernels that NVIDIA's libraries have, too, with the operands of kernels/common/kernel_table.h. Each says whether it
// did the call. If not, ours does it: the dtypes or strides are none of the library's, it is not chosen for as much work,
// there is no memory for what it needs beside the operands, or the call is wrong, which our kernel refuses.
#pragma once

#include "kernels/common/array.h"

namespace needle::cuda::libraries {

bool matmul(const Array& a, const Array& b, const Array& out);
bool linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu);
bool conv2d(const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding);
bool conv2d_bias(const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding);
bool conv2d_backward_data(const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding);
bool conv2d_backward_weight(const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride,
                            int64_t padding);
bool max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding);
bool avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding);
bool avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding);

}  // namespace needle::cuda::libraries
