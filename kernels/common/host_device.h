// Marks functions that run on the host and, if nvcc compiles them, also on a GPU.
#pragma once

#ifdef __CUDACC__
#define NEEDLE_HOST_DEVICE __host__ __device__
#else
#define NEEDLE_HOST_DEVICE
#endif
