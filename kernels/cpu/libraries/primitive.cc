#include "kernels/cpu/libraries/primitive.h"

#include <cstring>
#include <utility>

#include "kernels/common/buffer.h"
#include "kernels/common/parallel.h"

namespace needle::cpu::libraries {
namespace {

dnnl_data_type_t data_type(DType dtype) {
  switch (dtype) {
    case DType::float32: return dnnl_f32;
    case DType::bfloat16: return dnnl_bf16;
    case DType::float16: return dnnl_f16;
    default: return dnnl_data_type_undef;
  }
}

// The memory objects of one run.
struct DestroyMemory {
  void operator()(dnnl_memory_t memory) const { library()->memory_destroy(memory); }
};
using Memory = std::unique_ptr<std::remove_pointer_t<dnnl_memory_t>, DestroyMemory>;

// Each thread of the program has its own stream, because streams are not thread-safe.
class Stream {
 public:
  Stream() { check(library()->stream_create(&stream_, library()->engine, dnnl_stream_default_flags)); }
  ~Stream() { library()->stream_destroy(stream_); }
  Stream(const Stream&) = delete;
  operator dnnl_stream_t() const { return stream_; }

 private:
  dnnl_stream_t stream_;
};

}  // namespace

void check(dnnl_status_t status) {
  if (status != dnnl_success) throw Refused();
}

Layout strided_layout(DType dtype, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides) {
  dnnl_memory_desc_t layout;
  check(library()->memory_desc_create_with_strides(&layout, static_cast<int>(extents.size()), extents.begin(),
                                                   data_type(dtype), strides.begin()));
  return Layout(layout);
}

Layout any_layout(DType dtype, std::initializer_list<int64_t> extents) {
  dnnl_memory_desc_t layout;
  check(library()->memory_desc_create_with_tag(&layout, static_cast<int>(extents.size()), extents.begin(),
                                               data_type(dtype), dnnl_format_tag_any));
  return Layout(layout);
}

Layout image_layout(DType dtype, int64_t n, int64_t height, int64_t width, int64_t channels) {
  return strided_layout(dtype, {n, channels, height, width},
                        {height * width * channels, 1, width * channels, channels});
}

PrimitiveDesc describe(const std::function<dnnl_status_t(dnnl_primitive_desc_t*)>& create) {
  dnnl_primitive_desc_t desc = nullptr;
  check(create(&desc));
  return PrimitiveDesc(desc);
}

bool is_fast(const PrimitiveDesc& desc) {
  const char* implementation = "";
  library()->primitive_desc_query(desc.get(), dnnl_query_impl_info_str, 0, &implementation);
  return !std::strstr(implementation, "ref");  // "ref:any", "gemm:ref"
}

Primitive::Primitive(PrimitiveDesc desc) : desc_(std::move(desc)) {
  dnnl_primitive_t primitive;
  check(library()->primitive_create(&primitive, desc_.get()));
  primitive_.reset(primitive);
}

const_dnnl_memory_desc_t Primitive::layout(int argument) const {
  return library()->primitive_desc_query_md(desc_.get(), dnnl_query_exec_arg_md, argument);
}

int64_t Primitive::nbytes(int argument) const {
  return static_cast<int64_t>(library()->memory_desc_get_size(layout(argument)));
}

void Primitive::run(std::initializer_list<Argument> arguments) const {
  constexpr int kMaxArguments = 12;
  thread_local const Stream stream;
  const Buffer scratch(nbytes(DNNL_ARG_SCRATCHPAD));
  Memory memories[kMaxArguments];
  dnnl_exec_arg_t list[kMaxArguments];
  int count = 0;
  int64_t bytes = 0;
  const auto add = [&](int number, void* data) {
    dnnl_memory_t memory;
    check(library()->memory_create(&memory, layout(number), library()->engine, data));
    memories[count].reset(memory);
    list[count++] = {number, memory};
    bytes += nbytes(number);
  };
  for (const Argument& argument : arguments)
    if (argument.data) add(argument.number, argument.data);
  add(DNNL_ARG_SCRATCHPAD, scratch.data());
  if (bytes > kWorkPerThread) prepare_team();  // smaller work wakes no other threads
  check(library()->primitive_execute(primitive_.get(), stream, count, list));
  check(library()->stream_wait(stream));
}

std::optional<Primitive> make_reorder(const_dnnl_memory_desc_t from, const_dnnl_memory_desc_t to) {
  if (library()->memory_desc_equal(from, to)) return std::nullopt;
  return Primitive(describe([&](dnnl_primitive_desc_t* made) {
    return library()->reorder_primitive_desc_create(made, from, library()->engine, to, library()->engine,
                                                    library()->attributes);
  }));
}

}  // namespace needle::cpu::libraries
