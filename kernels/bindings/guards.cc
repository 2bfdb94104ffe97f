#include "kernels/bindings/guards.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/bindings/ndarrays.h"

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

// The attribute of an object, null if there is no such object or attribute.
py::object attribute_of(const py::object& object, PyObject* name) {
  PyObject* const found = object ? PyObject_GetAttr(object.ptr(), name) : nullptr;
  PyErr_Clear();
  return py::reinterpret_steal<py::object>(found);
}

bool has_layout(PyObject* array, const py::tuple& layout) {
  Py_ssize_t index = 0;
  for (Slot slot : {Slot::shape, Slot::strides, Slot::offset, Slot::dtype, Slot::device}) {
    const int equal = PyObject_RichCompareBool(get(array, slot).ptr(), PyTuple_GET_ITEM(layout.ptr(), index++), Py_EQ);
    if (equal < 0) throw py::error_already_set();
    if (!equal) return false;
  }
  return true;
}

}  // namespace

Location::Location(const py::tuple& container_and_key)
    : container(container_and_key[0]), key(container_and_key[1]), index(0) {
  if (PyList_Check(container.ptr()) || PyTuple_Check(container.ptr()) || container.is_none())
    index = py::cast<Py_ssize_t>(key);
}

py::object Location::in(PyObject* object) const {
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

Lookups::Lookups(const py::list& lookups, bool may_share) : may_share_(may_share) {
  for (py::handle lookup : lookups) {
    const py::tuple parts = py::cast<py::tuple>(lookup);
    lookups_.push_back({Location(parts), parts[2], py::cast<py::tuple>(parts[3])});
  }
}

py::object Lookups::now(const py::list& leaves) const {
  static PyObject* const cached_data = PyUnicode_InternFromString("cached_data");
  py::list out(lookups_.size());
  std::vector<PyObject*> buffers;
  for (size_t i = 0; i < lookups_.size(); ++i) {
    const auto& [location, attribute, layout] = lookups_[i];
    py::object found = location.container.is_none() ? location.in(leaves.ptr()) : location.now();
    if (!attribute.is_none()) found = attribute_of(found, attribute.ptr());
    if (found && !is_ndarray(found.ptr())) found = attribute_of(found, cached_data);
    if (!found || !is_ndarray(found.ptr()) || !has_layout(found.ptr(), layout)) return py::none();
    if (!may_share_) buffers.push_back(get(found.ptr(), Slot::buffer).ptr());
    PyList_SET_ITEM(out.ptr(), i, found.release().ptr());
  }
  std::sort(buffers.begin(), buffers.end());
  if (std::adjacent_find(buffers.begin(), buffers.end()) != buffers.end()) return py::none();
  return out;
}

void add_guards(py::module_& module) {
  py::class_<Guards>(module, "Guards")
      .def(py::init<py::list, py::list>())
      .def("hold", &Guards::hold, "Whether all containers still hold what they held.");
  py::class_<Lookups>(module, "Lookups")
      .def(py::init<py::list, bool>())
      .def("now", &Lookups::now, "now(leaves): the arrays there now, None if they are not as they were.");
  module.def(
      "environment", [](const char* name) { return static_cast<const char*>(std::getenv(name)); },
      "An environment variable, None if it is not set, faster than by os.environ, which sets it here, too.");
}

}  // namespace needle::bindings
