// Reductions over any set of axes.
//
// The axes are split into kept and reduced ones, with one plan for each set. If a reduced axis is innermost in memory,
// consecutive elements fold into one result ("runs"). If a kept axis is innermost, up to kChunk neighbouring results
// are accumulated together, row by row ("columns"). A long reduction is cut into blocks of a fixed size whose partial
// results are joined in order, so that results are bitwise independent of timing and of the number of threads.
#include "kernels/cpu/reduce.h"

#include "kernels/common/sizes.h"
#include "kernels/cpu/fold.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kBlock = 65536;        // approximate number of elements that one task reduces
constexpr int64_t kEnoughTasks = 256;    // enough for any machine; a reduction with as many is not cut into blocks
constexpr int64_t kLongest = 1 << 30;    // most positions that one task reduces
constexpr int64_t kLargestPartial = 16;  // bytes
constexpr int64_t kMostComputed = kRun > 4 * kChunk ? kRun : 4 * kChunk;  // elements at a time

// Sums, maxima and minima: the Operations of fold.h. Values fold into a Partial, which is converted to the result.
template <class Operation>
struct Fold {
  using Value = typename Operation::Value;
  using Partial = std::conditional_t<std::is_same_v<Operation, Add<Value>>, Longer<Value>, Value>;
  using Result = Value;
  static constexpr bool kIsLonger = !std::is_same_v<Partial, Value>;  // float32 sums

  static Partial begin() { return Operation::identity(); }
  static Result result(Partial partial) { return static_cast<Result>(partial); }

  static void join(Partial& left, Partial right) {
    if constexpr (std::is_same_v<Operation, Add<Value>>)
      left += right;
    else
      Operation::step(left, right);
  }

  // Folds n <= kRun consecutive values; `index` is the position of the first.
  static void fold_run(Partial& partial, int64_t n, const Value* a, int64_t /*index*/) {
    join(partial, fold<Operation>(n, a));
  }

  // Up to kChunk partial results, accumulated one row at a time.
  class Columns {
   public:
    explicit Columns(int64_t n) : n_(n) {
      for (int64_t j = 0; j < n; ++j) values_[j] = Operation::identity();
      for (int64_t j = 0; j < n; ++j) partials_[j] = Operation::identity();
    }
    void add_row(const Value* a, int64_t /*index*/) {
      for (int64_t j = 0; j < n_; ++j) Operation::step(values_[j], a[j]);
      count_rows(1);
    }
    // Four rows that are `step` elements apart, in one pass over the columns.
    void add_four_rows(const Value* a, int64_t step, int64_t /*index*/) {
      if constexpr (std::is_same_v<Operation, Add<Value>>) {
        for (int64_t j = 0; j < n_; ++j) values_[j] += (a[j] + a[j + step]) + (a[j + 2 * step] + a[j + 3 * step]);
        count_rows(4);
      } else {
        for (int64_t j = 0; j < n_; ++j) {
          Value value = values_[j];
          Operation::step(value, a[j]);
          Operation::step(value, a[j + step]);
          Operation::step(value, a[j + 2 * step]);
          Operation::step(value, a[j + 3 * step]);
          values_[j] = value;
        }
      }
    }
    void finish(Partial* results) {
      lengthen();
      std::memcpy(results, partials_, n_ * sizeof(Partial));
    }

   private:
    void count_rows(int count) {
      rows_ += count;
      if (kIsLonger && rows_ >= kShortSum) lengthen();
    }
    void lengthen() {
      rows_ = 0;
      for (int64_t j = 0; j < n_; ++j) {
        join(partials_[j], values_[j]);
        values_[j] = Operation::identity();
      }
    }
    const int64_t n_;
    int64_t rows_ = 0;
    Value values_[kChunk];
    Partial partials_[kChunk];
  };
};

// The sum of squares: a sum of values that are squared first.
template <class T>
struct FoldSquares : Fold<Add<T>> {
  using Sum = Fold<Add<T>>;

