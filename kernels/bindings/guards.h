// What Python objects hold now, and whether it is what they held: needle/compiler asks before each run of a program.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"  // see program.h

namespace needle::bindings {

// Something that a container has: a dict, list, tuple or mappingproxy at a key, a cell, or any other object as an
// attribute.
struct Location {
  pybind11::object container, key;
  Py_ssize_t index;  // of a list or tuple

  explicit Location(const pybind11::tuple& container_and_key);
  pybind11::object now() const { return in(container.ptr()); }  // null if there is nothing
  pybind11::object in(PyObject* container) const;               // likewise, of another one
};

class Guards {
 public:
  // entries: (container, key, value, is_missing). sizes: (container, size, keys or None), with a dict's keys in order.
  Guards(const pybind11::list& entries, const pybind11::list& sizes);

  // Whether each container has at its key a value of the same type and repr, if that is an int, a float or a str, else
  // the same object, or nothing if it was missing; and whether each has its size and its keys.
  bool hold() const;

 private:
  struct Entry {
    Location location;
    pybind11::object value;  // null if there was nothing
  };
  struct Size {
    pybind11::object container, keys;
    Py_ssize_t size;
  };
  std::vector<Entry> entries_;
  std::vector<Size> sizes_;
};

// The arrays at many locations, of given layouts.
class Lookups {
 public:
  // (container, key, attribute, layout): the NDArray there, or that of the Tensor there, or those of its attribute if
  // that is not None. A layout is (shape, strides, offset, dtype, device). A container that is None is the list
  // `leaves`.
  Lookups(const pybind11::list& lookups, bool may_share);

  // The arrays; None if one is missing or has another layout, or if two share a buffer and may not.
  pybind11::object now(const pybind11::list& leaves) const;

 private:
  struct Lookup {
    Location location;
    pybind11::object attribute;
    pybind11::tuple layout;
  };
  std::vector<Lookup> lookups_;
  bool may_share_;
};

void add_guards(pybind11::module_& module);

}  // namespace needle::bindings

#pragma GCC diagnostic pop
