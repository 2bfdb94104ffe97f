// oneDNN's C API, loaded at run time: without the library, a machine uses only our own kernels.
//
// Nothing is loaded before library() is first called. A failed load is not retried.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/common/cpu_features.h"

// Expands FUNCTION(name) for every function dnnl_name that is used.
#define NEEDLE_DNNL_FUNCTIONS(FUNCTION)                        \
  FUNCTION(version)                                            \
  FUNCTION(set_max_cpu_isa)                                    \
  FUNCTION(set_primitive_cache_capacity)                       \
  FUNCTION(engine_create)                                      \
  FUNCTION(stream_create)                                      \
  FUNCTION(stream_destroy)                                     \
  FUNCTION(stream_wait)                                        \
  FUNCTION(memory_create)                                      \
  FUNCTION(memory_destroy)                                     \
  FUNCTION(memory_desc_create_with_strides)                    \
  FUNCTION(memory_desc_create_with_tag)                        \
  FUNCTION(memory_desc_destroy)                                \
  FUNCTION(memory_desc_equal)                                  \
  FUNCTION(memory_desc_get_size)                               \
  FUNCTION(primitive_attr_create)                              \
  FUNCTION(primitive_attr_set_scratchpad_mode)                 \
  FUNCTION(primitive_create)                                   \
  FUNCTION(primitive_destroy)                                  \
  FUNCTION(primitive_execute)                                  \
  FUNCTION(primitive_desc_destroy)                             \
  FUNCTION(primitive_desc_query)                               \
  FUNCTION(primitive_desc_query_md)                            \
  FUNCTION(reorder_primitive_desc_create)                      \
  FUNCTION(matmul_primitive_desc_create)                       \
  FUNCTION(convolution_forward_primitive_desc_create)          \
  FUNCTION(convolution_backward_data_primitive_desc_create)    \
  FUNCTION(convolution_backward_weights_primitive_desc_create) \
  FUNCTION(pooling_forward_primitive_desc_create)              \
  FUNCTION(pooling_backward_primitive_desc_create)             \
  FUNCTION(batch_normalization_forward_primitive_desc_create)  \
  FUNCTION(batch_normalization_backward_primitive_desc_create)

namespace needle::cpu::libraries {

struct Library {
#define NEEDLE_DNNL_FIELD(name) decltype(&dnnl_##name) name;
  NEEDLE_DNNL_FUNCTIONS(NEEDLE_DNNL_FIELD)
#undef NEEDLE_DNNL_FIELD
  dnnl_engine_t engine;              // the CPU
  dnnl_primitive_attr_t attributes;  // for every primitive: the caller provides its scratchpad at each call
};

// The library, or null if none is usable.
const Library* library();

// "oneDNN 3.2.0, PATH", or the reason why there is none. Loads the library if necessary.
const std::string& library_status();

// Sets the function that returns the files to try, in order. The first call of library() calls it. A name without a
// slash is looked up by the system's loader.
void set_library_search(std::function<std::vector<std::string>()> paths);

// Sets the instruction level that the library may use once loaded: by default all that the processor has. Has no effect
// after the library is loaded.
void set_library_level(Level level);

}  // namespace needle::cpu::libraries
