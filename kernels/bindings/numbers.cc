#include "kernels/bindings/numbers.h"

#include "kernels/bindings/errors.h"

namespace py = pybind11;

namespace needle::bindings {

int64_t integer_from(PyObject* object) {
  const Py_ssize_t value =
      PyLong_CheckExact(object) ? PyLong_AsSsize_t(object) : PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

int64_t nearest_integer_from(PyObject* object) {
  if (PyLong_CheckExact(object)) {
    const Py_ssize_t value = PyLong_AsSsize_t(object);
    if (value != -1 || !PyErr_Occurred()) return value;
    PyErr_Clear();
  }
  const Py_ssize_t value = PyNumber_AsSsize_t(object, nullptr);
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
  for (Py_ssize_t d = 0; d < count; ++d) dims[d] = nearest_integer_from(PyTuple_GET_ITEM(tuple, d));
  return static_cast<int>(count);
}

void check_count(const char* what, Py_ssize_t count, Py_ssize_t expected) {
  if (count != expected)
    throw_python_error(PyExc_TypeError, message(what, ": ", count, " arguments, expected ", expected));
}

}  // namespace needle::bindings
