// Checks of the optimizers' steps.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"

namespace needle::check {
namespace {

void check_parameters(const char* op, const ArrayList& parameters) {
  for (const Array& parameter : parameters) {
    check_floating(op, {"parameter", parameter});
    check_same_dtype(op, {"parameter", parameter}, {"the first one", parameters[0]});
  }
}

// Checks arrays that pair one to one with the parameters; `name` is the singular that error messages use.
void check_state(const char* op, const char* name, const ArrayList& arrays, const ArrayList& parameters) {
  if (arrays.count != parameters.count)
    throw_shape_error("%s: %ld arrays for %s, expected one for each of %ld parameters", op, arrays.count, name,
                      parameters.count);
  for (int64_t i = 0; i < parameters.count; ++i) {
    check_like(op, {name, arrays[i]}, {"parameter", parameters[i]});
  }
}

void check_only_if_finite(const char* op, const ArrayList& numbers) {
  if (numbers.count > 1)
    throw_shape_error("%s: %ld arrays for only_if_finite, expected at most one", op, numbers.count);
  for (const Array& number : numbers) {
    if (number.dtype != DType::float32 && number.dtype != DType::float64)
      throw_dtype_error("%s: only_if_finite has dtype %s, expected float32 or float64", op, name(number.dtype));
    if (number.size() != 1)
      throw_shape_error("%s: only_if_finite has shape %s, expected one element", op, ShapeText(number).text);
  }
}

}  // namespace

// `velocities` are checked only if momentum != 0.
void sgd_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities,
              double /*learning_rate*/, double momentum, double /*dampening*/, double /*weight_decay*/,
              bool /*nesterov*/, const ArrayList& only_if_finite) {
  check_only_if_finite("sgd_step", only_if_finite);
  check_parameters("sgd_step", parameters);
  check_state("sgd_step", "grad", grads, parameters);
  if (momentum != 0) check_state("sgd_step", "velocity", velocities, parameters);
}

void adam_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,
               const ArrayList& second_moments, double /*learning_rate*/, double /*beta1*/, double /*beta2*/,
               double /*eps*/, double /*weight_decay*/, bool /*decoupled*/, int64_t step,
               const ArrayList& only_if_finite) {
  check_only_if_finite("adam_step", only_if_finite);
  check_parameters("adam_step", parameters);
  check_state("adam_step", "grad", grads, parameters);
  check_state("adam_step", "first_moment", first_moments, parameters);
  check_state("adam_step", "second_moment", second_moments, parameters);
  if (step < 1) throw_shape_error("adam_step: step %ld, expected 1 or more", step);
}

}  // namespace needle::check
