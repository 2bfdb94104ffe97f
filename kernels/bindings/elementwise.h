// Element-wise functions that lay out and allocate their result as well: elementwise["add"](x, y) is a new NDArray.
//
// A small operation costs what is done around its kernel. In the usual case, operands of one dtype of which one has the
// shape of the result, all of it is done here, in one call; in any other these functions return None, and
// needle/backend_ndarray/elementwise.py does it, whose rules hold for both.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "kernels/bindings/calls.h"

namespace needle::bindings {

enum class DTypes { any, numbers, floating, boolean };
constexpr bool contains(DTypes dtypes, DType dtype) {
  switch (dtypes) {
    case DTypes::any: return true;
    case DTypes::numbers: return dtype != DType::boolean;
    case DTypes::floating: return is_floating_dtype(dtype);
    case DTypes::boolean: return dtype == DType::boolean;
  }
  return false;
}

// Strides without gaps for a's shape, its axes in the same order in memory: dense_strides_like in shape.py.
inline Dims dense_strides(const Array& a) {
  std::array<int, kMaxDims> order;
  std::iota(order.begin(), order.end(), 0);
  bool repeats = false;
  for (int d = 0; d < a.ndim; ++d) repeats |= a.strides[d] == 0 && a.shape[d] > 1;
  if (!repeats && !a.is_compact())
    std::stable_sort(order.begin(), order.begin() + a.ndim,
                     [&](int d, int e) { return std::abs(a.strides[d]) > std::abs(a.strides[e]); });
  Dims strides{};
  int64_t step = 1;
  for (int i = a.ndim - 1; i >= 0; --i) {
    strides[order[i]] = step;
    step *= a.shape[order[i]];
  }
  return strides;
}

// `a` with the shape of `out`, or nothing if it does not broadcast to it.
inline std::optional<Array> broadcast(const Array& a, const Array& out) {
  if (a.ndim > out.ndim) return std::nullopt;
  Array result = a;
  result.ndim = out.ndim;
  result.shape = out.shape;
  result.strides = {};
  for (int d = 0, shift = out.ndim - a.ndim; d < a.ndim; ++d) {
    if (a.shape[d] == out.shape[d + shift])
      result.strides[d + shift] = a.strides[d];
    else if (a.shape[d] != 1)
      return std::nullopt;
  }
  return result;
}

// A float or int as an operand beside floats, or nothing.
inline std::optional<Array> number_beside(PyObject* object, const Array& result) {
  if (!is_floating_dtype(result.dtype)) return std::nullopt;
  if (PyFloat_CheckExact(object)) return Array::scalar(PyFloat_AS_DOUBLE(object), result.dtype);
  if (!PyLong_CheckExact(object)) return std::nullopt;
  const double number = PyLong_AsDouble(object);
  if (number != -1.0 || !PyErr_Occurred()) return Array::scalar(number, result.dtype);
  PyErr_Clear();  // too large
  return std::nullopt;
}

// The body of the function of one kernel with `num_inputs` inputs.
template <class Backend, auto field, DTypes dtypes, int num_inputs>
PyObject* elementwise(PyObject* self, const char* op, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count(op, count, num_inputs);
    std::array<std::optional<Array>, num_inputs> inputs;
    int like = -1;  // the first operand with the most elements
    for (int i = 0; i < num_inputs; ++i) {
      if (!is_ndarray(arguments[i])) continue;
      if (like >= 0 && !get(arguments[i], Slot::device).is(get(arguments[like], Slot::device))) Py_RETURN_NONE;
      inputs[i] = array_of(arguments[i]);
      if (like < 0 || inputs[i]->size() > inputs[like]->size()) like = i;
    }
    if (like < 0 || !contains(dtypes, inputs[like]->dtype) || inputs[like]->size() == 0) Py_RETURN_NONE;
    Array out = *inputs[like];
    for (int i = 0; i < num_inputs; ++i) {
      if (inputs[i] && inputs[i]->dtype != out.dtype) Py_RETURN_NONE;
      inputs[i] = inputs[i] ? broadcast(*inputs[i], out) : number_beside(arguments[i], out);
      if (!inputs[i]) Py_RETURN_NONE;
    }
    const auto shape = get(arguments[like], Slot::shape), dtype = get(arguments[like], Slot::dtype);
    const auto device = get(arguments[like], Slot::device);
    auto strides = get(arguments[like], Slot::strides);
    out.strides = dense_strides(out);
    if (out.strides != inputs[like]->strides) strides = python_tuple(out.strides, out.ndim);
    const Attributes attributes{shape.ptr(), strides.ptr(), dtype.ptr(), device.ptr()};
    out.buffer = memory_for(out.size() * itemsize(out.dtype), Backend::pool(self), attributes);
    out.offset = 0;
    if constexpr (num_inputs == 1) run<Backend, field>(self, *inputs[0], out);
    if constexpr (num_inputs == 2) run<Backend, field>(self, *inputs[0], *inputs[1], out);
    return make_ndarray(out, attributes);
  });
}

// A dict of one function per kernel, bound to `self`.
template <class Backend>
pybind11::dict elementwise_functions(PyObject* self) {
#define NEEDLE_FUNCTION(name, dtypes, num_inputs)                                                            \
  {#name, as_method([](PyObject* self, PyObject* const* arguments, Py_ssize_t count) {                       \
     return elementwise<Backend, &Kernels::name, DTypes::dtypes, num_inputs>(self, #name, arguments, count); \
   }),                                                                                                       \
   METH_FASTCALL,                                                                                            \
   "The result as a new NDArray, or None where the operands are not of one dtype and the result's shape."},
#define NEEDLE_UNARY(name, Operation, dtypes) NEEDLE_FUNCTION(name, dtypes, 1)
#define NEEDLE_BINARY(name, Operation, dtypes) NEEDLE_FUNCTION(name, dtypes, 2)
  static PyMethodDef functions[] = {NEEDLE_UNARY_KERNELS(NEEDLE_UNARY) NEEDLE_BINARY_KERNELS(NEEDLE_BINARY){}};
#undef NEEDLE_BINARY
#undef NEEDLE_UNARY
#undef NEEDLE_FUNCTION
  return bound_functions(functions, self);
}

}  // namespace needle::bindings
