#include "kernels/bindings/program.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <unordered_map>

#include "kernels/common/checks.h"

namespace py = pybind11;

namespace needle::bindings {
namespace {

thread_local int last_failed_step = -1;

// How a kernel's parameter is stored, and the letter for it.
template <class Parameter>
using Stored =
    std::conditional_t<std::is_same_v<std::decay_t<Parameter>, ArrayList>, std::vector<Array>, std::decay_t<Parameter>>;
template <class Parameter>
constexpr char kind() {
  using Type = Stored<Parameter>;
  if (std::is_same_v<Type, Array>) return 'a';
  if (std::is_same_v<Type, std::vector<Array>>) return 'l';
  if (std::is_same_v<Type, Instructions>) return 'p';
  if (std::is_same_v<Type, int64_t>) return 'i';
  return std::is_same_v<Type, bool> ? 'b' : 'f';
}

template <class Function, class... Parameters, size_t... index>
void apply(const Function& function, const Values& values, void (*Kernels::*)(Parameters...),
           std::index_sequence<index...>) {
  function(std::get<Stored<Parameters>>(values[index])...);
}

template <class... Parameters>
std::string kinds_of(void (*Kernels::*)(Parameters...)) {
  return {kind<Parameters>()...};
}

template <auto field, auto check>
void check_values(const Values& values) {
  apply(check, values, field, std::make_index_sequence<count_parameters(field)>());
}
template <auto field>
void run_kernel(const Kernels& kernels, const Values& values) {
  apply(kernels.*field, values, field, std::make_index_sequence<count_parameters(field)>());
}

// Memory of any size that no kernel reads: arrays have a buffer already when a program is made.
BufferPtr any_memory() {
  static const auto buffer = std::make_shared<Buffer>(nullptr, std::numeric_limits<int64_t>::max(), [] {});
  return buffer;
}

// The first byte of the memory that no element of the array reaches.
int64_t end_of(const Array& a) {
  if (a.size() == 0) return 0;
  int64_t last = a.offset;
  for (int d = 0; d < a.ndim; ++d) last += std::max<int64_t>(0, (a.shape[d] - 1) * a.strides[d]);
  return (last + 1) * itemsize(a.dtype);
}

void set_number(Value& value, PyObject* number) {
  if (std::holds_alternative<int64_t>(value)) value = integer_from(number);
  if (std::holds_alternative<double>(value)) value = float_from(number);
  if (std::holds_alternative<bool>(value)) value = bool_from(number);
}

double elements_of(const Value& value) {
  double size = 0;
  if (const auto* array = std::get_if<Array>(&value)) size = num_elements(*array);
  if (const auto* arrays = std::get_if<std::vector<Array>>(&value)) size = num_elements(*arrays);
  return size;
}

}  // namespace

struct Program::Kernel {
  void (*check)(const Values& values);
  void (*run)(const Kernels& kernels, const Values& values);
  std::string kinds;
};

const Program::Kernel& Program::find_kernel(const std::string& name) {
  static const std::unordered_map<std::string, Kernel> kernels{
#define NEEDLE_KERNEL(name, parameters, documentation) \
  {#name, {&check_values<&Kernels::name, &check::name>, &run_kernel<&Kernels::name>, kinds_of(&Kernels::name)}},
      NEEDLE_KERNELS(NEEDLE_KERNEL)
#undef NEEDLE_KERNEL
  };
  const auto found = kernels.find(name);
  if (found == kernels.end()) throw_python_error(PyExc_KeyError, message("program: no kernel ", name));
  return found->second;
}

Array Program::array_from(const py::tuple& operand) {
  const size_t memory = integer_from(operand[0].ptr());
  if (memory >= memories_.size()) throw ShapeError(message("program: memory ", memory, " of ", memories_.size()));
  const Layout layout(dtype_from(operand[1].ptr()), py::object(operand[2]).ptr(), py::object(operand[3]).ptr());
  Array array = layout.array_over(any_memory(), nearest_integer_from(operand[4].ptr()));
  int64_t& nbytes = memories_[memory].nbytes;
  if (memories_[memory].input >= 0)
    nbytes = std::max(nbytes, end_of(array));
  else if (end_of(array) > nbytes)
    throw ShapeError(message("program: an array reaches outside memory ", memory, " of ", nbytes, " bytes"));
  return array;
}

// Reads an operand into `value`, which stays where it is.
void Program::read_value(py::handle operand, char kind, Value& value) {
  if (kind == 'a') {
    value = entry_from(operand);
    return bind_entry(operand, value, std::get<Array>(value));
  }
  if (kind == 'l') {
    const py::list entries = py::cast<py::list>(operand);
    std::vector<Array> arrays;
    for (py::handle entry : entries) arrays.push_back(entry_from(entry));
    value = std::move(arrays);
    for (size_t i = 0; i < entries.size(); ++i) bind_entry(entries[i], value, std::get<std::vector<Array>>(value)[i]);
    return;
  }
  if (kind == 'p') {
    value = instructions_from("program", operand.ptr());
    return;
  }
  if (kind == 'i') value = int64_t{0};
  if (kind == 'f') value = 0.0;
  if (kind == 'b') value = false;
  if (PyTuple_Check(operand.ptr()))
    numbers_.push_back({py::cast<int>(py::cast<py::tuple>(operand)[0]), static_cast<int>(steps_.size()) - 1, &value,
                        nullptr, DType::float64});
  else
    set_number(value, operand.ptr());
}

// An array or scalar that is an operand or in a list. That of a live number is 0 so far.
Array Program::entry_from(py::handle operand) {
  if (Py_TYPE(operand.ptr()) == array_type) return reinterpret_cast<PyArray*>(operand.ptr())->array;
  const py::tuple parts = PyTuple_Check(operand.ptr()) ? py::cast<py::tuple>(operand) : py::tuple();
  if (parts.size() == 5) return array_from(parts);
  if (parts.size() == 2) return Array::scalar(0.0, dtype_from(py::object(parts[1]).ptr()));
  throw_python_error(PyExc_TypeError, message("program: ", Py_TYPE(operand.ptr())->tp_name, ", expected an array"));
}

// Notes that each run gives `array`, which is or is part of `value`, its memory or its number.
void Program::bind_entry(py::handle operand, Value& value, Array& array) {
  if (Py_TYPE(operand.ptr()) == array_type) return;
  const py::tuple parts = py::cast<py::tuple>(operand);
  if (parts.size() == 5) {
    Memory& memory = memories_[py::cast<int>(parts[0])];
    memory.users.push_back(&array);
    memory.last = static_cast<int>(steps_.size()) - 1;
    if (memory.first < 0) memory.first = memory.last;
  } else {
    numbers_.push_back({py::cast<int>(parts[0]), static_cast<int>(steps_.size()) - 1, &value, &array, array.dtype});
  }
}

Program::Program(const py::list& steps, const py::list& memories, const py::list& results, std::vector<int> changed,
                 const py::list& numbers)
    : changed_(std::move(changed)) {
  for (py::handle memory : memories) {
    const py::tuple parts = py::cast<py::tuple>(memory);
    const int input = py::cast<int>(parts[0]);
    memories_.push_back({input, input < 0 ? py::cast<int64_t>(parts[1]) : 0, {}});
  }
  for (py::handle step : steps) {
    const py::tuple parts = py::cast<py::tuple>(step);
    const Kernel& kernel = find_kernel(py::cast<std::string>(parts[0]));
    const py::list operands = py::cast<py::list>(parts[1]);
    check_count("program", operands.size(), kernel.kinds.size());
    steps_.push_back({&kernel, Values(operands.size(), Value(false))});
    for (size_t i = 0; i < operands.size(); ++i) {
      read_value(operands[i], kernel.kinds[i], steps_.back().values[i]);
      work_ += elements_of(steps_.back().values[i]);
    }
  }
  set_numbers(values_of(numbers));
  for (const Step& step : steps_) step.kernel->check(step.values);
  for (int memory : changed_)
    if (memory < 0 || memory >= static_cast<int>(memories_.size()) || memories_[memory].input < 0)
      throw ShapeError(message("program: memory ", memory, " is no input"));
  for (py::handle result : results) {
    const py::tuple parts = py::cast<py::tuple>(result);
    const size_t memory = py::cast<size_t>(parts[0]);
    if (memory >= memories_.size() || (memories_[memory].input < 0 && memories_[memory].first < 0))
      throw ShapeError("program: a result over memory that no step writes");
    memories_[memory].is_result = true;
    results_.push_back({static_cast<int>(memory), parts[1], parts[2], parts[3], parts[4], parts[5]});
  }
  allocated_.resize(steps_.size());
  released_.resize(steps_.size());
  for (size_t i = 0; i < memories_.size(); ++i) {
    const Memory& memory = memories_[i];
    if (memory.input >= 0 || memory.first < 0) continue;
    allocated_[memory.first].push_back(static_cast<int>(i));
    if (!memory.is_result) released_[memory.last].push_back(static_cast<int>(i));
  }
}

py::list Program::run(const Kernels& kernels, MemoryPool& pool, const py::list& inputs, const py::list& numbers,
                      int64_t moment, double keeps_lock) {
  last_failed_step = -1;
  std::vector<BufferPtr> buffers(memories_.size());
  std::vector<py::object> python_buffers(memories_.size());
  for (size_t i = 0; i < memories_.size(); ++i) {
    const Memory& memory = memories_[i];
    if (memory.input < 0) continue;
    const py::object input = inputs[memory.input];
    if (!is_ndarray(input.ptr()))
      throw_python_error(PyExc_TypeError, message("program: ", Py_TYPE(input.ptr())->tp_name, ", expected an NDArray"));
    buffers[i] = array_of(input.ptr()).buffer;
    python_buffers[i] = get(input.ptr(), Slot::buffer);
    if (buffers[i]->nbytes() < memory.nbytes)
      throw ShapeError(
          message("program: input ", memory.input, " has ", buffers[i]->nbytes(), " bytes, expected ", memory.nbytes));
  }
  const std::vector<py::object> values = values_of(numbers);  // before the GIL may be released
  {
    // The mutex may be waited for only without the GIL, which its holder needs to return.
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) {
      const Unlocked unlocked;
      lock.lock();
    }
    set_numbers(values);
    for (const Number& number : numbers_) steps_[number.step].kernel->check(steps_[number.step].values);
    for (size_t i = 0; i < memories_.size(); ++i)
      if (buffers[i]) give_buffer(memories_[i], buffers[i]);
    if (work_ > keeps_lock) {
      const Unlocked unlocked;
      run_steps(kernels, pool, buffers);
    } else {
      run_steps(kernels, pool, buffers);
    }
  }
  for (int memory : changed_) reinterpret_cast<PyBuffer*>(python_buffers[memory].ptr())->changed_at = moment;
  py::list out;
  for (const Result& result : results_) {
    py::object& buffer = python_buffers[result.memory];  // one for all results over this memory
    if (!buffer) buffer = py::reinterpret_steal<py::object>(python_buffer(buffers[result.memory]));
    const Attributes attributes{result.shape.ptr(), result.strides.ptr(), result.dtype.ptr(), result.device.ptr()};
    out.append(make_ndarray_over(buffer.ptr(), result.offset.ptr(), attributes));
  }
  return out;
}

std::vector<py::object> Program::values_of(const py::list& numbers) const {
  std::vector<py::object> values;
  for (const Number& number : numbers_) values.push_back(numbers[number.index]);
  return values;
}

void Program::set_numbers(const std::vector<py::object>& values) {
  for (size_t i = 0; i < numbers_.size(); ++i) {
    const Number& number = numbers_[i];
    if (number.scalar)
      *number.scalar = scalar_from(values[i].ptr(), number.dtype);
    else
      set_number(*number.value, values[i].ptr());
  }
}

// Lets the steps' arrays over a memory be in a buffer, which somebody else owns: so copies of arrays count nothing.
void Program::give_buffer(const Memory& memory, const BufferPtr& buffer) {
  const BufferPtr borrowed(BufferPtr(), buffer.get());
  for (Array* array : memory.users) array->buffer = borrowed;
}

void Program::run_steps(const Kernels& kernels, MemoryPool& pool, std::vector<BufferPtr>& buffers) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    try {
      for (int memory : allocated_[i]) {
        buffers[memory] = std::make_shared<Buffer>(memories_[memory].nbytes, pool);
        give_buffer(memories_[memory], buffers[memory]);
      }
      steps_[i].kernel->run(kernels, steps_[i].values);
      for (int memory : released_[i]) buffers[memory].reset();
    } catch (...) {
      last_failed_step = static_cast<int>(i);
      throw;
    }
  }
}

int Program::failed_step() { return last_failed_step; }

}  // namespace needle::bindings
