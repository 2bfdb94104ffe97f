#include "kernels/cpu/loops.h"

#include <cstring>
#include <type_traits>

#include "kernels/common/sizes.h"
#include "kernels/cpu/half.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// For any type of sizeof(Word) bytes; memcpy makes the copy independent of the type.
template <class Word>
const void* load_words(int64_t n, const std::byte* from, int64_t stride, void* chunk) {
  if (stride == sizeof(Word) || n == 0) return from;
  std::byte* to = static_cast<std::byte*>(chunk);
  Word first;
  std::memcpy(&first, from, sizeof first);
  if (stride == 0)
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * sizeof(Word), &first, sizeof(Word));
  else
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * sizeof(Word), from + i * stride, sizeof(Word));
  return chunk;
}

template <class Half>
const void* load_halves(int64_t n, const std::byte* from, int64_t stride, void* chunk) {
  float* to = static_cast<float*>(chunk);
  if (stride == sizeof(Half)) {
    convert(n, reinterpret_cast<const Half*>(from), to);
  } else if (stride == 0 && n > 0) {
    const float value = *reinterpret_cast<const Half*>(from);
    for (int64_t i = 0; i < n; ++i) to[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = *reinterpret_cast<const Half*>(from + i * stride);
  }
  return chunk;
}

// For a half-type scalar, which is stored as a float64.
const void* load_scalar(int64_t n, const std::byte* from, int64_t /*stride*/, void* chunk) {
  float* to = static_cast<float*>(chunk);
  const float value = static_cast<float>(*reinterpret_cast<const double*>(from));
  for (int64_t i = 0; i < n; ++i) to[i] = value;
  return chunk;
}

template <class Word>
void store_words(int64_t n, const void* chunk, std::byte* to, int64_t stride) {
  const std::byte* from = static_cast<const std::byte*>(chunk);
  if (stride == sizeof(Word))
    std::memcpy(to, from, n * sizeof(Word));
  else
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * stride, from + i * sizeof(Word), sizeof(Word));
}

template <class Half>
void store_halves(int64_t n, const void* chunk, std::byte* to, int64_t stride) {
  const float* from = static_cast<const float*>(chunk);
  if (stride == sizeof(Half))
    convert(n, from, reinterpret_cast<Half*>(to));
  else
    for (int64_t i = 0; i < n; ++i) *reinterpret_cast<Half*>(to + i * stride) = static_cast<Half>(from[i]);
}

// A block of rows x columns elements, stored in a chunk in row-major order.
struct Block {
  int64_t rows, columns, row_stride, column_stride;  // strides in bytes
};

// A transposed operand is copied in blocks of this size: a column is one cache line of 4-byte elements.
constexpr int64_t kTileRows = 16, kTileColumns = 32;
static_assert(kTileRows * kTileColumns <= kChunk);

template <class To, class From>
To element(const std::byte* from) {
  From value;
  std::memcpy(&value, from, sizeof value);
  return static_cast<To>(value);
}

// Transposes an 8 x 8 block of 4-byte elements from contiguous columns to rows, by three perfect shuffles of all 64.
void transpose_8x8(const std::byte* from, int64_t column_stride, uint32_t* to, int64_t row_length) {
  using Vector = uint32_t __attribute__((vector_size(32)));
  constexpr Vector kLow = {0, 8, 1, 9, 2, 10, 3, 11}, kHigh = {4, 12, 5, 13, 6, 14, 7, 15};
  Vector a[8], b[8];
  for (int c = 0; c < 8; ++c) std::memcpy(&a[c], from + c * column_stride, sizeof a[c]);
  const auto shuffle = [&](const Vector* in, Vector* out) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __builtin_shuffle(in[i], in[i + 4], kLow);
      out[2 * i + 1] = __builtin_shuffle(in[i], in[i + 4], kHigh);
    }
  };
  shuffle(a, b);
  shuffle(b, a);
  shuffle(a, b);
  for (int r = 0; r < 8; ++r) std::memcpy(to + r * row_length, &b[r], sizeof b[r]);
}

