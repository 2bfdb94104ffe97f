// Reductions over any set of axes.
//
// The axes fall into kept ones and reduced ones, each with a plan of its own. Where a reduced axis lies innermost in memory,
// consecutive elements fold into one result ("runs"); where a kept axis does, up to kChunk neighbouring results grow
// together, row by row ("columns"). A long reduction is cut into blocks of a fixed size whose partial results are combined
// in order, so that the bits of a result depend neither on timing nor on the number of threads.
#include "kernels/cpu/fold.h"
#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kBlock = 65536;       // elements that one task reduces, about
constexpr int64_t kLongest = 1 << 30;    // positions that a task reduces, at most
constexpr int64_t kEnoughTasks = 256;  // for any machine; a reduction with more is not cut into blocks

// The place of the first largest (or smallest) element, or of the first NaN.
template <class Extremum>
struct Arg {
  using Value = typename Extremum::Value;
  struct Partial {
    Value value;
    int64_t index;  // -1 before the first element
  };
  static bool replaces(Value later, Value earlier) {
    return Extremum::is_better(later, earlier) | ((later != later) & (earlier == earlier));
  }
};

// Partial results: how they begin, join (`right` comes after `left`) and end.
template <class T, template <class> class Operation>
typename Operation<T>::Partial begin_partial(Operation<T>) { return Operation<T>::identity(); }
template <class Extremum>
typename Arg<Extremum>::Partial begin_partial(Arg<Extremum>) { return {Extremum::identity(), -1}; }

template <class T, template <class> class Operation>
void join(Operation<T>, typename Operation<T>::Partial& left, const typename Operation<T>::Partial& right) {
  Operation<typename Operation<T>::Partial>::step(left, right);
}
template <class Extremum>
void join(Arg<Extremum>, typename Arg<Extremum>::Partial& left, const typename Arg<Extremum>::Partial& right) {
  if (left.index < 0 || (right.index >= 0 && Arg<Extremum>::replaces(right.value, left.value))) left = right;
}

// Folds n <= kRun consecutive values, the first of which is element number `index`.
template <class T, template <class> class Operation>
void fold_run(Operation<T> op, typename Operation<T>::Partial& partial, int64_t n, const T* a, int64_t) {
  join(op, partial, fold<Operation<T>>(n, a));
}
template <class Extremum>
void fold_run(Arg<Extremum>, typename Arg<Extremum>::Partial& partial, int64_t n,
              const typename Extremum::Value* a, int64_t index) {
  const auto best = fold<Extremum>(n, a);
  if (partial.index >= 0 && !Arg<Extremum>::replaces(best, partial.value)) return;
  int64_t i = 0;
  while (i < n - 1 && (best == best ? a[i] != best : a[i] == a[i])) ++i;
  partial = {best, index + i};
}

// Up to kChunk columns that grow by a row at a time.
template <class Operation> class Columns;

template <class T, template <class> class Operation>
class Columns<Operation<T>> {
 public:
  using Partial = typename Operation<T>::Partial;
  explicit Columns(int64_t n) : n_(n) {
    for (int64_t j = 0; j < n; ++j) values_[j] = Operation<T>::identity();
    if constexpr (kLonger)
      for (int64_t j = 0; j < n; ++j) longer_[j] = 0;
  }
  void add_row(const T* a, int64_t) {
    for (int64_t j = 0; j < n_; ++j) Operation<T>::step(values_[j], a[j]);
    count_rows(1);
  }
  // Four rows that are `step` elements apart; sums take them in one pass over the columns.
  void add_four_rows(const T* a, int64_t step, int64_t index) {
    if constexpr (std::is_same_v<Operation<T>, Add<T>>) {
      for (int64_t j = 0; j < n_; ++j)
        values_[j] += (a[j] + a[j + step]) + (a[j + 2 * step] + a[j + 3 * step]);
      count_rows(4);
    } else {
      for (int row = 0; row < 4; ++row) add_row(a + row * step, index + row);
    }
  }
  void finish(Partial* results) {
    if constexpr (kLonger) {
      lengthen();
      for (int64_t j = 0; j < n_; ++j) results[j] = longer_[j];
    } else {
      for (int64_t j = 0; j < n_; ++j) results[j] = values_[j];
    }
  }

