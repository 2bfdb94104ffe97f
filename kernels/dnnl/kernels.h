// The kernels of NEEDLE_DNNL_KERNELS, with the operands of kernels/common/kernel_table.h. Each says whether it did the
// call. If not, nothing was written: oneDNN cannot do it, or not as fast as we can, or the call is wrong. One that the
// library refuses on the way throws Refused.
#pragma once

#include "kernels/common/array.h"
#include "kernels/common/cpu_features.h"

namespace needle::dnnl {

bool matmul(Level level, const Array& a, const Array& b, const Array& out);
bool linear(Level level, const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu);

bool conv2d(Level level, const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding);
bool conv2d_bias(Level level, const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding);
bool conv2d_backward_data(Level level, const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding);
bool conv2d_backward_weight(Level level, const Array& x, const Array& grad_out, const Array& grad_weight,
                            int64_t stride, int64_t padding);

bool avg_pool2d(Level level, const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding);
bool avg_pool2d_backward(Level level, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding);

bool batch_norm(Level level, const Array& x, const Array& weight, const Array& bias, const Array& out,
                const Array& mean, const Array& variance, double eps, bool relu);
bool batch_norm_inference(Level level, const Array& x, const Array& weight, const Array& bias, const Array& mean,
                          const Array& variance, const Array& out, double eps, bool relu);
bool batch_norm_backward(Level level, const Array& grad_out, const Array& x, const Array& weight, const Array& bias,
                         const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                         const Array& grad_bias, double eps, bool relu);

}  // namespace needle::dnnl
