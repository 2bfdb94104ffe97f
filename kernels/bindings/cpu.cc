// The Python module needle.backend_ndarray.backend_cpu: buffers, arrays over them, and one function per kernel.
//
// Every argument of a Python caller is checked here or in the kernel; no argument may crash the interpreter.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/bindings/arrays.h"
#include "kernels/bindings/calls.h"
#include "kernels/bindings/elementwise.h"
#include "kernels/bindings/errors.h"
#include "kernels/bindings/guards.h"
#include "kernels/bindings/program.h"
#include "kernels/bindings/providers.h"
#include "kernels/bindings/reduction.h"
#include "kernels/common/buffer.h"
#include "kernels/common/cpu_features.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/libraries/library.h"
#include "kernels/cpu/libraries/provider.h"

namespace py = pybind11;

namespace needle::bindings {
namespace {

// Kernels

constexpr Level kLevels[] = {Level::baseline, Level::avx2, Level::avx512};
std::atomic<Level> active_level;
std::atomic<const Kernels*> active_kernels;

struct Cpu {
  static const Kernels& kernels(PyObject*) { return *active_kernels.load(std::memory_order_relaxed); }
  static MemoryPool& pool(PyObject*) { return host_pool(); }

  // Such a call takes a few microseconds, but a thread that releases the GIL may wait 5 milliseconds to get it back
  // while another thread runs Python code.
  static constexpr int64_t kKeepsLock = 4096;
};

void add_kernels(py::module_& module) {
#define NEEDLE_CPU_METHOD(kernel, parameters, documentation) NEEDLE_METHOD(Cpu, kernel, documentation)
  static PyMethodDef methods[] = {
      {"allocate", as_method([](PyObject*, PyObject* const* arguments, Py_ssize_t count) {
         return allocate(host_pool(), arguments, count);
       }),
       METH_FASTCALL,
       "allocate(shape, strides, dtype, device): an uninitialized NDArray, whose strides leave no gaps."},
      {"view", as_method(make_view), METH_FASTCALL,
       "view(ndarray, shape, strides, offset): another NDArray over the same buffer."},
      {"scalar", as_method(make_scalar), METH_FASTCALL, "scalar(value, dtype_code): a 0-d operand."},
      NEEDLE_KERNELS(NEEDLE_CPU_METHOD){}};
#undef NEEDLE_CPU_METHOD
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.attr("elementwise") = elementwise_functions<Cpu>(nullptr);
  module.attr("reductions") = reduction_functions<Cpu>(nullptr);
}

void set_level(const std::string& wanted) {
  std::string names;
  for (Level level : kLevels) {
    if (wanted == name(level)) {
      active_kernels = &cpu::libraries::kernels(level);  // throws if the processor lacks this level
      active_level = level;
      cpu::libraries::set_library_level(level);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(name(level));
  }
  throw std::runtime_error(message("instruction level '", wanted, "', expected one of ", names));
}

void set_first_level() {
  const char* wanted = std::getenv("NEEDLE_CPU_LEVEL");
  if (!wanted || !*wanted) return set_level(name(highest_level()));
  try {
    set_level(wanted);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(message("NEEDLE_CPU_LEVEL: ", error.what()));
  }
}

// The provider of the kernels that oneDNN has, too

constexpr ProviderChoice kProviders{
    {"native", "onednn", "auto"}, "NEEDLE_CPU_KERNELS", &cpu::libraries::provider, &cpu::libraries::set_provider};

// The library files that needle.backend_ndarray.onednn finds.
std::vector<std::string> library_paths() {
  const Locked locked;
  return py::module_::import("needle.backend_ndarray.onednn").attr("library_paths")().cast<std::vector<std::string>>();
}

void add_providers(py::module_& module) {
  add_provider_choice(module, kProviders);
  cpu::libraries::set_library_search(library_paths);
  module.def(
      "providers",
      [] {
        const Unlocked unlocked;
        return std::vector<std::string>(kProviders.names, kProviders.names + (cpu::libraries::library() ? 3 : 1));
      },
      "The providers that differ here: without oneDNN all are \"native\".");
  module.def(
      "onednn_status",
      [] {
        const Unlocked unlocked;
        return cpu::libraries::library_status();
      },
      "oneDNN's version and file, or why it cannot be used; loads it.");
  module.def(
      "onednn_calls",
      [] {
        py::dict calls;
#define NEEDLE_COUNT(kernel, parameters) calls[#kernel] = cpu::libraries::num_calls(cpu::libraries::Kernel::kernel);
        NEEDLE_ONEDNN_KERNELS(NEEDLE_COUNT)
#undef NEEDLE_COUNT
        return calls;
      },
      "For each kernel that oneDNN has, how many calls it has done.");
}

PYBIND11_MODULE(backend_cpu, m) {
  m.doc() = "Needle's CPU kernels, for needle.backend_ndarray; kernel_table.py there says what each does.";
  set_error_classes();
  set_first_level();
  host_pool();  // reports a wrong NEEDLE_MEMORY_POOL here, at import
  add_array_types(m, /*host=*/true);
  add_kernels(m);
  add_program_class<Cpu>(m);
  add_guards(m);
  add_program_function<Cpu>(m, py::none());

  m.def("level", [] { return name(active_level); }, "The instruction level in use.");
  m.def("set_level", &set_level, py::arg("name"), "Uses the kernels of one of levels().");
  m.def(
      "levels",
      [] {
        py::list names;
        for (Level level : kLevels)
          if (level <= highest_level()) names.append(name(level));
        return names;
      },
      "The instruction levels of this processor.");
  add_providers(m);
  m.def("get_num_threads", &num_threads);
  m.def(
      "set_num_threads",
      [](const py::object& count) {
        const Py_ssize_t value = PyNumber_AsSsize_t(count.ptr(), nullptr);  // clamps on overflow
        if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
        set_num_threads(value);
      },
      py::arg("count"));
  m.def(
      "memory_stats",
      [] {
        const MemoryStats stats = host_pool().stats();
        py::dict result;
        result["current"] = stats.current;
        result["peak"] = stats.peak;
        result["reserved"] = stats.reserved;
        return result;
      },
      "Bytes of the pool: in arrays now, the most there ever was, and held from the system.");
  m.def("reset_peak_memory", [] { host_pool().reset_peak(); }, "Makes the current use the new peak.");
  m.def("trim_memory", [] { host_pool().trim(); }, "Gives every kept block back to the system.");
}

}  // namespace
}  // namespace needle::bindings
