// What all kernels of a recurrence are given.
#pragma once

#include "number.h"

namespace paratime {

// x / y and x % y for 0 <= x < 2^32. The operators call a function for numbers of 64 bits.
struct Division {
  int64_t quotient, rest;
  PARATIME_DEVICE Division(unsigned x, int64_t y) {
    const unsigned whole = y > int64_t(x) ? 0 : x / unsigned(y);
    quotient = whole;
    rest = x - whole * unsigned(y);
  }
};

// B sequences of at most T steps over C channels; tensors are contiguous. Lanes are neighbouring
// channels, so that a warp reads and writes whole lines.
template <class Cell, class Drive>
struct Problem {
  using Element = ElementOf<Drive>;
  using V = NumberOf<Drive>;
  static constexpr int state = Cell::state, memory = Cell::memory;
  static constexpr int drives = Cell::drives, outputs = state - memory, weights = Cell::weights;

  int64_t batch, steps, channels;
  const Drive* u;          // (B, T, drives, C)
  const Element* weight;   // (weights, C)
  const Element* h0;       // (B, state, C)
  const uint8_t* reset;    // (B, T): where the state before a step is 0; or null
  const int64_t* lengths;  // (B,): how many steps of a sequence are valid; or null

  PARATIME_DEVICE int64_t length(int64_t b) const {
    if (!lengths) return steps;
    const int64_t n = lengths[b];
    return n < 0 ? 0 : n < steps ? n : steps;
  }
  PARATIME_DEVICE bool restarts(int64_t b, int64_t t) const {
    return reset && reset[b * steps + t] != 0;
  }

  // Where row 0 of a step lies in a tensor (B, T, rows, C), for one channel.
  PARATIME_DEVICE int64_t at(int64_t b, int64_t t, int rows, int64_t c) const {
    return (b * steps + t) * rows * channels + c;
  }
  // Where row 0 of a sequence lies in a tensor (B, rows, C), for one channel.
  PARATIME_DEVICE int64_t of(int64_t b, int rows, int64_t c) const {
    return b * rows * channels + c;
  }
};

// Copy `rows` values between a column of a tensor, whose rows are `channels` apart, and registers.
template <int rows, class T, class V>
PARATIME_DEVICE void load_column(const T* from, int64_t channels, V* to) {
#pragma unroll
  for (int i = 0; i < rows; ++i) to[i] = widen(from[i * channels]);
}
template <int rows, class T, class V>
PARATIME_DEVICE void store_column(T* to, int64_t channels, const V* from) {
#pragma unroll
  for (int i = 0; i < rows; ++i) to[i * channels] = narrowed<T>(from[i].value);
}

template <int rows, class T>
PARATIME_DEVICE void zero_column(T* to, int64_t channels) {
#pragma unroll
  for (int i = 0; i < rows; ++i) to[i * channels] = T{};
}

// Outputs and memory beyond a sequence's length are zero.
template <class Cell, class Drive>
PARATIME_DEVICE void fill_after(const Problem<Cell, Drive>& p, Drive* y, int64_t y_stride,
                                ElementOf<Drive>* memory, int64_t b, int64_t c, int64_t from,
                                int64_t stride = 1) {
  using P = Problem<Cell, Drive>;
#pragma unroll 1  // else the number of turns is divided, by a call
  for (int64_t t = from; t < p.steps; t += stride) {
    zero_column<P::outputs>(y + b * y_stride + t * P::outputs * p.channels + c, p.channels);
    if (memory) zero_column<P::memory>(memory + p.at(b, t, P::memory, c), p.channels);
  }
}

// Load the state before step t.
template <class Cell, class Drive, class V>
PARATIME_DEVICE void load_before(const Problem<Cell, Drive>& p, const Drive* y,
                                 const ElementOf<Drive>* memory, int64_t b, int64_t t, int64_t c,
                                 V* h) {
  using P = Problem<Cell, Drive>;
  if (t == 0) {
    load_column<P::state>(p.h0 + p.of(b, P::state, c), p.channels, h);
    return;
  }
  load_column<P::memory>(memory + p.at(b, t - 1, P::memory, c), p.channels, h);
  load_column<P::outputs>(y + p.at(b, t - 1, P::outputs, c), p.channels, h + P::memory);
}

// An accessor u(row) over values in registers.
template <class V>
struct Registers {
  const V* values;
  PARATIME_DEVICE V operator()(int row) const { return values[row]; }
};

// An accessor w(row) of a channel's weights: in registers, unless they are so many that the rest
// of a kernel would not fit; then they are read through the cache.
template <class P>
constexpr bool kFewWeights = P::weights * sizeof(typename P::Element) <= 192;

template <class P, bool few = kFewWeights<P>>
class Weights {
 public:
  using V = typename P::V;
  PARATIME_DEVICE Weights(const P& p, int64_t c) {
    load_column<P::weights>(p.weight + c, p.channels, values_);
  }
  PARATIME_DEVICE V operator()(int row) const { return values_[row]; }

 private:
  V values_[P::weights];
};

template <class P>
class Weights<P, false> {
 public:
  using V = typename P::V;
  PARATIME_DEVICE Weights(const P& p, int64_t c) : column_(p.weight + c), channels_(p.channels) {}
  PARATIME_DEVICE V operator()(int row) const { return column_[row * opaque(channels_)]; }

 private:
  const typename P::Element* column_;
  int64_t channels_;
};

// The sums that become the gradient of a channel's weights, in its column of a tensor: on the same
// terms in registers until the end, or in the tensor from the start.
template <class P, bool few = kFewWeights<P>>
class Sums {
 public:
  using V = typename P::V;
  PARATIME_DEVICE Sums(typename P::Element* column, int64_t channels)
      : column_(column), channels_(channels) {
#pragma unroll
    for (int i = 0; i < P::weights; ++i) values_[i] = V(0);
  }
  PARATIME_DEVICE void operator()(int row, V x) { values_[row] += x; }
  PARATIME_DEVICE void store() const { store_column<P::weights>(column_, channels_, values_); }

 private:
  typename P::Element* column_;
  int64_t channels_;
  V values_[P::weights];
};

template <class P>
class Sums<P, false> {
 public:
  using V = typename P::V;
  PARATIME_DEVICE Sums(typename P::Element* column, int64_t channels)
      : column_(column), channels_(channels) {
    for (int i = 0; i < P::weights; ++i) column[i * channels] = 0;
  }
  PARATIME_DEVICE void operator()(int row, V x) {
    add_to(column_ + row * opaque(channels_), x.value);
  }
  PARATIME_DEVICE void store() const {}

 private:
  typename P::Element* column_;
  int64_t channels_;
};

}  // namespace paratime
