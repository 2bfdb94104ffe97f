// Argument checks of the kernels, which also build all their error messages.
//
// A kernel file is compiled once per instruction level. Code that its hot loops do not need, standard library templates
// in particular, is compiled only once if it lives here.
#pragma once

#include "kernels/common/array.h"

namespace needle {

// These take a printf format: throw_shape_error("conv2d: stride %ld, expected 1 or more", stride).
[[noreturn, gnu::format(printf, 1, 2)]] void throw_shape_error(const char* format, ...);
[[noreturn, gnu::format(printf, 1, 2)]] void throw_dtype_error(const char* format, ...);

// A shape as a C string, for the two functions above: "(2, 3)".
struct ShapeText {
  char text[200];
  explicit ShapeText(const Array& a);
};

// An operand and the name that error messages use for it.
struct NamedArray {
  const char* name;
  const Array& array;
};

void check_dtype(const char* op, NamedArray a, DType expected);
void check_same_dtype(const char* op, NamedArray a, NamedArray b);
void check_floating(const char* op, NamedArray a);
void check_not_bool(const char* op, NamedArray a);
void check_index_dtype(const char* op, NamedArray a);  // int32 or int64

void check_ndim(const char* op, NamedArray a, int ndim);
void check_same_shape(const char* op, NamedArray a, NamedArray b);
// `a` has the dtype and the shape of `b`.
void check_like(const char* op, NamedArray a, NamedArray b);
// `a` has the shape (extent,).
void check_vector(const char* op, NamedArray a, int64_t extent);
// `a` has the shape of `out`, or is 0-d and broadcast.
void check_broadcast(const char* op, NamedArray a, NamedArray out);
// `a` has the shape of `x` without its last axis.
void check_leading_shape(const char* op, NamedArray a, NamedArray x);

}  // namespace needle
