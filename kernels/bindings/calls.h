// Turns Python calls into calls of the kernel table: METH_FASTCALL functions that read and check their arguments.
//
// A backend is a struct with
//   static const Kernels& kernels(PyObject* self): the table to call, where `self` is what the methods are bound to;
//   static MemoryPool& pool(PyObject* self): where its arrays are allocated;
//   kKeepsLock: a call whose arrays have at most this many elements does not release the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/bindings/arrays.h"
#include "kernels/bindings/errors.h"
#include "kernels/bindings/instructions.h"
#include "kernels/bindings/lock.h"
#include "kernels/bindings/ndarrays.h"
#include "kernels/bindings/numbers.h"
#include "kernels/common/checks.h"
#include "kernels/common/kernel_table.h"

namespace needle::bindings {

// Converts an argument of the kernel `op` to the kernel's parameter type; `wanted` only selects that type.
// Arrays are copied: meanwhile, another thread may assign to the NDArray's attributes, or take it from the list.
inline Array value_from(const char* op, PyObject* object, const Array* /*wanted*/) {
  if (is_ndarray(object)) return array_of(object);
  if (Py_TYPE(object) == array_type) return reinterpret_cast<PyArray*>(object)->array;
  throw_python_error(PyExc_TypeError, message(op, ": an operand is ", Py_TYPE(object)->tp_name, ", expected NDArray"));
}
inline std::vector<Array> value_from(const char* op, PyObject* object, const ArrayList* /*wanted*/) {
  if (!PyList_CheckExact(object))
    throw_python_error(PyExc_TypeError,
                       message(op, ": an operand is ", Py_TYPE(object)->tp_name, ", expected a list of NDArrays"));
  std::vector<Array> arrays;
  arrays.reserve(PyList_GET_SIZE(object));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(object); ++i)
    arrays.push_back(value_from(op, PyList_GET_ITEM(object, i), static_cast<const Array*>(nullptr)));
  return arrays;
}
inline int64_t value_from(const char*, PyObject* object, const int64_t* /*wanted*/) { return integer_from(object); }
inline double value_from(const char*, PyObject* object, const double* /*wanted*/) { return float_from(object); }
inline bool value_from(const char*, PyObject* object, const bool* /*wanted*/) { return bool_from(object); }
inline Instructions value_from(const char* op, PyObject* object, const Instructions* /*wanted*/) {
  return instructions_from(op, object);
}

// The number of elements of an argument; a double, so that the sum over a list does not overflow.
inline double num_elements(const Array& a) { return static_cast<double>(a.size()); }
inline double num_elements(double) { return 0; }
inline double num_elements(const Instructions&) { return 0; }
inline double num_elements(const std::vector<Array>& arrays) {
  double size = 0;
  for (const Array& a : arrays) size += num_elements(a);
  return size;
}

// Runs a kernel on operands that have been checked.
template <class Backend, auto field, class... Values>
void run(PyObject* self, const Values&... values) {
  const auto kernel = Backend::kernels(self).*field;
  if (((num_elements(values) > Backend::kKeepsLock) || ...)) {
    const Unlocked unlocked;
    kernel(values...);
  } else {
    kernel(values...);
  }
}

template <class Backend, auto field, auto check, class... Parameters, size_t... index>
void call_kernel(PyObject* self, const char* op, PyObject* const* arguments, void (*Kernels::*)(Parameters...),
                 std::index_sequence<index...>) {
  const std::tuple<decltype(value_from(op, nullptr, static_cast<const std::decay_t<Parameters>*>(nullptr)))...> values{
      value_from(op, arguments[index], static_cast<const std::decay_t<Parameters>*>(nullptr))...};
  check(std::get<index>(values)...);
  run<Backend, field>(self, std::get<index>(values)...);
}

template <class... Parameters>
constexpr size_t count_parameters(void (*Kernels::*)(Parameters...)) {
  return sizeof...(Parameters);
}

// The body of the Python function of one field of the kernel table; `check` checks the operands.
template <class Backend, auto field, auto check>
PyObject* kernel_method(PyObject* self, const char* op, PyObject* const* arguments, Py_ssize_t count) {
  return guarded([&] {
    constexpr size_t expected = count_parameters(field);
    check_count(op, count, expected);
    call_kernel<Backend, field, check>(self, op, arguments, field, std::make_index_sequence<expected>());
    Py_RETURN_NONE;
  });
}

using FastFunction = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
inline PyCFunction as_method(FastFunction function) {  // CPython calls it with these arguments under METH_FASTCALL
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// A dict of functions by name, each bound to `self`; the last one is empty.
inline pybind11::dict bound_functions(PyMethodDef* functions, PyObject* self) {
  pybind11::dict result;
  for (PyMethodDef* function = functions; function->ml_name; ++function) {
    PyObject* object = PyCFunction_NewEx(function, self, nullptr);
    if (!object) throw pybind11::error_already_set();
    result[function->ml_name] = pybind11::reinterpret_steal<pybind11::object>(object);
  }
  return result;
}

// The PyMethodDef of a kernel for a backend.
#define NEEDLE_METHOD(Backend, kernel, documentation)                                                  \
  {#kernel, as_method([](PyObject* self, PyObject* const* arguments, Py_ssize_t count) {               \
     return kernel_method<Backend, &Kernels::kernel, &check::kernel>(self, #kernel, arguments, count); \
   }),                                                                                                 \
   METH_FASTCALL, documentation},

}  // namespace needle::bindings
