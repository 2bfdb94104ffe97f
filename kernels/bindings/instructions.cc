#include "kernels/bindings/instructions.h"

#include <string>
#include <unordered_map>

#include "kernels/bindings/errors.h"
#include "kernels/bindings/numbers.h"

namespace needle::bindings {
namespace {

struct Known {
  ElementKernel kernel;
  int num_inputs;
};

const Known& find_kernel(const char* op, size_t index, PyObject* name) {
  static const std::unordered_map<std::string, Known> all{
#define NEEDLE_UNARY(name, Operation, dtypes) {#name, {ElementKernel::name, 1}},
#define NEEDLE_BINARY(name, Operation, dtypes) {#name, {ElementKernel::name, 2}},
      NEEDLE_UNARY_KERNELS(NEEDLE_UNARY)        //
      NEEDLE_BINARY_KERNELS(NEEDLE_BINARY)      //
      NEEDLE_COMPARISON_KERNELS(NEEDLE_BINARY)  //
      {"copy", {ElementKernel::copy, 1}},
      {"where", {ElementKernel::where, 3}},
#undef NEEDLE_BINARY
#undef NEEDLE_UNARY
  };
  const char* text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : nullptr;
  if (!text && PyErr_Occurred()) throw pybind11::error_already_set();
  const auto found = text ? all.find(text) : all.end();
  if (found != all.end()) return found->second;
  throw_python_error(PyExc_ValueError, message(op, ": instruction ", index, ": kernel ",
                                               text ? text : Py_TYPE(name)->tp_name, ", expected an element-wise one"));
}

Instruction instruction_from(const char* op, size_t index, PyObject* parts) {
  if (!PyTuple_CheckExact(parts) || PyTuple_GET_SIZE(parts) == 0)
    throw_python_error(PyExc_TypeError, message(op, ": instruction ", index, " is ", Py_TYPE(parts)->tp_name,
                                                ", expected a tuple of a kernel and registers"));
  const Known& known = find_kernel(op, index, PyTuple_GET_ITEM(parts, 0));
  const bool is_copy = known.kernel == ElementKernel::copy;
  const Py_ssize_t expected = 2 + known.num_inputs + is_copy;
  if (PyTuple_GET_SIZE(parts) != expected)
    throw_python_error(PyExc_TypeError, message(op, ": instruction ", index, " has ", PyTuple_GET_SIZE(parts),
                                                " parts, expected ", expected));
  const auto register_at = [&](Py_ssize_t place) {
    const int64_t number = integer_from(PyTuple_GET_ITEM(parts, place));
    if (number < 0 || number >= kMostRegisters)
      throw ShapeError(message(op, ": instruction ", index, " has register ", number, ", expected one from 0 to ",
                               kMostRegisters - 1));
    return static_cast<int>(number);
  };
  Instruction instruction{known.kernel, known.num_inputs, register_at(1), {}, DType::float32};
  for (int j = 0; j < known.num_inputs; ++j) instruction.in[j] = register_at(2 + j);
  if (is_copy) instruction.dtype = dtype_from(PyTuple_GET_ITEM(parts, 3));
  return instruction;
}

}  // namespace

Instructions instructions_from(const char* op, PyObject* object) {
  if (!PyTuple_CheckExact(object))
    throw_python_error(PyExc_TypeError,
                       message(op, ": instructions are ", Py_TYPE(object)->tp_name, ", expected a tuple of tuples"));
  Instructions instructions;
  instructions.reserve(PyTuple_GET_SIZE(object));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i)
    instructions.push_back(instruction_from(op, i, PyTuple_GET_ITEM(object, i)));
  return instructions;
}

}  // namespace needle::bindings
