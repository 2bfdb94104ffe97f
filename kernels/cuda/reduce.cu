// Reductions over any set of axes.
//
// The axes are split into kept and reduced ones, with one plan for each set: `kept` of (a, out), whose positions are
// the results, and `reduced` of (a), whose positions are the elements of one result.
//   rows     If a reduced axis is innermost, 1 to 256 neighbouring threads share one result.
//   columns  If a kept axis is innermost, a thread computes a few neighbouring results, and neighbouring threads the
//            ones next to them; a block's threads are up to 32 columns wide, and its rows of threads share the reduced
//            positions.
// Both read memory in order, 16 bytes per thread if possible. If that gives too few threads to fill the device, the
// reduced positions are cut into parts, and a second kernel joins the parts of each result.
//
// Bound: reading `a` once. With four loads in flight per thread, expected is some 90% of the memory bandwidth from some
// 10 MB on; below that, launching the kernels takes longer.
#include <limits>

#include "kernels/common/sizes.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/lanes.h"

namespace needle::cuda {
namespace {

// The kinds of reduction. A thread starts with a Partial. It folds the values it loads, `kAtOnce` at a time, into a
// Run, and joins that to the Partial: for float32 sums, the few values of a Run are added in float32, and the Partial
// is float64.

template <class T, bool is_integer = !is_floating<T>>
struct SumTypes {
  using Run = Compute<T>;
  using Partial = double;
};
template <class T>
struct SumTypes<T, true> {
  using Run = std::make_unsigned_t<T>;
  using Partial = Run;
};  // wraps around

template <class T, class Out, bool squares>
struct SumOf {
  using Stored = T;
  using Run = typename SumTypes<T>::Run;
  using Partial = typename SumTypes<T>::Partial;
  using Result = Out;

  static __device__ Run begin_run() { return 0; }
  static __device__ Partial begin() { return 0; }
  static __device__ void add(Run& run, T value, int64_t /*position*/) {
    const Run number = static_cast<Run>(value);
    run = static_cast<Run>(run + (squares ? number * number : number));
  }
  static __device__ void join(Partial& left, Partial right) { left = static_cast<Partial>(left + right); }
  static __device__ Result result(Partial partial) {
    return static_cast<Result>(static_cast<std::conditional_t<sizeof(T) == 8, Partial, Run>>(partial));
  }
};
template <class T, class Out = T>
using Sum = SumOf<T, Out, false>;
template <class T>
using SumOfSquares = SumOf<T, Compute<T>, true>;

// The comparison of max and argmax: a later value replaces `earlier` if it is larger or NaN.
template <class Value>
__device__ bool replaces(Value later, Value earlier) {
  return (later > earlier) | ((later != later) & (earlier == earlier));
}

// The minimum is the maximum of the values in reverse order (negated, or complemented for integers), so that one kernel
// serves both.
template <class T>
struct Order {
  using Value = Compute<T>;
  bool smallest;

  static __host__ __device__ constexpr Value least() {
    return is_floating<T> ? -std::numeric_limits<Value>::infinity() : std::numeric_limits<Value>::lowest();
  }
  __device__ Value apply(Value value) const {
    if constexpr (is_floating<T>)
      return smallest ? -value : value;
    else
      return smallest ? static_cast<Value>(~value) : value;
  }
};

template <class T>
struct Extremum {
  using Stored = T;
  using Partial = Compute<T>;
  using Run = Partial;
  using Result = T;
  Order<T> order;

  static __device__ Run begin_run() { return Order<T>::least(); }
  static __device__ Partial begin() { return Order<T>::least(); }
  __device__ void add(Run& run, T value, int64_t /*position*/) const {
    join(run, order.apply(static_cast<Partial>(value)));
  }
  static __device__ void join(Partial& left, Partial right) {
    if (replaces(right, left)) left = right;
  }
  __device__ Result result(Partial partial) const { return static_cast<Result>(order.apply(partial)); }
};

template <class Value>
struct Place {
  Value value;
  int64_t position;  // -1 before the first element
};

template <class Value>
__device__ Place<Value> shuffle_xor(const Place<Value>& place, int bits) {
  return {cuda::shuffle_xor(place.value, bits), cuda::shuffle_xor(place.position, bits)};
}

// The index of the first largest element, or of the first NaN.
template <class T>
struct Arg {
  using Stored = T;
  using Partial = Place<Compute<T>>;
  using Run = Partial;
  using Result = int64_t;
  Order<T> order;