 private:
  static constexpr bool kLonger = !std::is_same_v<T, Partial>;  // float32 sums, which go on in float64
  void count_rows(int count) {
    rows_ += count;
    if (kLonger && rows_ >= kShortSum) lengthen();
  }
  void lengthen() {
    rows_ = 0;
    for (int64_t j = 0; j < n_; ++j) {
      longer_[j] += values_[j];
      values_[j] = 0;
    }
  }
  const int64_t n_;
  int64_t rows_ = 0;
  T values_[kChunk];
  Partial longer_[kLonger ? kChunk : 1];
};

template <class Extremum>
class Columns<Arg<Extremum>> {
 public:
  using Partial = typename Arg<Extremum>::Partial;
  explicit Columns(int64_t n) : n_(n) {}
  void add_row(const typename Extremum::Value* a, int64_t index) {
    if (row_++ == 0) {
      first_ = index;
      for (int64_t j = 0; j < n_; ++j) values_[j] = a[j], rows_[j] = 0;
      return;
    }
    const int32_t row = static_cast<int32_t>(index - first_);
    for (int64_t j = 0; j < n_; ++j) {
      const auto value = a[j];
      const bool replace = Arg<Extremum>::replaces(value, values_[j]);
      values_[j] = replace ? value : values_[j];
      rows_[j] = replace ? row : rows_[j];
    }
  }
  void add_four_rows(const typename Extremum::Value* a, int64_t step, int64_t index) {
    for (int row = 0; row < 4; ++row) add_row(a + row * step, index + row);
  }
  void finish(Partial* results) {
    for (int64_t j = 0; j < n_; ++j) results[j] = {values_[j], first_ + rows_[j]};
  }

 private:
  const int64_t n_;
  int64_t row_ = 0, first_ = 0;
  typename Extremum::Value values_[kChunk];
  int32_t rows_[kChunk];  // from the first on; of 32 bits, for their comparisons to fill registers as float32 does
};

struct Job {
  Plan kept;     // of (a, out)
  Plan reduced;  // of (a)
  DType dtype;
  Load load;
};

// Reduces positions begin..end-1 of the reduced plan, for `count` results from position `first` of the kept plan on.
template <class Operation>
void reduce_runs(const Job& job, int64_t first, int64_t count, int64_t begin, int64_t end,
                 typename Operation::Partial* results) {
  alignas(64) std::byte chunk[kChunk * 8];
  const int64_t stride = job.reduced.stride[0][0];
  const int64_t longest = is_direct(job.dtype, stride) ? kRun : kChunk;
  Cursor kept(job.kept, first);
  for (int64_t k = 0; k < count; ++k, kept.advance(1)) {
    auto partial = begin_partial(Operation{});
    Cursor cursor(job.reduced, begin);
    for (int64_t position = begin; position < end;) {
      int64_t n = cursor.remaining() < end - position ? cursor.remaining() : end - position;
      if (n > longest) n = longest;
      const std::byte* from = kept.pointer(0) + (cursor.pointer(0) - job.reduced.data[0]);
      const auto* values = static_cast<const typename Operation::Value*>(job.load(n, from, stride, chunk));
      fold_run(Operation{}, partial, n, values, position);
      cursor.advance(n);
      position += n;
    }
    results[k] = partial;
  }
}

