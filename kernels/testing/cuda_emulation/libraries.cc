// NVIDIA's libraries are not emulated: every call is done by our own kernels.
#include "kernels/cuda/libraries/kernels.h"

namespace needle::cuda::libraries {

bool matmul(const Array&, const Array&, const Array&) { return false; }
bool linear(const Array&, const Array&, const Array&, const Array&, bool) { return false; }

}  // namespace needle::cuda::libraries
