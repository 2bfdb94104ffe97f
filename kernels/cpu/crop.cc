// Crops windows from selected images of a data set of bytes into a batch, mapping each byte to a number by table.
#include "kernels/cpu/indices.h"
#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The source of an image's pixels along one axis: output position p takes input position first + step * p if
// begin <= p < end, and otherwise the value of byte 0.
struct Span {
  int64_t first, step, begin, end;

  // Maps p to p + shift, or to (extent - 1 - p) + shift if flipped, on an axis of `extent` pixels.
  Span(int64_t extent, int64_t shift, bool flipped)
      : first(flipped ? extent - 1 + shift : shift), step(flipped ? -1 : 1) {
    const int64_t low = flipped ? shift : -shift, high = low + extent;
    begin = low < 0 ? 0 : low < extent ? low : extent;
    end = high > extent ? extent : high > begin ? high : begin;
  }
};

// Word is an unsigned integer of the size of out's dtype, because values are only copied.
template <class Word>
void crop_typed(const Array& images, const Array& windows, const Array& values, const Array& out) {
  const int64_t number = windows.shape[0], height = images.shape[1], width = images.shape[2],
                channels = images.shape[3];
  Array image_numbers = windows;  // the first column
  image_numbers.ndim = 1;
  const Scratch<int64_t> picked(number);
  read_indices("crop_images", "image", image_numbers, images.shape[0], picked.data());
  const auto* image_data = images.data<uint8_t>();
  const auto* value_data = values.data<Word>();
  const auto* window_data = windows.data<int32_t>();
  auto* out_data = out.data<Word>();
  const Scratch<Word> table(channels * kByteValues);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t byte = 0; byte < kByteValues; ++byte)
      table[c * kByteValues + byte] = value_data[c * values.strides[0] + byte * values.strides[1]];

  const auto crop_image = [&](int64_t n) {
    const auto window = [&](int k) { return window_data[n * windows.strides[0] + k * windows.strides[1]]; };
    const Span rows(height, window(1), false), columns(width, window(2), window(3) != 0);
    const int64_t step = columns.step * images.strides[2], out_step = out.strides[2];
    for (int64_t c = 0; c < channels; ++c) {
      const Word* const value = &table[c * kByteValues];
      const uint8_t* const channel = image_data + picked[n] * images.strides[0] + c * images.strides[3];
      for (int64_t i = 0; i < height; ++i) {
        const bool inside = rows.begin <= i && i < rows.end && columns.begin < columns.end;
        const int64_t begin = inside ? columns.begin : width, end = inside ? columns.end : width;
        const uint8_t* from = channel;
        if (inside)  // outside, the address computation could overflow
          from += (rows.first + i) * images.strides[1] + (columns.first + columns.step * begin) * images.strides[2];
        Word* const to = out_data + n * out.strides[0] + i * out.strides[1] + c * out.strides[3];
        for (int64_t j = 0; j < begin; ++j) to[j * out_step] = value[0];
        for (int64_t j = begin; j < end; ++j) to[j * out_step] = value[from[(j - begin) * step]];
        for (int64_t j = end; j < width; ++j) to[j * out_step] = value[0];
      }
    }
  };
  parallel_for(number, parallel_parts(number, out.size()), [&](int, int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) crop_image(n);
  });
}

}  // namespace

void crop_images(const Array& images, const Array& windows, const Array& values, const Array& out) {
  if (out.size() == 0) return;
  switch (itemsize(out.dtype)) {
    case 8: return crop_typed<uint64_t>(images, windows, values, out);
    case 4: return crop_typed<uint32_t>(images, windows, values, out);
    case 2: return crop_typed<uint16_t>(images, windows, values, out);
    default: return crop_typed<uint8_t>(images, windows, values, out);
  }
}

}  // namespace needle::cpu::NEEDLE_LEVEL
