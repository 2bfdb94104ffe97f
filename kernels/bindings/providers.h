// The Python functions that choose the provider of kernels, alike in the modules of all backends.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string>

#include "kernels/common/error.h"
#include "kernels/common/provider.h"

namespace needle::bindings {

// How a module names its providers, and how it gets and sets the one in use.
struct ProviderChoice {
  const char* names[3];  // in the order of Provider
  const char* variable;  // the environment variable with the first setting
  Provider (*get)();
  void (*set)(Provider);

  void set_by_name(const std::string& wanted) const {
    for (int i = 0; i < 3; ++i)
      if (wanted == names[i]) return set(static_cast<Provider>(i));
    throw std::runtime_error(
        message("provider of kernels '", wanted, "', expected one of ", names[0], ", ", names[1], ", ", names[2]));
  }
};

// Adds provider() and set_provider(name) to a module, after setting the provider that the environment names, if any.
inline void add_provider_choice(pybind11::module_& module, const ProviderChoice& choice) {
  const char* wanted = std::getenv(choice.variable);
  try {
    if (wanted && *wanted) choice.set_by_name(wanted);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(message(choice.variable, ": ", error.what()));
  }
  module.def(
      "provider", [choice] { return choice.names[static_cast<int>(choice.get())]; },
      "Who provides the kernels that a library has, too.");
  module.def(
      "set_provider", [choice](const std::string& name) { choice.set_by_name(name); }, pybind11::arg("name"),
      "Takes them from \"native\", from the library or, \"auto\", from the faster for the call.");
}

}  // namespace needle::bindings
