// Definitions shared by batch and layer normalization.
#pragma once

#include "kernels/common/plan.h"
#include "kernels/cpu/fold.h"
#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kTaskSize = 65536;  // approximate number of elements that one task reduces

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
