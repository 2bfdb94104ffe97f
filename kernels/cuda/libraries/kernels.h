// The kernels that NVIDIA's libraries have, too, with the operands of kernels/common/kernel_table.h. Each says whether it
// did the call. If not, it has not touched anything: the dtypes or strides are none of the library's, or the call is
// wrong, which our kernel then refuses with an error that says why.
#pragma once

#include "kernels/common/array.h"

namespace needle::cuda::libraries {

bool matmul(const Array& a, const Array& b, const Array& out);
bool linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool relu);

}  // namespace needle::cuda::libraries
