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
  pybind11::object now() const;  // null if there is nothing
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

// The arrays at many locations.
class Lookups {
 public:
  // (container, key, attribute or None): the object there or, unless it is None, its attribute.
  explicit Lookups(const pybind11::list& lookups);

  pybind11::list now() const;  // None for what is not there

 private:
  std::vector<Location> locations_;
  std::vector<pybind11::object> attributes_;
};

void add_guard_classes(pybind11::module_& module);

}  // namespace needle::bindings

#pragma GCC diagnostic pop
