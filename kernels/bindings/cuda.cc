// The Python module needle.backend_ndarray.backend_cuda: lists the GPUs and makes one module per GPU, whose kernels
// work on that GPU and its memory.
#include <pybind11/pybind11.h>

#include <limits>
#include <memory>
#include <string>

#include "kernels/bindings/arrays.h"
#include "kernels/bindings/calls.h"
#include "kernels/bindings/elementwise.h"
#include "kernels/bindings/errors.h"
#include "kernels/bindings/numbers.h"
#include "kernels/bindings/program.h"
#include "kernels/bindings/providers.h"
#include "kernels/bindings/reduction.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/libraries/provider.h"
#include "kernels/cuda/transfer.h"

namespace py = pybind11;

namespace needle::bindings {
namespace {

// Methods are bound to the index of their device, a Python int.
const cuda::Device& use_device(PyObject* self) { return cuda::use_device(static_cast<int>(PyLong_AsLong(self))); }

struct Cuda {
  static const Kernels& kernels(PyObject* self) {
    use_device(self);
    return cuda::libraries::kernels();
  }
  static MemoryPool& pool(PyObject* self) { return *use_device(self).pool; }

  // A call only enqueues work on the GPU, so it never releases the GIL.
  static constexpr double kKeepsLock = std::numeric_limits<double>::infinity();
};

// Holds the memory of a Python object for its own lifetime.
class HostMemory {
 public:
  HostMemory(PyObject* object, int flags) {
    if (PyObject_GetBuffer(object, &view_, flags) != 0) throw py::error_already_set();
  }
  ~HostMemory() { PyBuffer_Release(&view_); }
  HostMemory(const HostMemory&) = delete;

  void* data() const { return view_.buf; }
  int64_t nbytes() const { return view_.len; }

 private:
  Py_buffer view_;
};

// The address of `nbytes` bytes of the buffer from `offset` on, after a bounds check.
std::byte* part_of(const char* op, PyObject* buffer, int64_t offset, int64_t nbytes) {
  if (Py_TYPE(buffer) != buffer_type)
    throw_python_error(PyExc_TypeError, message(op, ": ", Py_TYPE(buffer)->tp_name, ", expected Buffer"));
  const Buffer& memory = *reinterpret_cast<PyBuffer*>(buffer)->buffer;
  if (offset < 0 || offset > memory.nbytes() || nbytes < 0 || nbytes > memory.nbytes() - offset)
    throw ShapeError(message(op, ": ", nbytes, " bytes at ", offset, " of a buffer of ", memory.nbytes(), " bytes"));
  return memory.data() + offset;
}

// read(buffer, offset, target): copies bytes of a buffer into a Python object with a writable buffer
PyObject* read(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("read", count, 3);
    const HostMemory target(arguments[2], PyBUF_WRITABLE);
    const std::byte* from = part_of("read", arguments[0], integer_from(arguments[1]), target.nbytes());
    use_device(self);
    {
      const Unlocked unlocked;
      cuda::copy_to_host(target.data(), from, target.nbytes());
    }
    Py_RETURN_NONE;
  });
}

// begin_read(buffer, offset, nbytes): a PendingRead
PyObject* begin_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("begin_read", count, 3);
    const int64_t nbytes = integer_from(arguments[2]);
    const std::byte* from = part_of("begin_read", arguments[0], integer_from(arguments[1]), nbytes);
    use_device(self);
    return py::cast(std::make_unique<cuda::PendingRead>(from, nbytes)).release().ptr();
  });
}

// upload(source): a Buffer with the bytes of a Python object
PyObject* upload(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("upload", count, 1);
    const HostMemory source(arguments[0], PyBUF_SIMPLE);
    use_device(self);
    BufferPtr buffer;
    {
      const Unlocked unlocked;
      buffer = cuda::upload(source.data(), source.nbytes());
    }
    return python_buffer(buffer);
  });
}

template <class Function>
PyObject* without_arguments(PyObject* self, Function function) {
  return guarded([&] { return function(use_device(self)); });
}

