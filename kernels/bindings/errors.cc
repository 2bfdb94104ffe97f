#include "kernels/bindings/errors.h"

#include <new>

namespace py = pybind11;

namespace needle::bindings {
namespace {

// The classes of needle.errors with the same names; the references are never released.
struct ErrorClasses {
  PyObject *shape, *dtype, *out_of_memory, *device;
} error_classes;

}  // namespace

void set_error_classes() {
  const auto errors = py::module_::import("needle.errors");
  const auto error_class = [&](const char* name) { return errors.attr(name).cast<py::object>().release().ptr(); };
  error_classes = {error_class("ShapeError"), error_class("DTypeError"), error_class("OutOfMemoryError"),
                   error_class("DeviceError")};
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    if (pointer) set_python_error(pointer);
  });
}

void set_python_error(const std::exception_ptr& pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const ShapeError& error) {
    PyErr_SetString(error_classes.shape, error.what());
  } catch (const DTypeError& error) {
    PyErr_SetString(error_classes.dtype, error.what());
  } catch (const OutOfMemoryError& error) {
    PyErr_SetString(error_classes.out_of_memory, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(error_classes.out_of_memory, "out of memory");
  } catch (const std::exception& error) {
    PyErr_SetString(error_classes.device, error.what());
  }
}

[[noreturn]] void throw_python_error(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  throw py::error_already_set();
}

}  // namespace needle::bindings
