// The Python types Buffer and Array: device memory and strided views of it. They cannot be subclassed, and only calls
// of the module can create them.
//
// A training step makes thousands of small calls, and each needs these types and the kernels (calls.h). So they use
// CPython's C API directly (vectorcall, no argument tuples): making an array and adding to it takes about 0.3
// microseconds, a fifth of what pybind11's classes and dispatcher take. pybind11 does everything else.
#pragma once

#include <pybind11/pybind11.h>

#include "kernels/common/array.h"

namespace needle::bindings {

extern PyTypeObject *buffer_type, *array_type;

struct PyBuffer {
  PyObject_HEAD BufferPtr buffer;
  long long changed_at;  // read and written only by needle/backend_ndarray/changes.py
  PyObject* weak_references;
};

struct PyArray {
  PyObject_HEAD Array array;
};

// Adds the types to a module. Only host memory can be shared with other Python objects: Buffer(nbytes) allocates from
// the host's pool, Buffer.wrap(object) wraps an object's memory, and memoryview(buffer) exposes a Buffer's memory.
void add_array_types(pybind11::module_& module, bool host);

// New references to Python objects.
PyObject* python_buffer(const BufferPtr& buffer);
PyObject* python_array(const Array& array);
// An Array over a Python Buffer; `shape` and `strides` are tuples of ints.
PyObject* make_array(PyObject* buffer, DType dtype, PyObject* shape, PyObject* strides, PyObject* offset);

// An array without its memory.
struct Layout {
  DType dtype;
  Dims shape{}, strides{};
  int ndim;  // declared after `shape`, because reading the shape sets it

  Layout(DType dtype, PyObject* shape_tuple, PyObject* strides_tuple);
  int64_t nbytes() const;  // of the elements, if they have no gaps
  Array array_over(const BufferPtr& buffer, int64_t offset) const;
};

// A number beside arrays of `dtype`. Raises OverflowError if it is an integer that does not fit.
Array scalar_from(PyObject* value, DType dtype);

// scalar(value, dtype_code): scalar_from as a 0-d operand.
PyObject* make_scalar(PyObject*, PyObject* const* arguments, Py_ssize_t count);

}  // namespace needle::bindings
