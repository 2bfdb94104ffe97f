// The arguments of a Python caller, as C++ numbers. A wrong type or value throws.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "kernels/common/array.h"

namespace needle::bindings {

int64_t integer_from(PyObject* object);
// The same for an extent, a stride or an offset. One that 64 bits do not hold becomes the nearest that they do: an Array
// says what is wrong with that, if anything is.
int64_t nearest_integer_from(PyObject* object);
double float_from(PyObject* object);
bool bool_from(PyObject* object);
DType dtype_from(PyObject* object);

// The numbers of a tuple into `dims`, and how many there are; `what` is what an error calls the tuple.
int dims_from(PyObject* tuple, const char* what, Dims& dims);

// TypeError unless `what` was called with as many arguments as it expects.
void check_count(const char* what, Py_ssize_t count, Py_ssize_t expected);

}  // namespace needle::bindings
