// The GPUs: which there are, the one that this thread works with, its stream and its memory.
//
// A device has one stream for all kernels. What is released and taken again from its pool is therefore used in the order
// in which the work was given to it, and nothing waits for anything.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "kernels/common/memory_pool.h"

namespace needle::cuda {

// How many there are; 0 where the driver is missing or too old, too.
int device_count();

// Why a GPU cannot be used, as one sentence, or "" if it can.
std::string reason_unavailable(int index);

// What each device has, made when it is first used and never destroyed: arrays may outlive every static object.
struct Device {
  int index;
  std::string name;
  int multiprocessors;
  cudaStream_t stream;
  MemoryPool* pool;      // of what kernels write
  MemoryPool* incoming;  // of what comes from the host: transfer.cc
};

// Makes a device the one that this thread works with. Throws `reason_unavailable`.
const Device& use_device(int index);

// The one that this thread works with.
const Device& device();

// Waits until everything that the device was given is done. Throws what it met on the way: device_errors.h.
void synchronize();

}  // namespace needle::cuda
