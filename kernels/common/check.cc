#include "kernels/common/check.h"

#include <cstdarg>
#include <cstdio>

#include "kernels/common/error.h"

namespace needle {

static std::string format_message(const char* format, va_list arguments) {
  char text[1024];
  std::vsnprintf(text, sizeof text, format, arguments);
  return text;
}

void throw_shape_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string text = format_message(format, arguments);
  va_end(arguments);
  throw ShapeError(text);
}

void throw_dtype_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string text = format_message(format, arguments);
  va_end(arguments);
  throw DTypeError(text);
}

ShapeText::ShapeText(const Array& a) { std::snprintf(text, sizeof text, "%s", shape_string(a).c_str()); }

void check_dtype(const char* op, NamedArray a, DType expected) {
  if (a.array.dtype != expected)
    throw DTypeError(message(op, ": ", a.name, " is ", name(a.array.dtype), ", expected ", name(expected)));
}

void check_same_dtype(const char* op, NamedArray a, NamedArray b) {
  if (a.array.dtype != b.array.dtype)
    throw DTypeError(message(op, ": ", a.name, " is ", name(a.array.dtype), " and ", b.name, " is ",
                             name(b.array.dtype), ", expected one dtype"));
}

void check_floating(const char* op, NamedArray a) {
  if (!is_floating_dtype(a.array.dtype))
    throw DTypeError(message(op, ": ", a.name, " is ", name(a.array.dtype), ", expected a floating dtype"));
}

void check_not_bool(const char* op, NamedArray a) {
  if (a.array.dtype == DType::boolean) throw DTypeError(message(op, ": ", a.name, " is bool, expected a number"));
}

void check_index_dtype(const char* op, NamedArray a) {
  if (a.array.dtype != DType::int32 && a.array.dtype != DType::int64)
    throw DTypeError(message(op, ": ", a.name, " is ", name(a.array.dtype), ", expected int32 or int64"));
}

void check_ndim(const char* op, NamedArray a, int ndim) {
  if (a.array.ndim != ndim)
    throw ShapeError(message(op, ": ", a.name, " has shape ", shape_string(a.array), ", expected ", ndim,
                             ndim == 1 ? " dimension" : " dimensions"));
}

void check_same_shape(const char* op, NamedArray a, NamedArray b) {
  if (!same_shape(a.array, b.array))
    throw ShapeError(message(op, ": ", a.name, " has shape ", shape_string(a.array), " and ", b.name, " has shape ",
                             shape_string(b.array), ", expected one shape"));
}

void check_like(const char* op, NamedArray a, NamedArray b) {
  check_same_dtype(op, a, b);
  check_same_shape(op, a, b);
}

void check_vector(const char* op, NamedArray a, int64_t extent) {
  if (!a.array.has_shape({extent}))
    throw ShapeError(message(op, ": ", a.name, " has shape ", shape_string(a.array), ", expected (", extent, ",)"));
}

void check_broadcast(const char* op, NamedArray a, NamedArray out) {
  if (a.array.ndim != 0) check_same_shape(op, a, out);
}

void check_leading_shape(const char* op, NamedArray a, NamedArray x) {
  bool matches = a.array.ndim == x.array.ndim - 1;
  for (int d = 0; matches && d < a.array.ndim; ++d) matches = a.array.shape[d] == x.array.shape[d];
  if (!matches)
    throw ShapeError(message(op, ": ", a.name, " has shape ", shape_string(a.array), " and ", x.name, " has shape ",
                             shape_string(x.array), ", expected ", x.name, "'s leading axes"));
}

}  // namespace needle