  static void fold_run(typename Sum::Partial& partial, int64_t n, const T* a, int64_t /*index*/) {
    partial += fold<Add<T>>(
        n, [a](int64_t i) { return a[i] * a[i]; },
        [a](int64_t i, Vector<T>& to) {
          std::memcpy(&to, a + i, sizeof to);
          to *= to;
        });
  }

  class Columns : public Sum::Columns {
   public:
    explicit Columns(int64_t n) : Sum::Columns(n), n_(n) {}
    void add_row(const T* a, int64_t index) {
      T squares[kChunk];
      for (int64_t j = 0; j < n_; ++j) squares[j] = a[j] * a[j];
      Sum::Columns::add_row(squares, index);
    }
    void add_four_rows(const T* a, int64_t step, int64_t index) {
      for (int row = 0; row < 4; ++row) add_row(a + row * step, index + row);
    }

   private:
    const int64_t n_;
  };
};

// The index of the first largest (or smallest) element, or of the first NaN.
template <class Extremum>
struct Arg {
  using Value = typename Extremum::Value;
  struct Partial {
    Value value;
    int64_t index;  // -1 before the first element
  };
  using Result = int64_t;

  static Partial begin() { return {Extremum::identity(), -1}; }
  static Result result(const Partial& partial) { return partial.index; }

  static bool replaces(Value later, Value earlier) {
    return Extremum::is_better(later, earlier) | ((later != later) & (earlier == earlier));
  }

  static void join(Partial& left, const Partial& right) {
    if (left.index < 0 || (right.index >= 0 && replaces(right.value, left.value))) left = right;
  }

  static void fold_run(Partial& partial, int64_t n, const Value* a, int64_t index) {
    const Value best = fold<Extremum>(n, a);
    if (partial.index >= 0 && !replaces(best, partial.value)) return;
    int64_t i = 0;
    while (i < n - 1 && (best == best ? a[i] != best : a[i] == a[i])) ++i;
    partial = {best, index + i};
  }

  class Columns {
   public:
    explicit Columns(int64_t n) : n_(n) {}
    void add_row(const Value* a, int64_t index) {
      if (first_ < 0) {
        first_ = index;
        for (int64_t j = 0; j < n_; ++j) values_[j] = a[j], rows_[j] = 0;
        return;
      }
      const int32_t row = static_cast<int32_t>(index - first_);
      for (int64_t j = 0; j < n_; ++j) {
        const Value value = a[j];
        const bool replace = replaces(value, values_[j]);
        values_[j] = replace ? value : values_[j];
        rows_[j] = replace ? row : rows_[j];
      }
    }
    void add_four_rows(const Value* a, int64_t step, int64_t index) {
      for (int row = 0; row < 4; ++row) add_row(a + row * step, index + row);
    }
    void finish(Partial* results) {
      for (int64_t j = 0; j < n_; ++j) results[j] = {values_[j], first_ + rows_[j]};
    }

   private:
    const int64_t n_;
    int64_t first_ = -1;
    Value values_[kChunk];
    int32_t rows_[kChunk];  // relative to first_; 32 bits, so that selecting them vectorizes like float32
  };
};

struct Job {
  Plan kept;     // of (a, out)
  Plan reduced;  // of (a)
  DType dtype;
  Load load;
  Store store;
  const Computed* computed = nullptr;  // instead of elements in memory
};