  static __device__ Run begin_run() { return begin(); }
  static __device__ Partial begin() { return {Order<T>::least(), -1}; }
  __device__ void add(Run& run, T value, int64_t position) const {
    const Compute<T> ordered = order.apply(static_cast<Compute<T>>(value));
    if (run.position < 0 || replaces(ordered, run.value)) run = {ordered, position};
  }
  static __device__ void join(Partial& left, const Partial& right) {
    if (right.position < 0) return;
    const bool equal = !replaces(right.value, left.value) && !replaces(left.value, right.value);
    if (left.position < 0 || (equal ? right.position < left.position : replaces(right.value, left.value))) left = right;
  }
  static __device__ Result result(const Partial& partial) { return partial.position; }
};

struct Job {
  uint32_t results;
  Strides<2> kept;  // of (a, out)
  Positions<1> reduced;
  const std::byte* a;
  std::byte* out;
  std::byte* partials;  // (results, parts), or null if there is only one part
  int64_t length;       // of a part
};

// Stores a result, or its partial result for part blockIdx.y.
template <class Kind>
__device__ void store(const Kind& kind, const Job& job, uint32_t result, int64_t out_offset,
                      const typename Kind::Partial& partial) {
  using Partial = typename Kind::Partial;
  if (job.partials)
    reinterpret_cast<Partial*>(job.partials)[int64_t{result} * gridDim.y + blockIdx.y] = partial;
  else
    *reinterpret_cast<typename Kind::Result*>(job.out + out_offset) = kind.result(partial);
}

constexpr int kAtOnce = 4;  // loads that a thread has in flight

// The pack at a position of the reduced plan. Packs of more than one value require a one-dimensional plan.
template <class T, int width, bool one_dimension = (width > 1)>
__device__ Pack<T, width> read_pack(const Positions<1>& reduced, const std::byte* from, int64_t position) {
  int64_t offset[1];
  if (one_dimension)
    reduced.step(position, offset);
  else
    reduced.locate(position, offset);
  return *reinterpret_cast<const Pack<T, width>*>(from + offset[0]);
}

// Loops over the packs at positions begin, begin + step, ...; body(packs, position, count) gets up to kAtOnce of them.
template <class T, int width, class Body>
__device__ void for_each_pack(const Positions<1>& reduced, const std::byte* from, int64_t begin, int64_t end,
                              int64_t step, const Body& body) {
  Pack<T, width> packs[kAtOnce];
  int64_t p = begin;
  for (; p + (kAtOnce - 1) * step < end; p += kAtOnce * step) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) packs[i] = read_pack<T, width>(reduced, from, p + i * step);
    body(packs, p, kAtOnce);
  }
#pragma unroll 1
  for (; p < end; p += step) {
    packs[0] = read_pack<T, width>(reduced, from, p);
    body(packs, p, 1);
  }
}

// `lanes` threads compute a result. Packs of more than one value lie along the only reduced dimension.
template <class Kind, int width>
__global__ void __launch_bounds__(kThreads) rows_kernel(Kind kind, Job job, int lanes) {
  using T = typename Kind::Stored;
  const uint32_t result = blockIdx.x * (kThreads / lanes) + threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  typename Kind::Partial partial = Kind::begin();
  int64_t offset[2] = {0, 0};
  if (result < job.results) {
    job.kept.locate(result, offset);
    const std::byte* from = job.a + offset[0];
    const int64_t begin = blockIdx.y * job.length, end = std::min(begin + job.length, job.reduced.size);
    const int64_t whole = begin + (end - begin) / width * width;
    for_each_pack<T, width>(job.reduced, from, begin + lane * width, whole, int64_t{lanes} * width,
                            [&](const Pack<T, width>* packs, int64_t position, int count) {
                              typename Kind::Run run = Kind::begin_run();
#pragma unroll
                              for (int i = 0; i < kAtOnce; ++i)
                                if (i < count)
                                  for (int j = 0; j < width; ++j)
                                    kind.add(run, packs[i].values[j], position + i * int64_t{lanes} * width + j);
                              Kind::join(partial, run);
                            });
    typename Kind::Run run = Kind::begin_run();
#pragma unroll 1
    for (int64_t p = whole + lane; p < end; p += lanes)
      kind.add(run, read_pack<T, 1, (width > 1)>(job.reduced, from, p).values[0], p);
    Kind::join(partial, run);
  }
  partial = join_lanes(partial, lanes, Kind::join);
  if (result < job.results && lane == 0) store(kind, job, result, offset[1], partial);
}

