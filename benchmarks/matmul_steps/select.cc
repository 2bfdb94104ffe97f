// From an instruction level to its steps.
#include "benchmarks/matmul_steps/steps.h"

namespace needle::cpu {

namespace baseline {
extern const MatmulSteps steps_table;
}
namespace avx2 {
extern const MatmulSteps steps_table;
}
namespace avx512 {
extern const MatmulSteps steps_table;
}

const MatmulSteps& matmul_steps(Level level) {
  kernels(level);  // throws where the processor does not have it
  switch (level) {
    case Level::baseline: return baseline::steps_table;
    case Level::avx2: return avx2::steps_table;
    default: return avx512::steps_table;
  }
}

}  // namespace needle::cpu