// The same for count <= kChunk results that lie in one row of the kept plan.
template <class Operation>
void reduce_columns(const Job& job, int64_t first, int64_t count, int64_t begin, int64_t end,
                    typename Operation::Partial* results) {
  alignas(64) std::byte chunk[kChunk * 8];
  using T = typename Operation::Value;
  const int64_t stride = job.kept.stride[0][0], step = job.reduced.stride[0][0];
  const std::byte* corner = Cursor(job.kept, first).pointer(0);
  Columns<Operation> columns(count);
  Cursor cursor(job.reduced, begin);
  for (int64_t position = begin; position < end;) {
    const int64_t n = cursor.remaining() < end - position ? cursor.remaining() : end - position;
    const std::byte* row = corner + (cursor.pointer(0) - job.reduced.data[0]);
    int64_t i = 0;
    if (is_direct(job.dtype, stride))
      for (; i + 4 <= n; i += 4, row += 4 * step)
        columns.add_four_rows(reinterpret_cast<const T*>(row), step / static_cast<int64_t>(sizeof(T)), position + i);
    for (; i < n; ++i, row += step)
      columns.add_row(static_cast<const T*>(job.load(count, row, stride, chunk)), position + i);
    cursor.advance(n);
    position += n;
  }
  columns.finish(results);
}

// Converts `count` <= kChunk results to out's type and stores them from position `first` of the kept plan on.
template <class Operation>
void store_results(const Job& job, Store store, int64_t first, int64_t count,
                   const typename Operation::Partial* results) {
  using Partial = typename Operation::Partial;
  constexpr bool is_arg = !std::is_arithmetic_v<Partial>;
  using Out = std::conditional_t<is_arg, int64_t, typename Operation::Value>;
  Out values[kChunk];
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (is_arg) values[i] = results[i].index;
    else values[i] = static_cast<Out>(results[i]);
  }
  Cursor cursor(job.kept, first);
  for (int64_t i = 0; i < count;) {
    const int64_t n = cursor.remaining() < count - i ? cursor.remaining() : count - i;
    store(n, values + i, cursor.pointer(1), job.kept.stride[1][0]);
    cursor.advance(n);
    i += n;
  }
}

template <class Operation>
void reduce(const Array& a, const Array& out, unsigned reduced_axes) {
  using Partial = typename Operation::Partial;
  const Array* arrays[] = {&a, &out};
  const Job job{Plan(arrays, 2, ~reduced_axes), Plan(arrays, 1, reduced_axes), a.dtype, load_for(a.dtype)};
  const Plan &kept = job.kept, &reduced = job.reduced;
  const Store store = store_for(out.dtype);
  if (kept.size == 0) return;

  // Columns, too, where runs would be very short and rows are not.
  const auto magnitude = [](int64_t x) { return x < 0 ? -x : x; };
  const bool columns = kept.extent[0] > 1 && (magnitude(kept.stride[0][0]) < magnitude(reduced.stride[0][0]) ||
                                              (reduced.extent[0] < 16 && kept.extent[0] > reduced.extent[0]));
  // A task makes `group` results (at most kChunk) out of `length` positions of the reduced plan.
  int64_t group, groups_per_row = 1, groups, length;
  if (columns) {
    group = kept.extent[0] < kChunk ? kept.extent[0] : kChunk;
    groups_per_row = (kept.extent[0] + group - 1) / group;
    groups = kept.size / kept.extent[0] * groups_per_row;
    length = kBlock / group;
  } else {
    group = reduced.size > 0 ? kBlock / reduced.size : kChunk;
    group = group < 1 ? 1 : group > kChunk ? kChunk : group;
    groups = (kept.size + group - 1) / group;
    length = kBlock;
  }
  if (groups >= kEnoughTasks) length = reduced.size < kLongest ? reduced.size : kLongest;
  const int64_t blocks = reduced.size > length ? (reduced.size + length - 1) / length : 1;
  const auto group_range = [&](int64_t g) -> Range {
    if (!columns) return {g * group, (g + 1) * group < kept.size ? (g + 1) * group : kept.size};
    const int64_t row = g / groups_per_row * kept.extent[0], column = g % groups_per_row * group;
    return {row + column, row + (column + group < kept.extent[0] ? column + group : kept.extent[0])};
  };

  Buffer partials(blocks > 1 ? blocks * kept.size * static_cast<int64_t>(sizeof(Partial)) : 0);
  Partial* block_results = reinterpret_cast<Partial*>(partials.data());
  const int64_t tasks = groups * blocks;
  parallel_for(tasks, parallel_parts(tasks, kept.size * reduced.size), [&](int, int64_t begin, int64_t end) {
    Partial results[kChunk];
    for (int64_t task = begin; task < end; ++task) {
      const Range range = group_range(task / blocks);
      const int64_t block = task % blocks, count = range.end - range.begin;
      const int64_t last = (block + 1) * length < reduced.size ? (block + 1) * length : reduced.size;
      Partial* to = blocks > 1 ? block_results + block * kept.size + range.begin : results;
      (columns ? reduce_columns<Operation> : reduce_runs<Operation>)(job, range.begin, count, block * length, last, to);
      if (blocks == 1) store_results<Operation>(job, store, range.begin, count, results);
    }
  });
  if (blocks == 1) return;
  parallel_for(groups, parallel_parts(groups, blocks * kept.size), [&](int, int64_t begin, int64_t end) {
    Partial results[kChunk];
    for (int64_t g = begin; g < end; ++g) {
      const Range range = group_range(g);
      const int64_t count = range.end - range.begin;
      for (int64_t i = 0; i < count; ++i) results[i] = block_results[range.begin + i];
      for (int64_t block = 1; block < blocks; ++block)
        for (int64_t i = 0; i < count; ++i) join(Operation{}, results[i], block_results[block * kept.size + range.begin + i]);
      store_results<Operation>(job, store, range.begin, count, results);
    }
  });
}

