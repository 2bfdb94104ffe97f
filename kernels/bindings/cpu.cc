// The Python module needle.backend_ndarray.backend_cpu: memory, arrays that view it, and one function per kernel.
//
// What a Python caller passes is checked here or in the kernel; nothing passed may crash the interpreter. A training
// step makes thousands of small calls, so `Buffer`, `Array` and the kernels, which every one of them needs, are written
// against CPython's own interface (vectorcall, no argument tuples): making an array and adding to it takes about 0.3
// microseconds, a fifth of what pybind11's classes and dispatcher take. pybind11 does everything else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/cpu_features.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/kernels.h"
#include "kernels/dnnl/library.h"
#include "kernels/dnnl/provider.h"

namespace py = pybind11;

namespace needle {
namespace {

// Errors

// The classes of needle.errors, of the same names; set once, when the module is imported, and never released.
struct ErrorClasses {
  PyObject *shape, *dtype, *out_of_memory, *device;
} error_classes;

// Sets the Python error that a C++ exception stands for.
void set_python_error(const std::exception_ptr& pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const ShapeError& error) {
    PyErr_SetString(error_classes.shape, error.what());
  } catch (const DTypeError& error) {
    PyErr_SetString(error_classes.dtype, error.what());
  } catch (const OutOfMemoryError& error) {
    PyErr_SetString(error_classes.out_of_memory, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(error_classes.out_of_memory, "out of memory");
  } catch (const std::exception& error) {
    PyErr_SetString(error_classes.device, error.what());
  }
}

[[noreturn]] void throw_python_error(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  throw py::error_already_set();
}

// The value of `function`, a new reference, or null with the Python error set.
template <class Function>
PyObject* guarded(const Function& function) {
  try {
    return function();
  } catch (...) {
    set_python_error(std::current_exception());
    return nullptr;
  }
}

// Numbers

int64_t integer_from(PyObject* object) {
  const Py_ssize_t value =
      PyLong_CheckExact(object) ? PyLong_AsSsize_t(object) : PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

double float_from(PyObject* object) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

bool bool_from(PyObject* object) {
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

DType dtype_from(PyObject* object) {
  const int64_t code = integer_from(object);
  if (code < 0 || code >= kNumDTypes)
    throw DTypeError(message("dtype code ", code, ", expected 0 to ", kNumDTypes - 1));
  return static_cast<DType>(code);
}

int dims_from(PyObject* tuple, const char* what, Dims& dims) {
  if (!PyTuple_Check(tuple))
    throw_python_error(PyExc_TypeError,
                       message("Array: ", what, " is ", Py_TYPE(tuple)->tp_name, ", expected a tuple"));
  const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
  if (count > kMaxDims) throw ShapeError(message("array: ", count, " dimensions, expected at most ", kMaxDims));
  for (Py_ssize_t d = 0; d < count; ++d) dims[d] = integer_from(PyTuple_GET_ITEM(tuple, d));
  return static_cast<int>(count);
}

// Python's types Buffer and Array. They can be neither subclassed nor made in any way but by calling them.

PyTypeObject *buffer_type, *array_type;

struct PyBuffer {
  PyObject_HEAD
  BufferPtr buffer;
};

struct PyArray {
  PyObject_HEAD
  Array array;
};

template <class Object, auto member, class Value>
PyObject* new_object(PyTypeObject* type, Value&& value) {
  auto* object = PyObject_New(Object, type);
  if (!object) throw py::error_already_set();
  new (&(object->*member)) std::decay_t<Value>(std::forward<Value>(value));
  return reinterpret_cast<PyObject*>(object);
}

template <class Object, auto member>
void delete_object(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  std::destroy_at(&(reinterpret_cast<Object*>(self)->*member));
  PyObject_Free(self);
  Py_DECREF(type);
}

void check_count(const char* what, Py_ssize_t count, Py_ssize_t expected) {
  if (count != expected)
    throw_python_error(PyExc_TypeError, message(what, ": ", count, " arguments, expected ", expected));
}

// The same for a type that is called, whose count holds a flag, too.
void check_call(const char* what, size_t count, PyObject* keywords, Py_ssize_t expected) {
  if (keywords && PyTuple_GET_SIZE(keywords) > 0)
    throw_python_error(PyExc_TypeError, message(what, ": keyword arguments, expected none"));
  check_count(what, PyVectorcall_NARGS(count), expected);
}

// Buffer(nbytes)
PyObject* make_buffer(PyObject*, PyObject* const* arguments, size_t count, PyObject* keywords) {
  return guarded([&] {
    check_call("Buffer", count, keywords, 1);
    return new_object<PyBuffer, &PyBuffer::buffer>(buffer_type, std::make_shared<Buffer>(integer_from(arguments[0])));
  });
}

// Buffer.wrap(object): views the memory of an object that offers a writable, contiguous buffer, and keeps it alive.
PyObject* wrap_buffer(PyObject*, PyObject* object) {
  return guarded([&] {
    auto view = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(object, view.get(), PyBUF_WRITABLE) != 0) throw py::error_already_set();
    Py_buffer* held = view.release();
    const auto release = [held] {
      const py::gil_scoped_acquire gil;
      PyBuffer_Release(held);
      delete held;
    };
    return new_object<PyBuffer, &PyBuffer::buffer>(buffer_type,
                                                   std::make_shared<Buffer>(held->buf, held->len, release));
  });
}

PyObject* buffer_nbytes(PyObject* self, void*) {
  return PyLong_FromLongLong(reinterpret_cast<PyBuffer*>(self)->buffer->nbytes());
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Buffer& buffer = *reinterpret_cast<PyBuffer*>(self)->buffer;
  return PyBuffer_FillInfo(view, self, buffer.data(), buffer.nbytes(), /*readonly=*/0, flags);
}

// What an Array is besides its buffer and offset.
struct Layout {
  DType dtype;
  Dims shape{}, strides{};
  int ndim;  // after the shape, which it is read with

  Layout(PyObject* dtype_code, PyObject* shape_tuple, PyObject* strides_tuple)
      : dtype(dtype_from(dtype_code)), ndim(dims_from(shape_tuple, "shape", shape)) {
    const int num_strides = dims_from(strides_tuple, "strides", strides);
    if (ndim != num_strides) throw ShapeError(message("array: ", ndim, " extents and ", num_strides, " strides"));
  }

  // Whether there are 2^57 elements or more: a kernel may count the work of an element 64 times.
  bool is_too_large() const {
    int64_t size = 64;
    bool overflows = false;
    for (int d = 0; d < ndim; ++d)
      if (shape[d] > 0) overflows |= __builtin_mul_overflow(size, shape[d], &size);
    return overflows;
  }

  PyObject* array_over(const BufferPtr& buffer, int64_t offset) const {
    return new_object<PyArray, &PyArray::array>(array_type, Array(buffer, dtype, ndim, shape, strides, offset));
  }
};

// Array(buffer, dtype_code, shape, strides, offset)
PyObject* make_array(PyObject*, PyObject* const* arguments, size_t count, PyObject* keywords) {
  return guarded([&] {
    check_call("Array", count, keywords, 5);
    if (Py_TYPE(arguments[0]) != buffer_type)
      throw_python_error(PyExc_TypeError,
                         message("Array: buffer is ", Py_TYPE(arguments[0])->tp_name, ", expected Buffer"));
    const BufferPtr& buffer = reinterpret_cast<PyBuffer*>(arguments[0])->buffer;
    const Layout layout(arguments[1], arguments[2], arguments[3]);
    if (layout.is_too_large()) throw ShapeError("array: expected a shape of fewer than 2^57 elements");
    if (reinterpret_cast<uintptr_t>(buffer->data()) % itemsize(layout.dtype) != 0)
      throw ShapeError(message("array: the buffer's memory is not aligned for ", name(layout.dtype)));
    return layout.array_over(buffer, integer_from(arguments[4]));
  });
}

// allocate(dtype_code, shape, strides): (Buffer, Array), in one call as every result of an operation needs both
PyObject* allocate(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("allocate", count, 3);
    const Layout layout(arguments[0], arguments[1], arguments[2]);
    if (layout.is_too_large()) throw OutOfMemoryError("out of memory: asked for 2^57 elements or more");
    int64_t nbytes = itemsize(layout.dtype);
    for (int d = 0; d < layout.ndim; ++d) nbytes *= layout.shape[d];
    const auto memory = std::make_shared<Buffer>(nbytes);
    const auto buffer = py::reinterpret_steal<py::object>(new_object<PyBuffer, &PyBuffer::buffer>(buffer_type, memory));
    const auto array = py::reinterpret_steal<py::object>(layout.array_over(memory, 0));
    return PyTuple_Pack(2, buffer.ptr(), array.ptr());
  });
}

// scalar(value, dtype_code): a 0-d operand. An integer that its dtype does not hold is an OverflowError.
Array scalar_from(PyObject* value, DType dtype) {
  if (dtype <= DType::bfloat16) return Array::scalar(float_from(value), dtype);
  if (dtype == DType::boolean) return Array::scalar(int64_t{bool_from(value)}, dtype);
  const int64_t number = integer_from(value);
  const bool is_signed = dtype != DType::uint8;
  const int bits = static_cast<int>(8 * itemsize(dtype)) - is_signed;
  const int64_t high = static_cast<int64_t>((uint64_t{1} << bits) - 1), low = is_signed ? -high - 1 : 0;
  if (number < low || number > high)
    throw_python_error(PyExc_OverflowError, message("scalar: ", number, " does not fit in ", name(dtype)));
  return Array::scalar(number, dtype);
}

PyObject* make_scalar(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("scalar", count, 2);
    return new_object<PyArray, &PyArray::array>(array_type, scalar_from(arguments[0], dtype_from(arguments[1])));
  });
}

