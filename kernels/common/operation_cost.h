// The CPU cost of an element-wise operation, used to divide work among threads.
#pragma once

namespace needle {

// The cost per element, in additions.
template <class Operation>
inline constexpr int kCost = 1;

}  // namespace needle
