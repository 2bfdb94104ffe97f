// Checks of the kernels that work on rows: batch and layer normalization, softmax and its losses.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"
#include "kernels/common/plan.h"

namespace needle::check {

// Normalization

namespace {

void check_rows(const char* op, const Array& x) {
  check_floating(op, {"x", x});
  if (x.ndim == 0) throw_shape_error("%s: x has shape (), expected at least one axis", op);
}

// For batch normalization: the mean over zero rows is undefined.
void check_any_rows(const char* op, const Array& x) {
  if (row_count(x) == 0) throw_shape_error("%s: x has shape %s, expected at least one row", op, ShapeText(x).text);
}

// For layer normalization and softmax.
void check_not_empty_rows(const char* op, NamedArray x) {
  if (x.array.ndim == 0 || last_extent(x.array) == 0)
    throw_shape_error("%s: %s has shape %s, expected at least one element along the last axis", op, x.name,
                      ShapeText(x.array).text);
}

// Parameters and statistics have x's dtype; if x is a half type, they may also be float32.
void check_parameter_dtype(const char* op, NamedArray a, const Array& x) {
  if (a.array.dtype != DType::float32 || !is_half_dtype(x.dtype)) check_same_dtype(op, a, {"x", x});
}

// A vector of shape (C,).
void check_parameter(const char* op, NamedArray a, const Array& x) {
  check_parameter_dtype(op, a, x);
  check_vector(op, a, last_extent(x));
}

// One number per row.
void check_row_statistics(const char* op, NamedArray a, const Array& x) {
  check_parameter_dtype(op, a, x);
  check_leading_shape(op, a, {"x", x});
}

void check_batch_norm(const char* op, NamedArray like, const Array& x, std::initializer_list<NamedArray> parameters) {
  check_rows(op, x);
  check_like(op, like, {"x", x});
  for (NamedArray parameter : parameters) check_parameter(op, parameter, x);
}

}  // namespace

void batch_norm(const Array& x, const Array& weight, const Array& bias, const ArrayList& running, const Array& out,
                const Array& mean, const Array& variance, double /*eps*/, double /*momentum*/, bool /*relu*/) {
  check_batch_norm("batch_norm", {"out", out}, x,
                   {{"weight", weight}, {"bias", bias}, {"mean", mean}, {"variance", variance}});
  check_any_rows("batch_norm", x);
  if (running.count == 0) return;
  if (running.count != 2)
    throw_shape_error("batch_norm: %ld arrays for running, expected none or a mean and a variance", running.count);
  check_parameter("batch_norm", {"running mean", running[0]}, x);
  check_parameter("batch_norm", {"running variance", running[1]}, x);
}

void batch_norm_inference(const Array& x, const Array& weight, const Array& bias, const Array& mean,
                          const Array& variance, const Array& out, double /*eps*/, bool /*relu*/) {
  check_batch_norm("batch_norm_inference", {"out", out}, x,
                   {{"weight", weight}, {"bias", bias}, {"mean", mean}, {"variance", variance}});
}

void batch_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& bias,
                         const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                         const Array& grad_bias, double /*eps*/, bool /*relu*/) {
  constexpr const char* op = "batch_norm_backward";
  check_batch_norm(op, {"grad_out", grad_out}, x,
                   {{"weight", weight},
                    {"bias", bias},
                    {"mean", mean},
                    {"variance", variance},
                    {"grad_weight", grad_weight},
                    {"grad_bias", grad_bias}});
  check_like(op, {"grad_x", grad_x}, {"x", x});
  check_any_rows(op, x);
}

void layer_norm(const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,
                const Array& variance, double /*eps*/) {
  constexpr const char* op = "layer_norm";
  check_rows(op, x);
  check_like(op, {"out", out}, {"x", x});
  check_parameter(op, {"weight", weight}, x);
  check_parameter(op, {"bias", bias}, x);
  check_not_empty_rows(op, {"x", x});
  check_row_statistics(op, {"mean", mean}, x);
  check_row_statistics(op, {"variance", variance}, x);
}

void layer_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& mean,
                         const Array& variance, const Array& grad_x, const Array& grad_weight, const Array& grad_bias,
                         double /*eps*/) {
  constexpr const char* op = "layer_norm_backward";
  check_rows(op, x);
  check_like(op, {"grad_out", grad_out}, {"x", x});
  check_like(op, {"grad_x", grad_x}, {"x", x});
  for (NamedArray parameter : {NamedArray{"weight", weight}, {"grad_weight", grad_weight}, {"grad_bias", grad_bias}})
    check_parameter(op, parameter, x);
  check_not_empty_rows(op, {"x", x});
  check_row_statistics(op, {"mean", mean}, x);
  check_row_statistics(op, {"variance", variance}, x);
}

// Softmax

namespace {

void check_classes(const char* op, NamedArray x) {
  check_floating(op, x);
  check_not_empty_rows(op, x);
}

void check_cross_entropy(const char* op, const Array& logits, const Array& labels, NamedArray loss) {
  check_floating(op, {"logits", logits});
  check_ndim(op, {"logits", logits}, 2);
  check_classes(op, {"logits", logits});
  check_index_dtype(op, {"labels", labels});
  check_vector(op, {"labels", labels}, logits.shape[0]);
  check_same_dtype(op, loss, {"logits", logits});
  check_vector(op, loss, logits.shape[0]);
}

}  // namespace

void softmax(const Array& x, const Array& out) {
  check_classes("softmax", {"x", x});
  check_like("softmax", {"out", out}, {"x", x});
}

void log_softmax(const Array& x, const Array& out) {
  check_classes("log_softmax", {"x", x});
  check_like("log_softmax", {"out", out}, {"x", x});
}

void logsumexp(const Array& x, const Array& out) {
  check_classes("logsumexp", {"x", x});
  check_same_dtype("logsumexp", {"out", out}, {"x", x});
  check_leading_shape("logsumexp", {"out", out}, {"x", x});
}

void softmax_cross_entropy(const Array& logits, const Array& labels, const Array& loss) {
  check_cross_entropy("softmax_cross_entropy", logits, labels, {"loss", loss});
}

void softmax_cross_entropy_backward(const Array& logits, const Array& labels, const Array& grad_loss,
                                    const Array& grad_logits) {
  constexpr const char* op = "softmax_cross_entropy_backward";
  check_cross_entropy(op, logits, labels, {"grad_loss", grad_loss});
  check_like(op, {"grad_logits", grad_logits}, {"logits", logits});
}

}  // namespace needle::check
