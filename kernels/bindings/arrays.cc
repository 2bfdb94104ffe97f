#include "kernels/bindings/arrays.h"

#include <structmember.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "kernels/bindings/errors.h"
#include "kernels/bindings/lock.h"
#include "kernels/bindings/numbers.h"
#include "kernels/common/sizes.h"

namespace py = pybind11;

namespace needle::bindings {

PyTypeObject *buffer_type, *array_type;

namespace {

template <class Object, auto member, class Value>
PyObject* new_object(PyTypeObject* type, Value&& value) {
  auto* object = PyObject_New(Object, type);
  if (!object) throw py::error_already_set();
  new (&(object->*member)) std::decay_t<Value>(std::forward<Value>(value));
  if constexpr (std::is_same_v<Object, PyBuffer>) {
    object->changed_at = 0;
    object->weak_references = nullptr;
  }
  return reinterpret_cast<PyObject*>(object);
}

template <class Object, auto member>
void delete_object(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if constexpr (std::is_same_v<Object, PyBuffer>)
    if (reinterpret_cast<PyBuffer*>(self)->weak_references) PyObject_ClearWeakRefs(self);
  std::destroy_at(&(reinterpret_cast<Object*>(self)->*member));
  PyObject_Free(self);
  Py_DECREF(type);
}

// `count` is a vectorcall's argument count, which may also contain a flag.
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

// Buffer.wrap(object): wraps the memory of an object with a writable, contiguous buffer, and keeps the object alive.
PyObject* wrap_buffer(PyObject*, PyObject* object) {
  return guarded([&] {
    auto view = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(object, view.get(), PyBUF_WRITABLE) != 0) throw py::error_already_set();
    Py_buffer* held = view.release();
    const auto release = [held] {
      if (!Py_IsInitialized()) return;  // the interpreter is gone, so the view cannot be released
      const Locked locked;
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

// Array(buffer, dtype_code, shape, strides, offset)
PyObject* call_array(PyObject*, PyObject* const* arguments, size_t count, PyObject* keywords) {
  return guarded([&] {
    check_call("Array", count, keywords, 5);
    return make_array(arguments[0], dtype_from(arguments[1]), arguments[2], arguments[3], arguments[4]);
  });
}

// The name is leaked, because Python keeps a pointer to it.
PyTypeObject* make_type(const std::string& name, size_t size, PyType_Slot* slots, vectorcallfunc make) {
  const char* kept = (new std::string(name))->c_str();
  PyType_Spec spec{kept, static_cast<int>(size), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  type->tp_vectorcall = make;
  return type;
}

}  // namespace

Layout::Layout(DType dtype, PyObject* shape_tuple, PyObject* strides_tuple)
    : dtype(dtype), ndim(dims_from(shape_tuple, "shape", shape)) {
  const int num_strides = dims_from(strides_tuple, "strides", strides);
  if (ndim != num_strides) throw ShapeError(message("array: ", ndim, " extents and ", num_strides, " strides"));
}

int64_t Layout::nbytes() const {
  int64_t nbytes = itemsize(dtype);
  for (int d = 0; d < ndim; ++d) nbytes = shape[d] == 0 ? 0 : saturated_product(nbytes, shape[d]);
  return nbytes;
}

Array Layout::array_over(const BufferPtr& buffer, int64_t offset) const {
  return Array(buffer, dtype, ndim, shape, strides, offset);
}

PyObject* make_array(PyObject* buffer, DType dtype, PyObject* shape, PyObject* strides, PyObject* offset) {
  if (Py_TYPE(buffer) != buffer_type)
    throw_python_error(PyExc_TypeError, message("Array: buffer is ", Py_TYPE(buffer)->tp_name, ", expected Buffer"));
  const BufferPtr memory = reinterpret_cast<PyBuffer*>(buffer)->buffer;
  const Layout layout(dtype, shape, strides);
  if (reinterpret_cast<uintptr_t>(memory->data()) % itemsize(dtype) != 0)
    throw ShapeError(message("array: the buffer's memory is not aligned for ", name(dtype)));
  return python_array(layout.array_over(memory, nearest_integer_from(offset)));
}

PyObject* python_buffer(const BufferPtr& buffer) {
  return new_object<PyBuffer, &PyBuffer::buffer>(buffer_type, buffer);
}

PyObject* python_array(const Array& array) { return new_object<PyArray, &PyArray::array>(array_type, array); }

Array scalar_from(PyObject* value, DType dtype) {
  if (is_floating_dtype(dtype)) return Array::scalar(float_from(value), dtype);
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
    return python_array(scalar_from(arguments[0], dtype_from(arguments[1])));
  });
}

void add_array_types(py::module_& module, bool host) {
  static PyMethodDef buffer_methods[] = {
      {"wrap", wrap_buffer, METH_O | METH_STATIC, "A Buffer over the memory of an object with a writable buffer."}, {}};
  static PyGetSetDef buffer_properties[] = {{"nbytes", buffer_nbytes, nullptr, "Size in bytes.", nullptr}, {}};
  static PyMemberDef buffer_members[] = {
      {"changed_at", T_LONGLONG, offsetof(PyBuffer, changed_at), 0, "When its content was last changed in place."},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(PyBuffer, weak_references), READONLY, nullptr},
      {}};
  PyType_Slot buffer_slots[] = {{Py_tp_doc, const_cast<char*>("Buffer(nbytes): memory of the pool, not initialized.")},
                                {Py_tp_dealloc, reinterpret_cast<void*>(&delete_object<PyBuffer, &PyBuffer::buffer>)},
                                {Py_tp_getset, buffer_properties},
                                {Py_tp_members, buffer_members},
                                {host ? Py_tp_methods : 0, buffer_methods},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                {0, nullptr}};
  PyType_Slot array_slots[] = {
      {Py_tp_doc,
       const_cast<char*>("Array(buffer, dtype_code, shape, strides, offset): a strided view; counts elements.")},
      {Py_tp_dealloc, reinterpret_cast<void*>(&delete_object<PyArray, &PyArray::array>)},
      {0, nullptr}};
  const auto module_name = module.attr("__name__").cast<std::string>();
  buffer_type = make_type(module_name + ".Buffer", sizeof(PyBuffer), buffer_slots, host ? make_buffer : nullptr);
  array_type = make_type(module_name + ".Array", sizeof(PyArray), array_slots, call_array);
  module.add_object("Buffer", reinterpret_cast<PyObject*>(buffer_type));
  module.add_object("Array", reinterpret_cast<PyObject*>(array_type));
}

}  // namespace needle::bindings
