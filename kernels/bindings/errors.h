// Translates C++ exceptions to Python exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string>

#include "kernels/common/error.h"

namespace needle::bindings {

// Looks up the classes of needle.errors and makes pybind11 raise them, too. Called once, when the module is imported.
void set_error_classes();

// Sets the Python exception that corresponds to a C++ exception.
void set_python_error(const std::exception_ptr& pointer);

[[noreturn]] void throw_python_error(PyObject* type, const std::string& text);

// Returns function(), a new reference, or null with the Python exception set if it throws.
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
