// How much an element-wise operation costs a processor, by which the work is divided among threads.
#pragma once

namespace needle {

// Of one element, in additions.
template <class Operation> inline constexpr int kCost = 1;

}  // namespace needle