PyMethodDef* methods() {
#define NEEDLE_CUDA_METHOD(kernel, parameters, documentation) NEEDLE_METHOD(Cuda, kernel, documentation)
  static PyMethodDef all[] = {
      {"allocate", as_method([](PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
         return guarded([&] { return allocate(Cuda::pool(self), arguments, count); });
       }),
       METH_FASTCALL,
       "allocate(shape, strides, dtype, device): an uninitialized NDArray, whose strides leave no gaps."},
      {"view", as_method(make_view), METH_FASTCALL,
       "view(ndarray, shape, strides, offset): another NDArray over the same buffer."},
      {"scalar", as_method(make_scalar), METH_FASTCALL, "scalar(value, dtype_code): a 0-d operand."},
      {"read", as_method(read), METH_FASTCALL, "read(buffer, offset, target): bytes into a writable buffer."},
      {"upload", as_method(upload), METH_FASTCALL, "upload(source): a Buffer with the bytes of a Python object."},
      {"begin_read", as_method(begin_read), METH_FASTCALL,
       "begin_read(buffer, offset, nbytes): the bytes as they are after the work so far, without waiting for it."},
      {"synchronize",
       [](PyObject* self, PyObject*) {
         return without_arguments(self, [](const cuda::Device&) -> PyObject* {
           {
             const Unlocked unlocked;
             cuda::synchronize();
           }
           return py::none().release().ptr();
         });
       },
       METH_NOARGS, "Waits until everything that the device was given is done."},
      {"memory_stats",
       [](PyObject* self, PyObject*) {
         return without_arguments(self, [](const cuda::Device& device) {
           MemoryStats stats = device.pool->stats();
           const MemoryStats incoming = device.incoming->stats();
           stats.current += incoming.current, stats.peak += incoming.peak, stats.reserved += incoming.reserved;
           return Py_BuildValue("{s:L,s:L,s:L}", "current", static_cast<long long>(stats.current), "peak",
                                static_cast<long long>(stats.peak), "reserved", static_cast<long long>(stats.reserved));
         });
       },
       METH_NOARGS, "Bytes of the pools: in arrays now, the most there ever was, and held from the device."},
      {"reset_peak_memory",
       [](PyObject* self, PyObject*) {
         return without_arguments(self, [](const cuda::Device& device) {
           device.pool->reset_peak();
           device.incoming->reset_peak();
           return py::none().release().ptr();
         });
       },
       METH_NOARGS, "Makes the current use the new peak."},
      {"trim_memory",
       [](PyObject* self, PyObject*) {
         return without_arguments(self, [](const cuda::Device& device) {
           device.pool->trim();
           cuda::trim_incoming(device.index);
           return py::none().release().ptr();
         });
       },
       METH_NOARGS, "Gives every kept block back to the device."},
      NEEDLE_KERNELS(NEEDLE_CUDA_METHOD){}};
#undef NEEDLE_CUDA_METHOD
  return all;
}

// The module of one device. Throws if no device has that index.
py::object make_device(int index) {
  cuda::use_device(index);
  const auto backend = py::module_::import("needle.backend_ndarray.backend_cuda");
  const auto name = py::str(message("needle.backend_ndarray.backend_cuda.device", index));
  const auto module = py::reinterpret_steal<py::object>(PyModule_NewObject(name.ptr()));
  const py::int_ self(index);
  for (PyMethodDef* method = methods(); method->ml_name; ++method) {
    PyObject* function = PyCFunction_NewEx(method, self.ptr(), name.ptr());
    if (!function) throw py::error_already_set();
    module.attr(method->ml_name) = py::reinterpret_steal<py::object>(function);
  }
  module.attr("elementwise") = elementwise_functions<Cuda>(self.ptr());
  module.attr("reductions") = reduction_functions<Cuda>(self.ptr());
  add_program_function<Cuda>(module, self);
  module.attr("Array") = backend.attr("Array");
  module.attr("backend") = backend;
  return module;
}

// The provider of the kernels that NVIDIA's libraries have, too

constexpr ProviderChoice kProviders{
    {"native", "library", "auto"}, "NEEDLE_CUDA_KERNELS", &cuda::libraries::provider, &cuda::libraries::set_provider};

void add_providers(py::module_& module) {
  add_provider_choice(module, kProviders);
  module.def(
      "library_calls",
      [] {
        py::dict calls;
#define NEEDLE_COUNT(kernel, parameters) calls[#kernel] = cuda::libraries::num_calls(cuda::libraries::Kernel::kernel);
        NEEDLE_NVIDIA_KERNELS(NEEDLE_COUNT)
#undef NEEDLE_COUNT
        return calls;
      },
      "For each kernel that a library has, how many calls it has done.");
  module.def("allow_tf32", &cuda::libraries::allow_tf32, py::arg("allowed"),
             "Whether float32 products may round their operands to TF32.");
}

PYBIND11_MODULE(backend_cuda, m) {
  m.doc() = "Needle's CUDA kernels, for needle.backend_ndarray; kernel_table.py there says what each does.";
  set_error_classes();
  host_pool();  // as in cpu.cc
  add_array_types(m, /*host=*/false);
  add_program_class<Cuda>(m);
  py::class_<cuda::PendingRead>(m, "PendingRead", "Bytes on their way to the host.")
      .def("ready", &cuda::PendingRead::ready, "Whether they have come. Does not wait.")
      .def(
          "data",
          [](const cuda::PendingRead& read) {
            const std::byte* data;
            {
              const Unlocked unlocked;
              data = read.data();
            }
            return py::bytes(reinterpret_cast<const char*>(data), read.nbytes());
          },
          "The bytes. Waits for them.");
  add_providers(m);
  m.def("device_count", &cuda::device_count, "How many GPUs there are.");
  m.def("reason_unavailable", &cuda::reason_unavailable, py::arg("index"),
        "Why a GPU cannot be used, as one sentence, or an empty string if it can.");
  m.def(
      "device_names",
      [] {
        py::list names;
        for (int index = 0; index < cuda::device_count(); ++index) names.append(cuda::use_device(index).name);
        return names;
      },
      "What the GPUs call themselves.");
  m.def("device", &make_device, py::arg("index"), "The module of one GPU: a function for each kernel, and its memory.");
}

}  // namespace
}  // namespace needle::bindings
