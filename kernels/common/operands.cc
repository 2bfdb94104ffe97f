#include "kernels/common/operands.h"

#include "kernels/common/plan.h"

namespace needle {

void check_indexed_rows(const char* op, NamedArray table, const Array& indices, NamedArray picked) {
  check_index_dtype(op, {"indices", indices});
  check_same_dtype(op, table, picked);
  check_ndim(op, table, 2);
  check_leading_shape(op, {"indices", indices}, picked);
  const int64_t width = table.array.shape[1], met = last_extent(picked.array);
  if (width != met)
    throw_shape_error("%s: %s has shape %s and %s has shape %s, expected one width, met %ld and %ld", op, table.name,
                      ShapeText(table.array).text, picked.name, ShapeText(picked.array).text, width, met);
}

void check_crop_images(const Array& images, const Array& windows, const Array& values, const Array& out) {
  check_dtype("crop_images", {"images", images}, DType::uint8);
  check_dtype("crop_images", {"windows", windows}, DType::int32);
  check_same_dtype("crop_images", {"values", values}, {"out", out});
  check_ndim("crop_images", {"images", images}, 4);
  check_ndim("crop_images", {"windows", windows}, 2);
  if (windows.shape[1] != 4)
    throw_shape_error("crop_images: windows have shape %s, expected (N, 4)", ShapeText(windows).text);
  if (!out.has_shape({windows.shape[0], images.shape[1], images.shape[2], images.shape[3]}))
    throw_shape_error("crop_images: out has shape %s, expected (%ld, %ld, %ld, %ld)", ShapeText(out).text,
                      windows.shape[0], images.shape[1], images.shape[2], images.shape[3]);
  if (!values.has_shape({images.shape[3], kByteValues}))
    throw_shape_error("crop_images: values have shape %s, expected (%ld, %ld)", ShapeText(values).text, images.shape[3],
                      kByteValues);
}

// Optimizer steps

static void check_parameters(const char* op, const ArrayList& parameters) {
  for (const Array& parameter : parameters) {
    check_floating(op, {"parameter", parameter});
    check_same_dtype(op, {"parameter", parameter}, {"the first one", parameters[0]});
  }
}

// Checks arrays that pair one to one with the parameters; `name` is the singular that error messages use.
static void check_state(const char* op, const char* name, const ArrayList& arrays, const ArrayList& parameters) {
  if (arrays.count != parameters.count)
    throw_shape_error("%s: %ld arrays for %s, expected one for each of %ld parameters", op, arrays.count, name,
                      parameters.count);
  for (int64_t i = 0; i < parameters.count; ++i) {
    check_same_dtype(op, {name, arrays[i]}, {"parameter", parameters[i]});
    check_same_shape(op, {name, arrays[i]}, {"parameter", parameters[i]});
  }
}

static void check_only_if_finite(const char* op, const ArrayList& numbers) {
  if (numbers.count > 1)
    throw_shape_error("%s: %ld arrays for only_if_finite, expected at most one", op, numbers.count);
  for (const Array& number : numbers) {
    if (number.dtype != DType::float32 && number.dtype != DType::float64)
      throw_dtype_error("%s: only_if_finite has dtype %s, expected float32 or float64", op, name(number.dtype));
    if (number.size() != 1)
      throw_shape_error("%s: only_if_finite has shape %s, expected one element", op, ShapeText(number).text);
  }
}

void check_sgd_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities, double momentum,
                    const ArrayList& only_if_finite) {
  check_only_if_finite("sgd_step", only_if_finite);
  check_parameters("sgd_step", parameters);
  check_state("sgd_step", "grad", grads, parameters);
  if (momentum != 0) check_state("sgd_step", "velocity", velocities, parameters);
}

void check_adam_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,
                     const ArrayList& second_moments, int64_t step, const ArrayList& only_if_finite) {
  check_only_if_finite("adam_step", only_if_finite);
  check_parameters("adam_step", parameters);
  check_state("adam_step", "grad", grads, parameters);
  check_state("adam_step", "first_moment", first_moments, parameters);
  check_state("adam_step", "second_moment", second_moments, parameters);
  if (step < 1) throw_shape_error("adam_step: step %ld, expected 1 or more", step);
}

// Recurrent layers

int64_t RecurrentSizes::states() const { return rows * units; }

