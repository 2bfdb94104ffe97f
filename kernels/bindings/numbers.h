// Converts Python arguments to C++ numbers. A wrong type or value throws.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "kernels/common/array.h"

namespace needle::bindings {

int64_t integer_from(PyObject* object);
// The same for an extent, a stride or an offset, but clamped to 64 bits instead of throwing: the Array constructor
// reports an invalid value.
int64_t nearest_integer_from(PyObject* object);
double float_from(PyObject* object);
bool bool_from(PyObject* object);
DType dtype_from(PyObject* object);

// Reads the numbers of a tuple into `dims` and returns their count; error messages call the tuple `what`.
int dims_from(PyObject* tuple, const char* what, Dims& dims);

// Raises TypeError unless `what` was called with the expected number of arguments.
void check_count(const char* what, Py_ssize_t count, Py_ssize_t expected);

}  // namespace needle::bindings