PyTypeObject* make_type(const char* name, size_t size, PyType_Slot* slots, vectorcallfunc make) {
  PyType_Spec spec{name, static_cast<int>(size), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  type->tp_vectorcall = make;
  return type;
}

void add_types(py::module_& module) {
  static PyMethodDef buffer_methods[] = {
      {"wrap", wrap_buffer, METH_O | METH_STATIC, "A Buffer over the memory of an object with a writable buffer."}, {}};
  static PyGetSetDef buffer_properties[] = {{"nbytes", buffer_nbytes, nullptr, "Size in bytes.", nullptr}, {}};
  PyType_Slot buffer_slots[] = {{Py_tp_doc, const_cast<char*>("Buffer(nbytes): memory of the pool, not initialized.")},
                                {Py_tp_dealloc, reinterpret_cast<void*>(&delete_object<PyBuffer, &PyBuffer::buffer>)},
                                {Py_tp_methods, buffer_methods},
                                {Py_tp_getset, buffer_properties},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                {0, nullptr}};
  buffer_type = make_type("needle.backend_ndarray.backend_cpu.Buffer", sizeof(PyBuffer), buffer_slots, make_buffer);
  PyType_Slot array_slots[] = {
      {Py_tp_doc,
       const_cast<char*>("Array(buffer, dtype_code, shape, strides, offset): a strided view; counts elements.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(&delete_object<PyArray, &PyArray::array>)},
      {0, nullptr}};
  array_type = make_type("needle.backend_ndarray.backend_cpu.Array", sizeof(PyArray), array_slots, make_array);
  module.add_object("Buffer", reinterpret_cast<PyObject*>(buffer_type));
  module.add_object("Array", reinterpret_cast<PyObject*>(array_type));
}

// Kernels

constexpr Level kLevels[] = {Level::baseline, Level::avx2, Level::avx512};
std::atomic<Level> active_level;
std::atomic<const cpu::Kernels*> active_kernels;

// Gives up the interpreter lock while it lives.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() { PyEval_RestoreThread(state_); }
  Unlocked(const Unlocked&) = delete;

 private:
  PyThreadState* const state_;
};

// A call whose arrays have no more elements than this is over in a few microseconds and keeps the lock: whoever gives
// it up may wait 5 milliseconds for it while another thread computes in Python.
constexpr int64_t kSmall = 4096;

// One argument of the kernel `op` as the kernel takes it; `wanted` is only for its type.
const Array& value_from(const char* op, PyObject* object, const Array* /*wanted*/) {
  if (Py_TYPE(object) != array_type)
    throw_python_error(PyExc_TypeError, message(op, ": an operand is ", Py_TYPE(object)->tp_name, ", expected Array"));
  return reinterpret_cast<PyArray*>(object)->array;
}
// Copies, for the list may lose its arrays while the kernel works on them.
std::vector<Array> value_from(const char* op, PyObject* object, const ArrayList* /*wanted*/) {
  if (!PyList_CheckExact(object))
    throw_python_error(PyExc_TypeError,
                       message(op, ": an operand is ", Py_TYPE(object)->tp_name, ", expected a list of Arrays"));
  std::vector<Array> arrays;
  arrays.reserve(PyList_GET_SIZE(object));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(object); ++i)
    arrays.push_back(value_from(op, PyList_GET_ITEM(object, i), static_cast<const Array*>(nullptr)));
  return arrays;
}
int64_t value_from(const char*, PyObject* object, const int64_t* /*wanted*/) { return integer_from(object); }
double value_from(const char*, PyObject* object, const double* /*wanted*/) { return float_from(object); }
bool value_from(const char*, PyObject* object, const bool* /*wanted*/) { return bool_from(object); }

bool is_large(const Array& a) { return a.size() > kSmall; }
bool is_large(double) { return false; }
bool is_large(const std::vector<Array>& arrays) {
  double size = 0;  // of a sum that an int64_t might not hold
  for (const Array& a : arrays) size += static_cast<double>(a.size());
  return size > kSmall;
}

template <auto field, class... Parameters, size_t... index>
void call_kernel(const char* op, PyObject* const* arguments, void (*cpu::Kernels::*)(Parameters...),
                 std::index_sequence<index...>) {
  const std::tuple<decltype(value_from(op, nullptr, static_cast<const std::decay_t<Parameters>*>(nullptr)))...> values{
      value_from(op, arguments[index], static_cast<const std::decay_t<Parameters>*>(nullptr))...};
  const auto kernel = active_kernels.load(std::memory_order_relaxed)->*field;
  if ((is_large(std::get<index>(values)) || ...)) {
    const Unlocked unlocked;
    kernel(std::get<index>(values)...);
  } else {
    kernel(std::get<index>(values)...);
  }
}

template <class... Parameters>
constexpr size_t count_parameters(void (*cpu::Kernels::*)(Parameters...)) { return sizeof...(Parameters); }

// What the Python function of a field of the kernel table does.
template <auto field>
PyObject* run_kernel(const char* op, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    constexpr size_t expected = count_parameters(field);
    check_count(op, count, expected);
    call_kernel<field>(op, arguments, field, std::make_index_sequence<expected>());
    Py_RETURN_NONE;
  });
}