// Reduces some positions of the reduced plan, for the results at positions kept.begin..kept.end-1 of the kept plan.
template <class Kind>
void reduce_runs(const Job& job, Range kept, Range reduced, void* partials) {
  alignas(64) std::byte chunk[kChunk * 8], computed[kMostComputed * 8];
  auto* partial = static_cast<typename Kind::Partial*>(partials);
  const int64_t stride = job.reduced.stride[0][0];
  const int64_t longest = is_direct(job.dtype, stride) ? kRun : kChunk;
  // Several short runs that follow each other in memory are computed at once.
  const int64_t size = reduced.end - reduced.begin;
  const bool are_adjacent = job.reduced.ndim == 1 && size <= longest && job.kept.stride[0][0] == size * stride;
  int64_t runs_ready = 0;
  const std::byte* ready = nullptr;
  Cursor result(job.kept, kept.begin);
  for (int64_t k = kept.begin; k < kept.end; ++k, ++partial, result.advance(1)) {
    *partial = Kind::begin();
    Cursor cursor(job.reduced, reduced.begin);
    for (int64_t position = reduced.begin; position < reduced.end;) {
      int64_t n = cursor.remaining() < reduced.end - position ? cursor.remaining() : reduced.end - position;
      if (n > longest) n = longest;
      const std::byte* from = result.pointer(0) + (cursor.pointer(0) - job.reduced.data[0]);
      if (job.computed && runs_ready == 0) {
        const int64_t rows = result.remaining() < kept.end - k ? result.remaining() : kept.end - k;
        runs_ready = are_adjacent && n == size ? (kMostComputed / n < rows ? kMostComputed / n : rows) : 1;
        ready = job.computed->run((from - job.kept.data[0]) / stride, runs_ready * n, stride, computed);
      }
      if (job.computed) {
        from = ready;
        ready += n * stride;
        --runs_ready;
      }
      const void* values = job.load(n, from, stride, chunk);
      Kind::fold_run(*partial, n, static_cast<const typename Kind::Value*>(values), position);
      cursor.advance(n);
      position += n;
    }
  }
}

// Like reduce_runs, for at most kChunk results that lie in one row of the kept plan.
template <class Kind>
void reduce_columns(const Job& job, Range kept, Range reduced, void* partials) {
  using Value = typename Kind::Value;
  alignas(64) std::byte chunk[kChunk * 8], computed[kMostComputed * 8];
  const int64_t stride = job.kept.stride[0][0], step = job.reduced.stride[0][0], count = kept.end - kept.begin;
  const bool are_adjacent = step == count * stride;  // the rows
  const int64_t rows_computed = are_adjacent ? kMostComputed / count / 4 * 4 : 4;
  const std::byte* corner = Cursor(job.kept, kept.begin).pointer(0);
  typename Kind::Columns columns(count);
  Cursor cursor(job.reduced, reduced.begin);
  for (int64_t position = reduced.begin; position < reduced.end;) {
    const int64_t n = cursor.remaining() < reduced.end - position ? cursor.remaining() : reduced.end - position;
    const std::byte* row = corner + (cursor.pointer(0) - job.reduced.data[0]);
    for (int64_t i = 0, rows = n; i < n; i += rows, row += rows * step) {
      const std::byte* from = row;
      int64_t from_step = step;
      if (job.computed) {
        rows = n - i < rows_computed ? n - i : rows_computed;
        const int64_t first = (row - job.kept.data[0]) / stride;
        if (are_adjacent) {
          from = job.computed->run(first, rows * count, stride, computed);
        } else {
          from = job.computed->run(first, count, stride, computed);
          for (int64_t r = 1; r < rows; ++r)
            job.computed->run(first + r * step / stride, count, stride, computed + r * count * stride);
          if (!job.computed->memory) from_step = count * stride;
        }
      }
      int64_t r = 0;
      if (is_direct(job.dtype, stride))
        for (; r + 4 <= rows; r += 4)
          columns.add_four_rows(reinterpret_cast<const Value*>(from + r * from_step),
                                from_step / static_cast<int64_t>(sizeof(Value)), position + i + r);
      for (; r < rows; ++r)
        columns.add_row(static_cast<const Value*>(job.load(count, from + r * from_step, stride, chunk)),
                        position + i + r);
    }
    cursor.advance(n);
    position += n;
  }
  columns.finish(static_cast<typename Kind::Partial*>(partials));
}

