// C++ exceptions as Python errors.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string>

#include "kernels/common/error.h"

namespace needle::bindings {

// Finds the classes of needle.errors, and has pybind11 raise them, too; called once, when the module is imported.
void set_error_classes();

// Sets the Python error that a C++ exception stands for.
void set_python_error(const std::exception_ptr& pointer);

[[noreturn]] void throw_python_error(PyObject* type, const std::string& text);

// The value of `function`, a new reference, or null with the Python error set.
template <class Function>
PyObject* guarded(const Function& function) {
  try {
    return function();
  } catch (...) {
    set_python_error(std::current_exception());
    return nullptr;
  }
}

}  // namespace needle::bindings