template <class To, class From>
void load_elements(const Block& block, const std::byte* from, void* chunk) {
  To* to = static_cast<To*>(chunk);
  if (block.rows == kTileRows && block.columns == kTileColumns && block.row_stride == sizeof(From)) {
    if constexpr (std::is_same_v<To, uint32_t> && std::is_same_v<From, uint32_t>) {
      for (int64_t c = 0; c < kTileColumns; c += 8)
        for (int64_t r = 0; r < kTileRows; r += 8)
          transpose_8x8(from + c * block.column_stride + r * sizeof(From), block.column_stride,
                        to + r * kTileColumns + c, kTileColumns);
    } else {
      for (int64_t c = 0; c < kTileColumns; ++c, from += block.column_stride)  // each column is contiguous
        for (int64_t r = 0; r < kTileRows; ++r) to[r * kTileColumns + c] = element<To, From>(from + r * sizeof(From));
    }
    return;
  }
  for (int64_t r = 0; r < block.rows; ++r, from += block.row_stride, to += block.columns) {
    if (block.column_stride == 0) {
      const To value = element<To, From>(from);
      for (int64_t c = 0; c < block.columns; ++c) to[c] = value;
    } else {
      for (int64_t c = 0; c < block.columns; ++c) to[c] = element<To, From>(from + c * block.column_stride);
    }
  }
}

// How the loop accesses one operand of a call.
struct Access {
  bool read, written, half;
  int64_t size, chunk_size;  // bytes of an element, in memory and in a chunk
  Load load;
  Store store;
  void (*load_block)(const Block& block, const std::byte* from, void* chunk);
};

template <class Word>
Access access_words() {
  return {
      true, true, false, sizeof(Word), sizeof(Word), load_words<Word>, store_words<Word>, load_elements<Word, Word>};
}
template <class Half>
Access access_halves() {
  return {
      true, true, true, sizeof(Half), sizeof(float), load_halves<Half>, store_halves<Half>, load_elements<float, Half>};
}

Access access_scalar() {
  return {true, false, true, sizeof(double), sizeof(float), load_scalar, nullptr, load_elements<float, double>};
}

Access access_of(DType dtype) {
  if (dtype == DType::float16) return access_halves<float16>();
  if (dtype == DType::bfloat16) return access_halves<bfloat16>();
  switch (itemsize(dtype)) {
    case 8: return access_words<uint64_t>();
    case 4: return access_words<uint32_t>();
    case 1: return access_words<uint8_t>();
    default: throw_dtype_error("element-wise kernels: dtype %s, expected one that loops.cc can load", name(dtype));
  }
}

// Divides the two innermost dimensions of a plan into blocks of rows x columns <= kChunk elements.
struct Blocks {
  int64_t rows, columns;  // of a block
  int64_t strips;         // strips of `rows` rows that cover dimension 1
};

}  // namespace

// The state shared by all positions of one set of arrays. Its units are divided among the threads.
struct Call {
  Plan plan;
  Access access[kMaxOperands];
  Loop loop;
  const void* context;
  bool in_blocks;
  Blocks blocks;
  int64_t units;

  Call(Loop loop, const Array* const* arrays, int num_arrays, int outputs, bool update, const void* context);
  void run(int64_t begin, int64_t end) const;
};

namespace {

// The chunks of all operands, and which block each input's chunk holds: often the next block needs the same inputs.
struct Chunks {
  alignas(64) std::byte data[kMaxOperands][kChunk * 8];
  const std::byte* source[kMaxOperands] = {};
  int64_t rows[kMaxOperands], columns[kMaxOperands];