template <class Kind>
void join_partials(int64_t n, void* left, const void* right) {
  using Partial = typename Kind::Partial;
  for (int64_t i = 0; i < n; ++i) Kind::join(static_cast<Partial*>(left)[i], static_cast<const Partial*>(right)[i]);
}

// Stores the results of at most kChunk partials.
template <class Kind>
void store_results(const Job& job, Range kept, const void* partials) {
  typename Kind::Result values[kChunk];
  for (int64_t i = 0; i < kept.end - kept.begin; ++i)
    values[i] = Kind::result(static_cast<const typename Kind::Partial*>(partials)[i]);
  Cursor cursor(job.kept, kept.begin);
  for (int64_t k = kept.begin; k < kept.end;) {
    const int64_t n = cursor.remaining() < kept.end - k ? cursor.remaining() : kept.end - k;
    job.store(n, values + (k - kept.begin), cursor.pointer(1), job.kept.stride[1][0]);
    cursor.advance(n);
    k += n;
  }
}

// The functions that depend on the operation and the type.
struct Functions {
  int64_t partial_size;
  void (*runs)(const Job& job, Range kept, Range reduced, void* partials);
  void (*columns)(const Job& job, Range kept, Range reduced, void* partials);
  void (*join)(int64_t n, void* left, const void* right);
  void (*store)(const Job& job, Range kept, const void* partials);
};

template <class Kind>
Functions functions() {
  static_assert(sizeof(typename Kind::Partial) <= kLargestPartial);
  return {sizeof(typename Kind::Partial), reduce_runs<Kind>, reduce_columns<Kind>, join_partials<Kind>,
          store_results<Kind>};
}

// Divides the work into tasks: each computes a group of at most kChunk results from a block of the reduced positions.
class Tasks {
 public:
  Tasks(const Plan& kept, const Plan& reduced) : kept_(kept), reduced_(reduced) {
    const auto magnitude = [](int64_t x) { return x < 0 ? -x : x; };
    const bool columns_are_closer = magnitude(kept.stride[0][0]) < magnitude(reduced.stride[0][0]);
    const bool runs_are_short = reduced.extent[0] < 16 && kept.extent[0] > reduced.extent[0];
    by_columns = kept.extent[0] > 1 && (columns_are_closer || runs_are_short);
    if (by_columns) {
      width_ = kept.extent[0] < kChunk ? kept.extent[0] : kChunk;
      groups_per_row_ = (kept.extent[0] + width_ - 1) / width_;
      groups = kept.size / kept.extent[0] * groups_per_row_;
      length_ = kBlock / width_;
    } else {
      width_ = reduced.size > 0 && kBlock / reduced.size < kChunk ? kBlock / reduced.size : kChunk;
      if (width_ < 1) width_ = 1;
      groups = (kept.size + width_ - 1) / width_;
      length_ = kBlock;
    }
    if (groups >= kEnoughTasks) length_ = kLongest;
    blocks = reduced.size > length_ ? (reduced.size + length_ - 1) / length_ : 1;
  }

  bool by_columns;
  int64_t groups, blocks;

  Range group(int64_t g) const {
    if (!by_columns) return {g * width_, lesser((g + 1) * width_, kept_.size)};
    const int64_t row = g / groups_per_row_ * kept_.extent[0], column = g % groups_per_row_ * width_;
    return {row + column, row + lesser(column + width_, kept_.extent[0])};
  }
  Range block(int64_t b) const { return {b * length_, lesser((b + 1) * length_, reduced_.size)}; }

 private:
  static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
  const Plan &kept_, &reduced_;
  int64_t width_, length_, groups_per_row_ = 1;
};

