#include "kernels/bindings/guards.h"

#include <cstring>

namespace py = pybind11;

namespace needle::bindings {
namespace {

bool is_same(PyObject* now, PyObject* before) {
  if (now == before) return true;
  if (!now || !before || Py_TYPE(now) != Py_TYPE(before)) return false;
  if (PyFloat_CheckExact(now)) {  // -0.0 is another number than 0.0
    const double a = PyFloat_AS_DOUBLE(now), b = PyFloat_AS_DOUBLE(before);
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
  if (!PyLong_CheckExact(now) && !PyUnicode_CheckExact(now)) return false;
  const int equal = PyObject_RichCompareBool(now, before, Py_EQ);
  if (equal < 0) throw py::error_already_set();
  return equal != 0;
}

bool has_keys(PyObject* dict, PyObject* keys) {
  Py_ssize_t position = 0, index = 0;
  PyObject *key, *value;
  while (PyDict_Next(dict, &position, &key, &value)) {
    PyObject* const before = PyTuple_GET_ITEM(keys, index++);
    if (key != before && PyObject_RichCompareBool(key, before, Py_EQ) != 1) {
      PyErr_Clear();
      return false;
    }
  }
  return true;
}

}  // namespace

Location::Location(const py::tuple& container_and_key)
    : container(container_and_key[0]), key(container_and_key[1]), index(0) {
  if (PyList_Check(container.ptr()) || PyTuple_Check(container.ptr())) index = py::cast<Py_ssize_t>(key);
}

py::object Location::now() const {
  PyObject* const object = container.ptr();
  PyObject* found = nullptr;
  if (PyDict_CheckExact(object)) {
    found = PyDict_GetItemWithError(object, key.ptr());
  } else if (PyList_Check(object)) {
    if (index < PyList_GET_SIZE(object)) found = PyList_GET_ITEM(object, index);
  } else if (PyTuple_Check(object)) {
    if (index < PyTuple_GET_SIZE(object)) found = PyTuple_GET_ITEM(object, index);
  } else if (PyCell_Check(object)) {
    found = PyCell_GET(object);
  } else {
    const bool is_mapping = Py_TYPE(object) == &PyDictProxy_Type || PyDict_Check(object);
    found = is_mapping ? PyObject_GetItem(object, key.ptr()) : PyObject_GetAttr(object, key.ptr());
    PyErr_Clear();
    return py::reinterpret_steal<py::object>(found);
  }
  PyErr_Clear();
  return py::reinterpret_borrow<py::object>(found);
}

Guards::Guards(const py::list& entries, const py::list& sizes) {
  for (py::handle entry : entries) {
    const py::tuple parts = py::cast<py::tuple>(entry);
    entries_.push_back({Location(parts), py::cast<bool>(parts[3]) ? py::object() : py::object(parts[2])});
  }
  for (py::handle size : sizes) {
    const py::tuple parts = py::cast<py::tuple>(size);
    sizes_.push_back({parts[0], parts[2], py::cast<Py_ssize_t>(parts[1])});
  }
}

bool Guards::hold() const {
  for (const Size& size : sizes_) {
    if (PyObject_Size(size.container.ptr()) != size.size) return false;
    if (!size.keys.is_none() && !has_keys(size.container.ptr(), size.keys.ptr())) return false;
  }
  for (const Entry& entry : entries_)
    if (!is_same(entry.location.now().ptr(), entry.value.ptr())) return false;
  return true;
}

Lookups::Lookups(const py::list& lookups) {
  for (py::handle lookup : lookups) {
    const py::tuple parts = py::cast<py::tuple>(lookup);
    locations_.emplace_back(parts);
    attributes_.push_back(parts[2]);
  }
}

py::list Lookups::now() const {
  py::list out(locations_.size());
  for (size_t i = 0; i < locations_.size(); ++i) {
    py::object found = locations_[i].now();
    if (!found) found = py::none();
    if (!found.is_none() && !attributes_[i].is_none()) found = found.attr(attributes_[i]);
    PyList_SET_ITEM(out.ptr(), i, found.release().ptr());
  }
  return out;
}

void add_guard_classes(py::module_& module) {
  py::class_<Guards>(module, "Guards")
      .def(py::init<py::list, py::list>())
      .def("hold", &Guards::hold, "Whether all containers still hold what they held.");
  py::class_<Lookups>(module, "Lookups")
      .def(py::init<py::list>())
      .def("now", &Lookups::now, "What is there now, None where there is nothing.");
}

}  // namespace needle::bindings