// Each thread computes `width` results; `columns` threads cover neighbouring results. Packs of more than one value lie
// along the innermost kept dimension.
template <class Kind, int width>
__global__ void __launch_bounds__(kThreads) columns_kernel(Kind kind, Job job, int columns) {
  using T = typename Kind::Stored;
  using Partial = typename Kind::Partial;
  const int column = threadIdx.x % columns, row = threadIdx.x / columns, rows = kThreads / columns;
  const int64_t result = (int64_t{blockIdx.x} * columns + column) * width;
  Partial partial[width];
  for (int j = 0; j < width; ++j) partial[j] = Kind::begin();
  int64_t offset[2] = {0, 0};
  if (result < job.results) {
    job.kept.locate(static_cast<uint32_t>(result), offset);
    const int64_t begin = blockIdx.y * job.length, end = std::min(begin + job.length, job.reduced.size);
    for_each_pack<T, width>(job.reduced, job.a + offset[0], begin + row, end, rows,
                            [&](const Pack<T, width>* packs, int64_t position, int count) {
                              for (int j = 0; j < width; ++j) {
                                typename Kind::Run run = Kind::begin_run();
#pragma unroll
                                for (int i = 0; i < kAtOnce; ++i)
                                  if (i < count) kind.add(run, packs[i].values[j], position + i * int64_t{rows});
                                Kind::join(partial[j], run);
                              }
                            });
  }
  __shared__ Partial shared[width][kThreads];
  for (int j = 0; j < width; ++j) shared[j][threadIdx.x] = partial[j];
  for (int half = rows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (row >= half) continue;
    for (int j = 0; j < width; ++j) {
      Kind::join(partial[j], shared[j][threadIdx.x + half * columns]);
      shared[j][threadIdx.x] = partial[j];
    }
  }
  if (row == 0 && result < job.results)
    for (int j = 0; j < width; ++j)
      store(kind, job, static_cast<uint32_t>(result + j), offset[1] + j * job.kept.stride[1][0], partial[j]);
}

// Joins the parts of each result.
template <class Kind>
__global__ void __launch_bounds__(kThreads) join_kernel(Kind kind, Job job, int64_t parts, int lanes) {
  using Partial = typename Kind::Partial;
  const uint32_t result = blockIdx.x * (kThreads / lanes) + threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  Partial partial = Kind::begin();
  if (result < job.results)
    for (int64_t part = lane; part < parts; part += lanes)
      Kind::join(partial, reinterpret_cast<const Partial*>(job.partials)[result * parts + part]);
  partial = join_lanes(partial, lanes, Kind::join);
  if (result >= job.results || lane > 0) return;
  int64_t offset[2];
  job.kept.locate(result, offset);
  *reinterpret_cast<typename Kind::Result*>(job.out + offset[1]) = kind.result(partial);
}

// Whether packs of `nbytes` can be read along dimension 0 of `inner`, that is, are contiguous and aligned.
bool is_packed(const Plan& inner, const Plan& other, int64_t itemsize, int64_t nbytes) {
  bool packed = inner.stride[0][0] == itemsize && reinterpret_cast<uintptr_t>(inner.data[0]) % nbytes == 0;
  for (int d = 1; d < inner.ndim; ++d) packed &= inner.stride[0][d] % nbytes == 0;
  for (int d = 0; d < other.ndim; ++d) packed &= other.extent[d] <= 1 || other.stride[0][d] % nbytes == 0;
  return packed;
}

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the work is divided among the threads.
struct Shares {
  int64_t width;  // values in a pack
  int64_t side;   // neighbouring threads that share a result, or the columns of a block
  int64_t each;   // results per block
  int64_t step;   // reduced positions that a block processes at once
};

