// Python's types Buffer and Array: memory of a device, and strided views of it. They can be neither subclassed nor made
// in any way but by a call of the module.
//
// A training step makes thousands of small calls, so these types and the kernels (calls.h), which every one of them
// needs, are written against CPython's own interface (vectorcall, no argument tuples): making an array and adding to it
// takes about 0.3 microseconds, a fifth of what pybind11's classes and dispatcher take. pybind11 does everything else.
#pragma once

#include <pybind11/pybind11.h>

#include "kernels/common/array.h"

namespace needle::bindings {

extern PyTypeObject *buffer_type, *array_type;

struct PyBuffer {
  PyObject_HEAD
  BufferPtr buffer;
  long long changed_at;  // for needle/backend_ndarray/changes.py, which alone reads and writes it
};

struct PyArray {
  PyObject_HEAD
  Array array;
};

// Adds the types to a module. Only memory of the host can be shared with other Python objects: Buffer(nbytes) is of the
// host's pool, Buffer.wrap(object) views that of an object, and a memoryview of a Buffer views its.
void add_array_types(pybind11::module_& module, bool host);

// allocate(dtype_code, shape, strides): (Buffer, Array), in one call as every result of an operation needs both.
PyObject* allocate(MemoryPool& pool, PyObject* const* arguments, Py_ssize_t count);

// A Python Buffer, a new reference.
PyObject* python_buffer(const BufferPtr& buffer);

// scalar(value, dtype_code): a 0-d operand, Array::scalar. An integer that its dtype does not hold is an OverflowError.
PyObject* make_scalar(PyObject*, PyObject* const* arguments, Py_ssize_t count);

}  // namespace needle::bindings
