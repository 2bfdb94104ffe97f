// What batch and layer normalization share.
#pragma once

#include "kernels/common/norm.h"
#include "kernels/cpu/fold.h"
#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kTaskSize = 65536;  // elements that one task reduces, about

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