template <class Kind>
void reduce_part(const Kind& kind, const Plan& kept, const Plan& reduced) {
  using T = typename Kind::Stored;
  constexpr int row_width = 16 / sizeof(T), column_width = std::min(row_width, 4);
  const int64_t results = kept.size, n = std::max<int64_t>(reduced.size, 1);
  const bool columns_are_closer = std::abs(kept.stride[0][0]) < std::abs(reduced.stride[0][0]);
  const bool rows_are_short = reduced.ndim > 1 && reduced.extent[0] < 8 && kept.extent[0] > reduced.extent[0];

  void (*kernel)(Kind, Job, int);
  Shares shares;
  if (kept.extent[0] > 1 && (columns_are_closer || rows_are_short)) {
    const bool packed = reduced.ndim == 1 && kept.extent[0] % column_width == 0 &&
                        is_packed(kept, reduced, sizeof(T), column_width * sizeof(T));
    kernel = packed ? columns_kernel<Kind, column_width> : columns_kernel<Kind, 1>;
    const int64_t width = packed ? column_width : 1;
    const int64_t columns = std::min<int64_t>(power_of_two(ceil_divide(results, width)), kWarp);
    shares = {1, columns, columns * width, kThreads / columns};
  } else {
    const bool packed = reduced.ndim == 1 && is_packed(reduced, kept, sizeof(T), 16);
    kernel = packed ? rows_kernel<Kind, row_width> : rows_kernel<Kind, 1>;
    const int64_t width = packed ? row_width : 1, packs = ceil_divide(n, width);
    const int64_t lanes = std::max(std::min<int64_t>(power_of_two(packs), kWarp),
                                   std::min<int64_t>(power_of_two(ceil_divide(packs, kAtOnce)), kThreads));
    shares = {width, lanes, kThreads / lanes, lanes * width};
  }

  const int64_t blocks = ceil_divide(results, shares.each), enough = int64_t{device().multiprocessors} * 8;
  // shorter parts would cost more to join than they gain
  const int64_t most = std::min<int64_t>(n / (shares.step * 2 * kAtOnce), 65535);
  int64_t parts = std::max<int64_t>(std::min(ceil_divide(enough, blocks), most), 1);
  const int64_t length = ceil_divide(ceil_divide(n, parts), shares.width) * shares.width;
  parts = ceil_divide(n, length);
  Job job{static_cast<uint32_t>(results),
          Strides<2>(kept),
          Positions<1>(reduced),
          kept.data[0],
          kept.data[1],
          nullptr,
          length};
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(parts));
  const int side = static_cast<int>(shares.side);
  if (parts == 1) return launch(kernel, grid, kThreads, kind, job, side);
  const Buffer partials(saturated_product(results, parts, sizeof(typename Kind::Partial)), *device().pool);
  job.partials = partials.data();
  launch(kernel, grid, kThreads, kind, job, side);
  const int lanes = static_cast<int>(std::min<int64_t>(power_of_two(parts), kThreads));
  launch(join_kernel<Kind>, static_cast<unsigned>(ceil_divide(results * lanes, kThreads)), kThreads, kind, job, parts,
         lanes);
}

template <class Kind>
void reduce(const Kind& kind, const Array& a, const Array& out, unsigned reduced_axes) {
  const Array* arrays[] = {&a, &out};
  const Plan kept(arrays, 2, ~reduced_axes), reduced(arrays, 1, reduced_axes);
  if (kept.size > 0) for_each_part(kept, [&](const Plan& part) { reduce_part(kind, part, reduced); });
}

// Calls function(T{}) for the type in which a dtype's values are compared.
template <class Function>
void dispatch_ordered(DType dtype, const Function& function) {
  dispatch(dtype == DType::boolean ? DType::uint8 : dtype, [&](auto zero) {
    if constexpr (!std::is_same_v<decltype(zero), bool>) function(zero);
  });
}

void extremum(const Array& a, const Array& out, bool smallest) {
  const unsigned axes = reduced_axes(a, out);
  dispatch_ordered(a.dtype, [&](auto zero) { reduce(Extremum<decltype(zero)>{{smallest}}, a, out, axes); });
}

void arg_extremum(const Array& a, const Array& out, bool smallest) {
  const unsigned axes = reduced_axes(a, out);
  dispatch_ordered(a.dtype, [&](auto zero) { reduce(Arg<decltype(zero)>{{smallest}}, a, out, axes); });
}

}  // namespace

void sum(const Array& a, const Array& out) {
  const bool is_widened = is_half_dtype(a.dtype) && out.dtype == DType::float32;
  const unsigned axes = reduced_axes(a, out);
  dispatch(a.dtype == DType::int8 ? DType::uint8 : a.dtype, [&](auto zero) {  // the same bits
    using T = decltype(zero);
    if constexpr (is_floating<T> && sizeof(T) == 2) {
      if (is_widened) return reduce(Sum<T, float>{}, a, out, axes);
    }
    if constexpr (!std::is_same_v<T, bool> && !std::is_same_v<T, int8_t>) reduce(Sum<T>{}, a, out, axes);
  });
}

void sum_of_squares(const Array& a, const Array& out) {
  const unsigned axes = reduced_axes(a, out);
  dispatch_floating(a.dtype, [&](auto zero) { reduce(SumOfSquares<decltype(zero)>{}, a, out, axes); });
}

void max(const Array& a, const Array& out) { extremum(a, out, false); }
void min(const Array& a, const Array& out) { extremum(a, out, true); }
void argmax(const Array& a, const Array& out) { arg_extremum(a, out, false); }
void argmin(const Array& a, const Array& out) { arg_extremum(a, out, true); }

}  // namespace needle::cuda
