// A list of kernel calls that runs in one call from Python: what needle/compiler compiles a function to.
//
//     program(steps, memories, results, changed, numbers).run(inputs, numbers, moment) -> list of NDArrays
//
// A step is (kernel, operands). An operand is one of
//   (memory, dtype_code, shape, strides, offset): an array over one of the program's memories
//   what `scalar` makes, or (number, dtype_code): a scalar beside arrays of that dtype
//   a list of these
//   a number, or (number,)
//   instructions, as the kernel takes them
// where `number` is an index into `numbers`, which each run gives anew. A memory is the index of an input, or -1 and
// a count of bytes: (input,) has the buffer of that NDArray, (-1, nbytes) is allocated by each run. A result is
// (memory, shape, strides, offset, dtype, device). The memories in `changed` are inputs; their
// buffers get `moment` as changed_at.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/bindings/calls.h"

// pybind11's classes, which some here have as members, are hidden in all libraries; these are so only in some builds.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"

namespace needle::bindings {

using Value = std::variant<Array, std::vector<Array>, Instructions, int64_t, double, bool>;
using Values = std::vector<Value>;

class Program {
 public:
  Program(const pybind11::list& steps, const pybind11::list& memories, const pybind11::list& results,
          std::vector<int> changed, const pybind11::list& numbers);
  Program(const Program&) = delete;

  pybind11::list run(const Kernels& kernels, MemoryPool& pool, const pybind11::list& inputs,
                     const pybind11::list& numbers, int64_t moment, double keeps_lock);

  static int failed_step();  // of this thread's last run, or -1

 private:
  struct Kernel;
  struct Step {
    const Kernel* kernel;
    Values values;
  };
  struct Memory {
    int input;  // or -1 for one that each run allocates
    int64_t nbytes;
    std::vector<Array*> users;  // arrays of the steps
    int first = -1, last = -1;  // steps
    bool is_result = false;
  };
  struct Number {
    int index, step;
    Value* value;
    Array* scalar;  // within the value, or null for a plain number
    DType dtype;    // of a scalar
  };
  struct Result {
    int memory;
    pybind11::object shape, strides, offset, dtype, device;
  };

  static const Kernel& find_kernel(const std::string& name);
  Array array_from(const pybind11::tuple& operand);
  void read_value(pybind11::handle operand, char kind, Value& value);
  Array entry_from(pybind11::handle operand);
  void bind_entry(pybind11::handle operand, Value& value, Array& array);
  std::vector<pybind11::object> values_of(const pybind11::list& numbers) const;  // one for each of numbers_
  void set_numbers(const std::vector<pybind11::object>& values);
  void give_buffer(const Memory& memory, const BufferPtr& buffer);
  void run_steps(const Kernels& kernels, MemoryPool& pool, std::vector<BufferPtr>& buffers);

  std::vector<Step> steps_;
  std::vector<std::vector<int>> allocated_, released_;  // memories, before and after each step
  std::vector<Memory> memories_;
  std::vector<Number> numbers_;
  std::vector<Result> results_;
  std::vector<int> changed_;
  double work_ = 0;   // elements of all operands
  std::mutex mutex_;  // a run binds buffers and numbers to the steps
};

// The Python class of programs of one backend.
template <class Backend>
class ProgramOf : public Program {
 public:
  ProgramOf(pybind11::object self, const pybind11::list& steps, const pybind11::list& memories,
            const pybind11::list& results, std::vector<int> changed, const pybind11::list& numbers)
      : Program(steps, memories, results, std::move(changed), numbers), self_(std::move(self)) {}

  pybind11::list run(const pybind11::list& inputs, const pybind11::list& numbers, int64_t moment) {
    return Program::run(Backend::kernels(self_.ptr()), Backend::pool(self_.ptr()), inputs, numbers, moment,
                        Backend::kKeepsLock);
  }

 private:
  const pybind11::object self_;  // what the backend's methods are bound to
};

template <class Backend>
void add_program_class(pybind11::module_& module) {
  pybind11::class_<ProgramOf<Backend>>(module, "Program", pybind11::module_local())
      .def("run", &ProgramOf<Backend>::run, "run(inputs, numbers, moment): runs all steps; the results as NDArrays.")
      .def_static("failed_step", &Program::failed_step,
                  "The index of the step that raised the exception of this thread's last failed run.");
}

// The function `program` of a backend whose methods are bound to `self`.
template <class Backend>
void add_program_function(const pybind11::object& module, const pybind11::object& self) {
  using pybind11::list;
  const auto make = [self](const list& steps, const list& memories, const list& results, std::vector<int> changed,
                           const list& numbers) {
    return std::make_unique<ProgramOf<Backend>>(self, steps, memories, results, std::move(changed), numbers);
  };
  module.attr("program") = pybind11::cpp_function(make);
}

}  // namespace needle::bindings

#pragma GCC diagnostic pop