using FastFunction = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyCFunction as_method(FastFunction function) {  // CPython calls it with these arguments where METH_FASTCALL is set
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

void add_kernels(py::module_& module) {
#define NEEDLE_METHOD(kernel, parameters)                                               \
  {#kernel,                                                                             \
   as_method([](PyObject*, PyObject* const* arguments, Py_ssize_t count) {              \
     return run_kernel<&cpu::Kernels::kernel>(#kernel, arguments, count);               \
   }),                                                                                  \
   METH_FASTCALL, #parameters},
  static PyMethodDef methods[] = {
      {"allocate", as_method(allocate), METH_FASTCALL,
       "allocate(dtype_code, shape, strides): a Buffer for these elements, which are dense, and the Array over it."},
      {"scalar", as_method(make_scalar), METH_FASTCALL, "scalar(value, dtype_code): a 0-d operand."},
      NEEDLE_CPU_KERNELS(NEEDLE_METHOD){}};
#undef NEEDLE_METHOD
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

void set_level(const std::string& wanted) {
  std::string names;
  for (Level level : kLevels) {
    if (wanted == name(level)) {
      active_kernels = &dnnl::kernels(level);  // throws where the processor lacks it
      active_level = level;
      dnnl::set_library_level(level);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(name(level));
  }
  throw std::runtime_error(message("instruction level '", wanted, "', expected one of ", names));
}

void set_first_level() {
  const char* wanted = std::getenv("NEEDLE_CPU_LEVEL");
  if (!wanted || !*wanted) return set_level(name(highest_level()));
  try {
    set_level(wanted);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(message("NEEDLE_CPU_LEVEL: ", error.what()));
  }
}

// Who provides the kernels that oneDNN has, too

constexpr const char* kProviders[] = {"native", "onednn", "auto"};  // in the order of dnnl::Provider

void set_provider(const std::string& wanted) {
  std::string names;
  for (int i = 0; i < 3; ++i) {
    if (wanted == kProviders[i]) return dnnl::set_provider(static_cast<dnnl::Provider>(i));
    names += (i ? ", " : "") + std::string(kProviders[i]);
  }
  throw std::runtime_error(message("provider of kernels '", wanted, "', expected one of ", names));
}

void set_first_provider() {
  const char* wanted = std::getenv("NEEDLE_CPU_KERNELS");
  if (!wanted || !*wanted) return;
  try {
    set_provider(wanted);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(message("NEEDLE_CPU_KERNELS: ", error.what()));
  }
}

// The files that needle.backend_ndarray.onednn knows of.
std::vector<std::string> library_paths() {
  const py::gil_scoped_acquire gil;
  return py::module_::import("needle.backend_ndarray.onednn")
      .attr("library_paths")()
      .cast<std::vector<std::string>>();
}

void add_providers(py::module_& module) {
  dnnl::set_library_search(library_paths);
  module.def(
      "providers",
      [] {
        const py::gil_scoped_release unlocked;
        return std::vector<std::string>(kProviders, kProviders + (dnnl::library() ? 3 : 1));
      },
      "The providers that differ here: without oneDNN all are \"native\".");
  module.def(
      "provider", [] { return kProviders[static_cast<int>(dnnl::provider())]; },
      "Who provides the kernels that oneDNN has, too.");
  module.def("set_provider", &set_provider, py::arg("name"),
             "Takes them from \"native\", \"onednn\" or, \"auto\", the faster for the call.");
  module.def(
      "onednn_status",
      [] {
        const py::gil_scoped_release unlocked;
        return dnnl::library_status();
      },
      "oneDNN's version and file, or why it cannot be used; loads it.");
  module.def(
      "onednn_calls",
      [] {
        py::dict calls;
#define NEEDLE_COUNT(kernel) calls[#kernel] = dnnl::num_calls(dnnl::Kernel::kernel);
        NEEDLE_DNNL_KERNELS(NEEDLE_COUNT)
#undef NEEDLE_COUNT
        return calls;
      },
      "For each kernel that oneDNN has, how many calls it has done.");
}

PYBIND11_MODULE(backend_cpu, m) {
  m.doc() = "Needle's CPU kernels, for needle.backend_ndarray; kernel_table.py there says what each does.";
  const auto errors = py::module_::import("needle.errors");
  const auto error_class = [&](const char* name) { return errors.attr(name).cast<py::object>().release().ptr(); };
  error_classes = {error_class("ShapeError"), error_class("DTypeError"), error_class("OutOfMemoryError"),
                   error_class("DeviceError")};
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    if (pointer) set_python_error(pointer);
  });
  set_first_level();
  set_first_provider();
  add_types(m);
  add_kernels(m);

  m.def("level", [] { return name(active_level); }, "The instruction level in use.");
  m.def("set_level", &set_level, py::arg("name"), "Uses the kernels of one of levels().");
  m.def(
      "levels",
      [] {
        py::list names;
        for (Level level : kLevels)
          if (level <= highest_level()) names.append(name(level));
        return names;
      },
      "The instruction levels of this processor.");
  add_providers(m);
  m.def("get_num_threads", &num_threads);
  m.def(
      "set_num_threads",
      [](const py::object& count) {
        const Py_ssize_t value = PyNumber_AsSsize_t(count.ptr(), nullptr);  // a larger number becomes the largest
        if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
        set_num_threads(value);
      },
      py::arg("count"));
  m.def(
      "memory_stats",
      [] {
        const MemoryStats stats = memory_stats();
        py::dict result;
        result["current"] = stats.current;
        result["peak"] = stats.peak;
        result["reserved"] = stats.reserved;
        return result;
      },
      "Bytes of the pool: in arrays now, the most there ever was, and held from the system.");
  m.def("reset_peak_memory", &reset_peak_memory, "Makes the current use the new peak.");
  m.def("trim_memory", &trim_memory, "Gives every kept block back to the system.");
}

}  // namespace
}  // namespace needle
