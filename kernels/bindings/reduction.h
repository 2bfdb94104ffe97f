// Reductions that lay out and allocate their result as well: reductions["sum"](x, axes, keepdims) is a new NDArray.
//
// As in elementwise.h, these functions do the usual case, floats and one or more elements, and return None in any
// other; needle/backend_ndarray/reduce.py then does it, whose rules hold for both.
#pragma once

#include <optional>

#include "kernels/bindings/calls.h"

namespace needle::bindings {

using Axes = unsigned;  // a bit per axis
inline std::optional<Axes> axis_from(PyObject* object, int ndim) {
  if (!PyLong_CheckExact(object)) return std::nullopt;
  int overflow;
  const long axis = PyLong_AsLongAndOverflow(object, &overflow);
  if (overflow || axis < -ndim || axis >= ndim) return std::nullopt;
  return 1u << (axis < 0 ? axis + ndim : axis);
}
// None, which means all, an int or a tuple of ints; nothing for anything else, and for an axis outside or named twice.
inline std::optional<Axes> axes_from(PyObject* object, int ndim) {
  if (object == Py_None) return (1u << ndim) - 1;
  if (!PyTuple_CheckExact(object)) return axis_from(object, ndim);
  Axes axes = 0;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
    const std::optional<Axes> axis = axis_from(PyTuple_GET_ITEM(object, i), ndim);
    if (!axis || axes & *axis) return std::nullopt;
    axes |= *axis;
  }
  return axes;
}

// The body of the function of one kernel.
template <class Backend, auto field>
PyObject* reduction(PyObject* self, const char* op, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count(op, count, 3);
    if (!is_ndarray(arguments[0]) || !PyBool_Check(arguments[2])) Py_RETURN_NONE;
    const Array a = array_of(arguments[0]);
    const std::optional<Axes> axes = axes_from(arguments[1], a.ndim);
    if (!axes || !is_floating_dtype(a.dtype) || a.size() == 0) Py_RETURN_NONE;
    Array kept = a;  // what the kernel writes to: it has extent 1 along the reduced axes
    kept.offset = 0;
    for (int d = 0; d < a.ndim; ++d)
      if (*axes >> d & 1) kept.shape[d] = 1;
    kept.strides = compact_strides(kept.ndim, kept.shape);
    Array out = kept;
    if (arguments[2] == Py_False) {
      out.ndim = 0;
      for (int d = 0; d < a.ndim; ++d)
        if (!(*axes >> d & 1)) out.shape[out.ndim++] = kept.shape[d];
      out.strides = compact_strides(out.ndim, out.shape);
    }
    const auto shape = python_tuple(out.shape, out.ndim), strides = python_tuple(out.strides, out.ndim);
    const auto dtype = get(arguments[0], Slot::dtype), device = get(arguments[0], Slot::device);
    const Attributes attributes{shape.ptr(), strides.ptr(), dtype.ptr(), device.ptr()};
    out.buffer = kept.buffer = memory_for(out.size() * itemsize(out.dtype), Backend::pool(self), attributes);
    run<Backend, field>(self, a, kept);
    return make_ndarray(out, attributes);
  });
}

// A dict of one function per kernel, bound to `self`.
template <class Backend>
pybind11::dict reduction_functions(PyObject* self) {
#define NEEDLE_FUNCTION(name)                                                          \
  {#name, as_method([](PyObject* self, PyObject* const* arguments, Py_ssize_t count) { \
     return reduction<Backend, &Kernels::name>(self, #name, arguments, count);         \
   }),                                                                                 \
   METH_FASTCALL, "The result as a new NDArray, or None where a is not of floats or has no elements."},
  static PyMethodDef functions[] = {NEEDLE_FUNCTION(sum) NEEDLE_FUNCTION(max) NEEDLE_FUNCTION(min){}};
#undef NEEDLE_FUNCTION
  return bound_functions(functions, self);
}

}  // namespace needle::bindings