// Returns false, and has done nothing, if elements that are computed are not side by side.
bool reduce(const Functions& functions, const Array& a, const Array& out, const Computed* computed = nullptr) {
  const unsigned axes = reduced_axes(a, out);
  const Array* arrays[] = {&a, &out};
  const Job job{Plan(arrays, 2, ~axes), Plan(arrays, 1, axes), a.dtype,
                load_for(a.dtype),      store_for(out.dtype),  computed};
  if (job.kept.size == 0) return true;
  const Tasks tasks(job.kept, job.reduced);
  if (computed && (tasks.by_columns ? job.kept : job.reduced).stride[0][0] != itemsize(a.dtype)) return false;
  const int64_t work = saturated_product(job.kept.size * job.reduced.size, computed ? 1 + computed->cost : 1);
  const auto reduce_task = tasks.by_columns ? functions.columns : functions.runs;
  if (tasks.blocks == 1) {
    const int parts = parallel_parts(tasks.groups, work);
    parallel_for(tasks.groups, parts, [&](int, int64_t begin, int64_t end) {
      alignas(64) std::byte partials[kChunk * kLargestPartial];
      for (int64_t g = begin; g < end; ++g) {
        reduce_task(job, tasks.group(g), tasks.block(0), partials);
        functions.store(job, tasks.group(g), partials);
      }
    });
    return true;
  }
  const int64_t size = functions.partial_size, row = job.kept.size * size;  // a row of partial results for each block
  const Buffer partials(tasks.blocks * row);
  const int64_t count = tasks.groups * tasks.blocks;
  parallel_for(count, parallel_parts(count, work), [&](int, int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const Range group = tasks.group(task / tasks.blocks);
      const int64_t block = task % tasks.blocks;
      reduce_task(job, group, tasks.block(block), partials.data() + block * row + group.begin * size);
    }
  });
  const int parts = parallel_parts(tasks.groups, tasks.blocks * job.kept.size);
  parallel_for(tasks.groups, parts, [&](int, int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const Range group = tasks.group(g);
      std::byte* first = partials.data() + group.begin * size;
      for (int64_t block = 1; block < tasks.blocks; ++block)
        functions.join(group.end - group.begin, first, first + block * row);
      functions.store(job, group, first);
    }
  });
  return true;
}

// The type that a dtype's values are compared in.
template <class T>
using Ordered = Stored<Compute<T>>;

template <template <class> class Extremum>
void extremum(const Array& a, const Array& out) {
  dispatch(a.dtype, [&](auto zero) { reduce(functions<Fold<Extremum<Ordered<decltype(zero)>>>>(), a, out); });
}

template <template <class> class Extremum>
void arg_extremum(const Array& a, const Array& out) {
  dispatch(a.dtype, [&](auto zero) { reduce(functions<Arg<Extremum<Ordered<decltype(zero)>>>>(), a, out); });
}

bool sum(const Array& a, const Array& out, const Computed* computed) {
  bool is_done = true;
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (std::is_floating_point_v<T>)
      is_done = reduce(functions<Fold<Add<T>>>(), a, out, computed);
    else if constexpr (!std::is_same_v<T, bool>)
      is_done = reduce(functions<Fold<Add<std::make_unsigned_t<T>>>>(), a, out, computed);  // wraps around
  });
  return is_done;
}

}  // namespace

void sum(const Array& a, const Array& out) { sum(a, out, nullptr); }

bool sum_computed(const Computed& computed, const Array& a, const Array& out) { return sum(a, out, &computed); }

void sum_of_squares(const Array& a, const Array& out) {
  reduce(a.dtype == DType::float64 ? functions<FoldSquares<double>>() : functions<FoldSquares<float>>(), a, out);
}

void max(const Array& a, const Array& out) { extremum<Max>(a, out); }
void min(const Array& a, const Array& out) { extremum<Min>(a, out); }
void argmax(const Array& a, const Array& out) { arg_extremum<Max>(a, out); }
void argmin(const Array& a, const Array& out) { arg_extremum<Min>(a, out); }

}  // namespace needle::cpu::NEEDLE_LEVEL