static void check_shape(const char* op, NamedArray a, int64_t first, int64_t second, int64_t third) {
  if (!a.array.has_shape({first, second, third}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld)", op, a.name, ShapeText(a.array).text, first,
                      second, third);
}

static void check_shape(const char* op, NamedArray a, int64_t first, int64_t second) {
  if (!a.array.has_shape({first, second}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld)", op, a.name, ShapeText(a.array).text, first, second);
}

// The sizes of gates (T, B, G*U), after checking that W_hh matches them.
static RecurrentSizes check_sizes(const char* op, NamedArray gates, const Array& W_hh, int num_gates) {
  check_floating(op, gates);
  check_ndim(op, gates, 3);
  check_same_dtype(op, {"W_hh", W_hh}, gates);
  check_ndim(op, {"W_hh", W_hh}, 2);
  const RecurrentSizes sizes{gates.array.shape[0], gates.array.shape[1], W_hh.shape[0]};
  check_shape(op, {"W_hh", W_hh}, sizes.units, num_gates * sizes.units);
  check_shape(op, gates, sizes.steps, sizes.rows, num_gates * sizes.units);
  return sizes;
}

static void check_states(const char* op, NamedArray states, int64_t steps, const RecurrentSizes& sizes,
                         const Array& gates) {
  check_same_dtype(op, states, {"gates", gates});
  check_shape(op, states, steps, sizes.rows, sizes.units);
}

static void check_state(const char* op, NamedArray state, const RecurrentSizes& sizes, const Array& gates) {
  check_same_dtype(op, state, {"gates", gates});
  check_shape(op, state, sizes.rows, sizes.units);
}

RecurrentSizes check_rnn(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden) {
  const RecurrentSizes sizes = check_sizes("rnn", {"gates", gates}, W_hh, 1);
  check_same_dtype("rnn", {"bias", bias}, {"gates", gates});
  check_vector("rnn", {"bias", bias}, sizes.units);
  check_states("rnn", {"hidden", hidden}, sizes.steps + 1, sizes, gates);
  return sizes;
}

RecurrentSizes check_rnn_backward(const Array& grad_hidden, const Array& hidden, const Array& W_hh,
                                  const Array& grad_gates, const Array& grad_h0) {
  constexpr const char* op = "rnn_backward";
  const RecurrentSizes sizes = check_sizes(op, {"grad_hidden", grad_hidden}, W_hh, 1);
  check_states(op, {"hidden", hidden}, sizes.steps + 1, sizes, grad_hidden);
  check_states(op, {"grad_gates", grad_gates}, sizes.steps, sizes, grad_hidden);
  check_state(op, {"grad_h0", grad_h0}, sizes, grad_hidden);
  return sizes;
}

RecurrentSizes check_lstm(const Array& gates, const Array& W_hh, const Array& bias, const Array& hidden,
                          const Array& cells) {
  const RecurrentSizes sizes = check_sizes("lstm", {"gates", gates}, W_hh, 4);
  check_same_dtype("lstm", {"bias", bias}, {"gates", gates});
  check_vector("lstm", {"bias", bias}, 4 * sizes.units);
  check_states("lstm", {"hidden", hidden}, sizes.steps + 1, sizes, gates);
  check_states("lstm", {"cells", cells}, sizes.steps + 1, sizes, gates);
  return sizes;
}

RecurrentSizes check_lstm_backward(const Array& grad_hidden, const Array& grad_cell, const Array& gates,
                                   const Array& cells, const Array& W_hh, const Array& grad_gates, const Array& grad_h0,
                                   const Array& grad_c0) {
  constexpr const char* op = "lstm_backward";
  const RecurrentSizes sizes = check_sizes(op, {"gates", gates}, W_hh, 4);
  check_states(op, {"grad_hidden", grad_hidden}, sizes.steps, sizes, gates);
  check_state(op, {"grad_cell", grad_cell}, sizes, gates);
  check_states(op, {"cells", cells}, sizes.steps + 1, sizes, gates);
  check_same_dtype(op, {"grad_gates", grad_gates}, {"gates", gates});
  check_same_shape(op, {"grad_gates", grad_gates}, {"gates", gates});
  check_state(op, {"grad_h0", grad_h0}, sizes, gates);
  check_state(op, {"grad_c0", grad_c0}, sizes, gates);
  return sizes;
}

}  // namespace needle
