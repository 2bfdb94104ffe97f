#include "kernels/common/pooling.h"

namespace needle {

PoolingGeometry::PoolingGeometry(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding)
    : rows{x.shape[1], out.shape[1], kernel, stride, padding},
      columns{x.shape[2], out.shape[2], kernel, stride, padding},
      images(x.shape[0]),
      channels(x.shape[3]) {}

}  // namespace needle