// The axes along which out has extent 1 and a has not.
unsigned reduced_axes(const char* op, const Array& a, const Array& out) {
  bool matches = a.ndim == out.ndim;
  unsigned axes = 0;
  for (int d = 0; matches && d < a.ndim; ++d) {
    if (a.shape[d] == out.shape[d]) continue;
    matches = out.shape[d] == 1;
    axes |= 1u << d;
  }
  if (!matches)
    throw_shape_error("%s: a has shape %s and out %s, expected extent 1 along reduced axes and equal extents elsewhere", op,
                      ShapeText(a).text, ShapeText(out).text);
  return axes;
}

// What has no result for no elements.
void check_not_empty(const char* op, const Array& a, const Array& out) {
  if (a.size() == 0 && out.size() != 0)
    throw_shape_error("%s: a has shape %s, expected at least one element along the reduced axes", op, ShapeText(a).text);
}

template <template <class> class Extremum>
void extremum(const char* op, const Array& a, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  const unsigned axes = reduced_axes(op, a, out);
  check_not_empty(op, a, out);
  dispatch(a.dtype, [&](auto zero) { reduce<Extremum<Stored<Compute<decltype(zero)>>>>(a, out, axes); });
}

template <template <class> class Extremum>
void arg_extremum(const char* op, const Array& a, const Array& out) {
  check_dtype(op, {"out", out}, DType::int64);
  const unsigned axes = reduced_axes(op, a, out);
  check_not_empty(op, a, out);
  if (axes & (axes - 1))
    throw_shape_error("%s: a has shape %s and out %s, expected one reduced axis", op, ShapeText(a).text, ShapeText(out).text);
  dispatch(a.dtype, [&](auto zero) { reduce<Arg<Extremum<Stored<Compute<decltype(zero)>>>>>(a, out, axes); });
}

}  // namespace

void sum(const Array& a, const Array& out) {
  check_not_bool("sum", {"a", a});
  check_same_dtype("sum", {"a", a}, {"out", out});
  const unsigned axes = reduced_axes("sum", a, out);
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (std::is_floating_point_v<T>)
      reduce<Add<T>>(a, out, axes);
    else if constexpr (!std::is_same_v<T, bool>)
      reduce<Add<std::make_unsigned_t<T>>>(a, out, axes);  // wraps around
  });
}

void max(const Array& a, const Array& out) { extremum<Max>("max", a, out); }
void min(const Array& a, const Array& out) { extremum<Min>("min", a, out); }
void argmax(const Array& a, const Array& out) { arg_extremum<Max>("argmax", a, out); }
void argmin(const Array& a, const Array& out) { arg_extremum<Min>("argmin", a, out); }

}  // namespace needle::cpu::NEEDLE_LEVEL
