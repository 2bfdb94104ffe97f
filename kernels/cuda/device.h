// The available GPUs, the calling thread's current device, and each device's stream and memory.
//
// A device has one stream for all kernels. So memory that is released to its pool and taken again is used in stream
// order and needs no synchronization.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "kernels/common/memory_pool.h"

namespace needle::cuda {

// The number of GPUs; also 0 if the driver is missing or too old.
int device_count();

// Why a GPU cannot be used, as one sentence, or "" if it can.
std::string reason_unavailable(int index);

// The resources of a device. Created on first use and never destroyed, because arrays may outlive every static object.
struct Device {
  int index;
  std::string name;
  int multiprocessors;
  cudaStream_t stream;
  MemoryPool* pool;      // memory for kernel outputs
  MemoryPool* incoming;  // memory for uploads from the host: transfer.cc
};

// Makes a device this thread's current device. Throws an error with `reason_unavailable` if it cannot be used.
const Device& use_device(int index);

// This thread's current device.
const Device& device();

// Waits for all work enqueued on the device. Throws errors that its kernels recorded: device_errors.h.
void synchronize();

}  // namespace needle::cuda
