// One exception type per kind of error. The bindings map each to the Python class of the same name.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace needle {

struct ShapeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct DTypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct OutOfMemoryError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Concatenates printable values: message("conv2d: stride ", 0, ", expected 1 or more").
template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

}  // namespace needle
