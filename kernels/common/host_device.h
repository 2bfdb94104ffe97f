// For functions that run on the host and, where nvcc compiles them, on a GPU as well.
#pragma once

#ifdef __CUDACC__
#define NEEDLE_HOST_DEVICE __host__ __device__
#else
#define NEEDLE_HOST_DEVICE
#endif
