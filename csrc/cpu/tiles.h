// Threads over sequences and tiles of channels, and vectors over the lanes of a tile.
#pragma once

#include <algorithm>
#include <numeric>

#include "vector.h"

namespace paratime {

// n neighbouring channels from `lane` on, at most a vector of them.
struct Span {
  int64_t lane;
  int n;
};

// The rows of a tensor (..., rows, channels) from some row on.
template <class Element>
struct Rows {
  Element* base;
  int64_t channels;

  PARATIME_INLINE auto load(int row, Span s) const {
    return paratime::load(base + row * channels + s.lane, s.n);
  }
  template <class V>
  PARATIME_INLINE void store(int row, Span s, V x) const {
    paratime::store(base + row * channels + s.lane, x, s.n);
  }
  PARATIME_INLINE auto at(Span s) const {
    return [=, *this](int row) { return load(row, s); };
  }
};

// What a factor meets of x: a zero passes on nothing, not even what is not finite.
template <class V>
PARATIME_INLINE V met(V factor, V x) {
  return factor == 0 ? V{} : x;
}

// The channels [first, last).
struct Tile {
  int64_t first, last;

  // Call body(span) for whole vectors, and once for what is left.
  template <class Element, class Body>
  PARATIME_INLINE void for_each_vector(const Body& body) const {
    constexpr int n = width<Element>;
    int64_t lane = first;
    for (; lane + n <= last; lane += n) body(Span{lane, n});
    if (lane < last) body(Span{lane, int(last - lane)});
  }

  template <class Element>
  void fill(Rows<Element> rows, int count, Element value) const {
    for (int i = 0; i < count; ++i) {
      Element* row = rows.base + i * rows.channels;
      std::fill(row + first, row + last, value);
    }
  }

  template <class From, class To>
  void copy(Rows<From> from, Rows<To> to, int count) const {
    for (int i = 0; i < count; ++i) {
      const From* row = from.base + i * from.channels;
      std::copy(row + first, row + last, to.base + i * to.channels + first);
    }
  }
};

constexpr int64_t kWidest = 16;  // lanes of the widest vector: no other tile ends within one
constexpr int64_t kLanes = 64;   // with fewer, a thread waits for the recurrence, not for its units

// Call body(sequence, tile) for tiles that cover all channels of all sequences. Every lane is
// computed by itself, so that neither tiles nor threads change a bit of any result.
template <class Body>
void for_each_tile(int64_t sequences, int64_t channels, int threads, const Body& body) {
  if (sequences == 0 || channels == 0) return;
  const auto ceiling = [](int64_t x, int64_t y) { return (x + y - 1) / y; };
  const int64_t wanted = threads / std::gcd<int64_t>(threads, sequences);  // all equally busy
  const int64_t lanes = std::max(kLanes, ceiling(ceiling(channels, wanted), kWidest) * kWidest);
  const int64_t tiles = ceiling(channels, lanes);
#pragma omp parallel for num_threads(threads) if (threads > 1 && sequences * tiles > 1)
  for (int64_t item = 0; item < sequences * tiles; ++item) {
    const int64_t first = item % tiles * lanes;
    body(item / tiles, Tile{first, std::min(first + lanes, channels)});
  }
}

}  // namespace paratime
