// oneDNN's C interface, found at run time: a machine without the library runs on our own kernels alone.
//
// Nothing is loaded before library() is first called. What does not load is not tried again.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/common/cpu_features.h"

// FUNCTION(name) for every dnnl_name that is used.
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

namespace needle::dnnl {

struct Library {
#define NEEDLE_DNNL_FIELD(name) decltype(&dnnl_##name) name;
  NEEDLE_DNNL_FUNCTIONS(NEEDLE_DNNL_FIELD)
#undef NEEDLE_DNNL_FIELD
  dnnl_engine_t engine;                // the processor
  dnnl_primitive_attr_t attributes;    // of every primitive: its scratch memory is handed to it at each call
};

// The library, or null where there is none that can be used.
const Library* library();

// "oneDNN 3.2.0, PATH", or why there is none. Loads it if nobody has.
const std::string& library_status();

// Files to try, in order, asked for once, by the first call of library(). A name without a slash is searched for by the
// system's loader.
void set_library_search(std::function<std::vector<std::string>()> paths);

// The instructions that the library may use when it is loaded: by default the processor's. Later calls change nothing.
void set_library_level(Level level);

}  // namespace needle::dnnl
