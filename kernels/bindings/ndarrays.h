// Reads and makes objects of needle.backend_ndarray.ndarray.NDArray. The attributes of that Python class are slots, so
// each is a pointer at a fixed place in the object, which is looked up once.
#pragma once

#include <pybind11/pybind11.h>

#include "kernels/common/array.h"

namespace needle::bindings {

bool is_ndarray(PyObject* object);

// The attributes of an NDArray. The references are owned, as Python code in between may assign to the attributes.
enum class Slot { buffer, shape, strides, offset, dtype, device, operand };
pybind11::object get(PyObject* ndarray, Slot slot);

// A copy of the Array over an NDArray's elements, which is made once. Throws ShapeError if it reaches outside its
// buffer.
Array array_of(PyObject* ndarray);

// The Python attributes of an NDArray that begins with its buffer; borrowed references.
struct Attributes {
  PyObject *shape, *strides, *dtype, *device;
};
// Memory for an array with these attributes. Throws OutOfMemoryError, which names them.
BufferPtr memory_for(int64_t nbytes, MemoryPool& pool, const Attributes& attributes);
pybind11::tuple python_tuple(const Dims& numbers, int count);
// With a new Python Buffer, or over `buffer`, that of other NDArrays, which also gives an offset.
PyObject* make_ndarray(const Array& array, const Attributes& attributes);
pybind11::object make_ndarray_over(PyObject* buffer, PyObject* offset, const Attributes& attributes);

// allocate(shape, strides, dtype, device): an uninitialized NDArray, whose strides leave no gaps.
PyObject* allocate(MemoryPool& pool, PyObject* const* arguments, Py_ssize_t count);

// view(ndarray, shape, strides, offset): an NDArray over the same buffer. A kernel that uses it checks it.
PyObject* make_view(PyObject*, PyObject* const* arguments, Py_ssize_t count);

}  // namespace needle::bindings