  // Whether the chunk of input k already holds that block. Records that it holds the block from now on.
  bool holds(int k, const std::byte* from, int64_t block_rows, int64_t block_columns) {
    if (source[k] == from && rows[k] == block_rows && columns[k] == block_columns) return true;
    source[k] = from;
    rows[k] = block_rows;
    columns[k] = block_columns;
    return false;
  }
};

// Runs positions begin..end-1, row by row. The elements of operand 0 are at `first`, unless that is null.
void run_rows(const Call& call, int64_t begin, int64_t end, std::byte* first = nullptr) {
  const Plan& plan = call.plan;
  Chunks chunks;
  bool direct[kMaxOperands], all_direct = true;
  for (int k = 0; k < plan.num_operands; ++k) {
    direct[k] = plan.stride[k][0] == call.access[k].size && !call.access[k].half;
    all_direct &= direct[k];
  }
  void* operands[kMaxOperands];
  Cursor cursor(plan, begin);
  while (begin < end) {
    int64_t n = cursor.remaining() < end - begin ? cursor.remaining() : end - begin;
    if (!all_direct && n > kChunk) n = kChunk;
    for (int k = 0; k < plan.num_operands; ++k) {
      const Access& access = call.access[k];
      std::byte* const pointer = k == 0 && first ? first : cursor.pointer(k);
      operands[k] = direct[k] ? static_cast<void*>(pointer) : chunks.data[k];
      if (direct[k] || !access.read) continue;
      if (!access.written && chunks.holds(k, cursor.pointer(k), 1, n)) continue;
      access.load(n, cursor.pointer(k), plan.stride[k][0], chunks.data[k]);
    }
    call.loop(n, operands, call.context);
    for (int k = 0; k < plan.num_operands; ++k)
      if (!direct[k] && call.access[k].written)
        call.access[k].store(n, chunks.data[k], k == 0 && first ? first : cursor.pointer(k), plan.stride[k][0]);
    if (first) first += n * call.access[0].size;
    cursor.advance(n);
    begin += n;
  }
}

// Runs strips begin..end-1, counted over dimension 1 and the outer dimensions.
void run_blocks(const Call& call, int64_t begin, int64_t end) {
  const Plan& plan = call.plan;
  const Plan outer = plan.without_innermost(2);
  const Blocks& blocks = call.blocks;
  Chunks chunks;
  void* operands[kMaxOperands];
  for (int64_t strip = begin; strip < end; ++strip) {
    const Cursor corner(outer, strip / blocks.strips);
    const int64_t row = strip % blocks.strips * blocks.rows;
    const int64_t rows = plan.extent[1] - row < blocks.rows ? plan.extent[1] - row : blocks.rows;
    for (int64_t column = 0; column < plan.extent[0]; column += blocks.columns) {
      const int64_t columns = plan.extent[0] - column < blocks.columns ? plan.extent[0] - column : blocks.columns;
      // An operand with contiguous rows is used without copying: in one call if consecutive rows are adjacent in all
      // such operands, else row by row if the rows are long enough to be worth it.
      std::byte* pointers[kMaxOperands];
      bool direct[kMaxOperands], row_by_row = false;
      for (int k = 0; k < plan.num_operands; ++k) {
        const Access& access = call.access[k];
        const Block block{rows, columns, plan.stride[k][1], plan.stride[k][0]};
        pointers[k] = corner.pointer(k) + row * block.row_stride + column * block.column_stride;
        const bool follow = rows == 1 || block.row_stride == columns * access.size;
        direct[k] = !access.half && block.column_stride == access.size && (follow || columns >= kTileColumns);
        row_by_row |= direct[k] && !follow;
        operands[k] = direct[k] ? static_cast<void*>(pointers[k]) : chunks.data[k];
        if (direct[k] || !access.read) continue;
        if (!access.written && chunks.holds(k, pointers[k], rows, columns)) continue;
        access.load_block(block, pointers[k], chunks.data[k]);
      }
      if (!row_by_row) {
        call.loop(rows * columns, operands, call.context);
      } else {
        for (int64_t r = 0; r < rows; ++r) {
          for (int k = 0; k < plan.num_operands; ++k)
            operands[k] = direct[k] ? static_cast<void*>(pointers[k] + r * plan.stride[k][1])
                                    : chunks.data[k] + r * columns * call.access[k].chunk_size;
          call.loop(columns, operands, call.context);
        }
      }
      for (int k = 0; k < plan.num_operands; ++k) {
        const Access& access = call.access[k];
        if (direct[k] || !access.written) continue;
        for (int64_t r = 0; r < rows; ++r)
          access.store(columns, chunks.data[k] + r * columns * access.chunk_size, pointers[k] + r * plan.stride[k][1],
                       plan.stride[k][0]);
      }
    }
  }
}

constexpr int64_t kCacheLine = 64;
constexpr int64_t kShortRow = 128;  // elements; a shorter row is not worth a separate call of the loop

// Whether an input has a large stride in the innermost dimension, so that each element would touch another cache line,
// but a small stride in another one. If so, makes that other dimension number 1.
bool make_transposed(Plan& plan) {
  const auto magnitude = [](int64_t x) { return x < 0 ? -x : x; };
  for (int k = 1; k < plan.num_operands; ++k) {
    if (magnitude(plan.stride[k][0]) < kCacheLine) continue;
    for (int d = 1; d < plan.ndim; ++d)
      if (plan.stride[k][d] != 0 && magnitude(plan.stride[k][d]) < kCacheLine) {
        plan.swap_dimensions(1, d);
        return true;
      }
  }
  return false;
}

constexpr int64_t kUnit = 64;  // elements; keeps threads from sharing a cache line of a contiguous output

}  // namespace

