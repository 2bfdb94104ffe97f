// matmul against the triple loop of its definition, in double, at every instruction level.
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;

namespace {

// What an integer dtype keeps of a number.
double wrapped(DType dtype, uint64_t bits) {
  switch (dtype) {
    case DType::int8: return static_cast<int8_t>(bits);
    case DType::uint8: return static_cast<uint8_t>(bits);
    case DType::int32: return static_cast<int32_t>(bits);
    default: return static_cast<double>(static_cast<int64_t>(bits));
  }
}

std::vector<double> reference(const Array& a, const Array& b) {
  const int64_t m = a.shape[a.ndim - 2], k = a.shape[a.ndim - 1], n = b.shape[b.ndim - 1];
  const std::vector<double> x = values(a), y = values(b);
  std::vector<double> out;
  for (int64_t batch = 0; batch < (m && n ? values(a).size() / std::max<int64_t>(m * k, 1) : 0); ++batch)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        uint64_t bits = 0;
        for (int64_t p = 0; p < k; ++p) {
          const double left = x[(batch * m + i) * k + p], right = y[(batch * k + p) * n + j];
          sum += left * right;
          if (!is_floating_dtype(a.dtype)) bits += static_cast<uint64_t>(static_cast<int64_t>(left)) * static_cast<uint64_t>(static_cast<int64_t>(right));
        }
        if (a.dtype == DType::boolean) out.push_back(sum != 0);
        else out.push_back(is_floating_dtype(a.dtype) ? sum : wrapped(a.dtype, bits));
      }
  return out;
}
}  // namespace
