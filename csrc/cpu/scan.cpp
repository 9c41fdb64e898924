// The linear recurrence h[t] = a[t] h[t-1] + b[t], with K x K blocks on every channel. A zero in a
// transition passes on nothing, not even a state that is not finite.
#include "tiles.h"

namespace paratime {

// One step, vectors along the channels: a (K, K, C), b, before and h (K, C).
template <int Size, class Element>
PARATIME_INLINE void step_channels(const Tile& tile, int64_t size, Rows<const Element> a,
                                   Rows<const Element> b, Rows<const Element> before,
                                   Rows<Element> h) {
  const int k = Size ? Size : int(size);
  tile.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
    for (int i = 0; i < k; ++i) {
      Vector<Element> x = b.load(i, s);
      for (int j = 0; j < k; ++j) {
        const Vector<Element> slope = a.load(i * k + j, s);
        x += slope * met(slope, before.load(j, s));
      }
      h.store(i, s, x);
    }
  });
}

// One step of a dense transition, which has a single channel: vectors along the rows of a.
template <class Element>
void step_dense(int64_t size, const Element* a, const Element* b, const Element* before,
                Element* h) {
  const Tile row{0, size};
  for (int64_t i = 0; i < size; ++i) {
    Vector<Element> products{};
    row.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
      const Vector<Element> slope = load(a + i * size + s.lane, s.n);
      products += slope * met(slope, load(before + s.lane, s.n));
    });
    Element x = b[i];
    for (int lane = 0; lane < width<Element>; ++lane) x += products[lane];
    h[i] = x;
  }
}

template <int Size, class Element>
void scan(int64_t batch, int64_t steps, int64_t size, int64_t channels, bool reverse,
          const Element* a, const Element* b, const Element* h0, Element* h, int threads) {
  const int64_t state = size * channels;
  for_each_tile(batch, channels, threads, [&](int64_t sequence, const Tile& tile) {
    const Element* before = h0 + sequence * state;
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t row = (sequence * steps + (reverse ? steps - 1 - i : i)) * state;
      if (Size == 0 && channels == 1)
        step_dense(size, a + row * size, b + row, before, h + row);
      else
        step_channels<Size, Element>(tile, size, {a + row * size, channels}, {b + row, channels},
                                     {before, channels}, {h + row, channels});
      before = h + row;
    }
  });
}

template <class... Arguments>
void scan_of_size(int64_t size, Arguments... arguments) {
  switch (size) {
    case 1: return scan<1>(arguments...);
    case 2: return scan<2>(arguments...);
    case 4: return scan<4>(arguments...);
    default: return scan<0>(arguments...);
  }
}

}  // namespace paratime

#define PARATIME_SCAN(format, Element)                                                        \
  PARATIME_EXPORT void paratime_scan_##format(int64_t batch, int64_t steps, int64_t size,     \
                                         int64_t channels, int64_t reverse, const Element* a, \
                                         const Element* b, const Element* h0, Element* h,     \
                                         int32_t threads) {                                   \
    paratime::scan_of_size(size, batch, steps, size, channels, reverse != 0, a, b, h0, h,     \
                           int(threads));                                                     \
  }

PARATIME_SCAN(float32, float)
PARATIME_SCAN(float64, double)