Call::Call(Loop loop, const Array* const* arrays, int num_arrays, int outputs, bool update, const void* context)
    : plan(arrays, num_arrays, kAllAxes), loop(loop), context(context) {
  for (int k = 0; k < num_arrays; ++k) {
    access[k] = arrays[k]->is_half_scalar() ? access_scalar() : access_of(arrays[k]->dtype);
    access[k].written = k < outputs;
    access[k].read = !access[k].written || update;
  }
  const bool transposed = make_transposed(plan);
  in_blocks = plan.ndim > 1 && (transposed || plan.extent[0] < kShortRow);
  if (!in_blocks) {
    units = (plan.size + kUnit - 1) / kUnit;
    return;
  }
  const int64_t most = transposed ? kTileColumns : kShortRow;
  blocks.columns = plan.extent[0] < most ? plan.extent[0] : most;
  blocks.rows = kChunk / blocks.columns;
  blocks.strips = (plan.extent[1] + blocks.rows - 1) / blocks.rows;
  units = plan.without_innermost(2).size * blocks.strips;
}

void Call::run(int64_t begin, int64_t end) const {
  if (in_blocks)
    run_blocks(*this, begin, end);
  else
    run_rows(*this, begin * kUnit, end * kUnit < plan.size ? end * kUnit : plan.size);
}

ElementRanges::ElementRanges(Loop loop, const Array* const* arrays, int num_arrays, int outputs, const void* context)
    : call_(std::make_unique<Call>(loop, arrays, num_arrays, outputs, /*update=*/false, context)) {}
ElementRanges::~ElementRanges() = default;
bool ElementRanges::are_fast() const { return !call_->in_blocks; }
void ElementRanges::run(int64_t begin, int64_t end, std::byte* first) const { run_rows(*call_, begin, end, first); }

Load load_for(DType dtype) { return access_of(dtype).load; }
Store store_for(DType dtype) { return access_of(dtype).store; }

void elementwise(Loop loop, const Array* const* arrays, int num_arrays, int cost, int outputs, bool update,
                 const void* context) {
  if (arrays[0]->size() == 0) return;
  const Call call(loop, arrays, num_arrays, outputs, update, context);
  parallel_for(call.units, parallel_parts(call.units, call.plan.size * cost),
               [&](int, int64_t begin, int64_t end) { call.run(begin, end); });
}

void elementwise(Loop loop, const ArrayList* lists, int num_lists, int cost, int outputs, bool update,
                 const void* context) {
  int64_t total = 0;
  for (const Array& a : lists[0]) total = saturated_sum(total, a.size());
  // Each thread gets a range of the concatenated elements of all arrays.
  parallel_for(total, parallel_parts(total, saturated_product(total, cost)), [&](int, int64_t begin, int64_t end) {
    for (int64_t i = 0; i < lists[0].count && end > 0; ++i) {
      const int64_t size = lists[0][i].size();
      const int64_t from = begin > 0 ? begin : 0, to = end < size ? end : size;
      begin -= size;
      end -= size;
      if (from >= to) continue;
      const Array* arrays[kMaxOperands];
      for (int k = 0; k < num_lists; ++k) arrays[k] = &lists[k][i];
      const Call call(loop, arrays, num_lists, outputs, update, context);
      const auto unit_at = [&](int64_t element) {
        return static_cast<int64_t>(static_cast<__int128>(call.units) * element / size);
      };
      call.run(unit_at(from), unit_at(to));
    }
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
