#include "kernels/bindings/ndarrays.h"

#include <structmember.h>

#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "kernels/bindings/arrays.h"
#include "kernels/bindings/errors.h"
#include "kernels/bindings/numbers.h"

namespace py = pybind11;

namespace needle::bindings {
namespace {

constexpr const char* kSlotNames[] = {"buffer", "shape", "strides", "offset", "dtype", "device", "operand"};

struct NDArrayClass {
  PyTypeObject* type = nullptr;
  Py_ssize_t offsets[std::size(kSlotNames)];
};

// Looked up by the first call that meets an object of another class, because NDArray's module imports this one.
const NDArrayClass& ndarray_class() {
  static NDArrayClass known;
  if (known.type) return known;
  const py::object type = py::module_::import("needle.backend_ndarray.ndarray").attr("NDArray");
  for (size_t i = 0; i < std::size(kSlotNames); ++i) {
    const py::object slot = type.attr(kSlotNames[i]);
    if (Py_TYPE(slot.ptr()) != &PyMemberDescr_Type)
      throw_python_error(PyExc_TypeError, message("NDArray.", kSlotNames[i], ": expected a slot"));
    known.offsets[i] = reinterpret_cast<PyMemberDescrObject*>(slot.ptr())->d_member->offset;
  }
  known.type = reinterpret_cast<PyTypeObject*>(py::object(type).release().ptr());
  return known;
}

PyObject*& place(PyObject* ndarray, Slot slot) {
  const Py_ssize_t offset = ndarray_class().offsets[static_cast<int>(slot)];
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(ndarray) + offset);
}

// Fills an empty slot with a new reference.
void set(PyObject* ndarray, Slot slot, PyObject* value) { place(ndarray, slot) = Py_NewRef(value); }

// There is one Python object per dtype, which is remembered once it was seen.
DType dtype_of(PyObject* object) {
  static PyObject* known[kNumDTypes];
  for (int code = 0; code < kNumDTypes; ++code)
    if (known[code] == object) return static_cast<DType>(code);
  const py::object code = py::handle(object).attr("code");
  const DType dtype = dtype_from(code.ptr());
  PyObject*& place = known[static_cast<int>(dtype)];
  if (!place) place = Py_NewRef(object);
  return dtype;
}

py::object new_ndarray() {
  PyTypeObject* type = ndarray_class().type;
  PyObject* object = type->tp_alloc(type, 0);
  if (!object) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

}  // namespace

bool is_ndarray(PyObject* object) { return Py_TYPE(object) == ndarray_class().type; }

py::object get(PyObject* ndarray, Slot slot) {
  PyObject* value = place(ndarray, slot);
  if (!value) throw_python_error(PyExc_AttributeError, message("NDArray: no ", kSlotNames[static_cast<int>(slot)]));
  return py::reinterpret_borrow<py::object>(value);
}

Array array_of(PyObject* ndarray) {
  if (!place(ndarray, Slot::operand)) {
    const py::object buffer = get(ndarray, Slot::buffer), dtype = get(ndarray, Slot::dtype);
    const py::object shape = get(ndarray, Slot::shape), strides = get(ndarray, Slot::strides);
    const py::object offset = get(ndarray, Slot::offset);
    PyObject* made = make_array(buffer.ptr(), dtype_of(dtype.ptr()), shape.ptr(), strides.ptr(), offset.ptr());
    Py_XDECREF(std::exchange(place(ndarray, Slot::operand), made));
  }
  PyObject* operand = place(ndarray, Slot::operand);
  if (Py_TYPE(operand) != array_type)
    throw_python_error(PyExc_TypeError, "an operand is an NDArray of another backend");
  return reinterpret_cast<PyArray*>(operand)->array;
}

BufferPtr memory_for(int64_t nbytes, MemoryPool& pool, const Attributes& attributes) {
  try {
    return std::make_shared<Buffer>(nbytes, pool);
  } catch (const OutOfMemoryError& error) {
    const auto text = [](PyObject* object) { return std::string(py::str(py::handle(object))); };
    throw OutOfMemoryError(message(text(attributes.device), ": an array of shape ", text(attributes.shape),
                                   " and dtype ", text(attributes.dtype), ": ", error.what()));
  }
}

py::tuple python_tuple(const Dims& numbers, int count) {
  py::tuple tuple(count);
  for (int d = 0; d < count; ++d) PyTuple_SET_ITEM(tuple.ptr(), d, py::int_(numbers[d]).release().ptr());
  return tuple;
}

py::object make_ndarray_over(PyObject* buffer, PyObject* offset, const Attributes& attributes) {
  py::object out = new_ndarray();
  set(out.ptr(), Slot::buffer, buffer);
  set(out.ptr(), Slot::shape, attributes.shape);
  set(out.ptr(), Slot::strides, attributes.strides);
  set(out.ptr(), Slot::offset, offset);
  set(out.ptr(), Slot::dtype, attributes.dtype);
  set(out.ptr(), Slot::device, attributes.device);
  return out;
}

PyObject* make_ndarray(const Array& array, const Attributes& attributes) {
  static PyObject* const zero = PyLong_FromLong(0);
  const auto buffer = py::reinterpret_steal<py::object>(python_buffer(array.buffer));
  py::object out = make_ndarray_over(buffer.ptr(), zero, attributes);
  place(out.ptr(), Slot::operand) = python_array(array);
  return out.release().ptr();
}

PyObject* allocate(MemoryPool& pool, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("allocate", count, 4);
    const Attributes attributes{arguments[0], arguments[1], arguments[2], arguments[3]};
    const Layout layout(dtype_of(attributes.dtype), attributes.shape, attributes.strides);
    return make_ndarray(layout.array_over(memory_for(layout.nbytes(), pool, attributes), 0), attributes);
  });
}

PyObject* make_view(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    check_count("view", count, 4);
    PyObject* of = arguments[0];
    if (!is_ndarray(of))
      throw_python_error(PyExc_TypeError, message("view: ", Py_TYPE(of)->tp_name, ", expected NDArray"));
    const auto buffer = get(of, Slot::buffer), dtype = get(of, Slot::dtype), device = get(of, Slot::device);
    const Attributes attributes{arguments[1], arguments[2], dtype.ptr(), device.ptr()};
    return make_ndarray_over(buffer.ptr(), arguments[3], attributes).release().ptr();
  });
}

}  // namespace needle::bindings
