// The causal convolution of each channel with its last inputs, through SiLU:
//
//     y[t] = silu(a[t]),  a[t] = b + sum_k w[k] x[t - k],
//
// over the k for which no reset lies in t - k + 1 .. t. Inputs before the first step are the memory;
// the last ones are the memory of what follows. With its gradient, for which a is computed again.
// Rows are computed by themselves, and gradients of the weights in sums over fixed blocks of rows,
// so that threads change no bit of any result.
#include <array>
#include <vector>

#include "tiles.h"

namespace paratime {

constexpr int64_t kRows = 64;  // rows that a thread takes, and whose gradients of w are one sum
constexpr int kTaps = 8;       // at most

// Inputs, memory and outputs are Drive, all else is Element.
template <class Element, class Drive>
struct Conv {
  int64_t batch, steps, channels, taps;
  const Drive* x;  // (batch, steps, channels), its sequences and rows so many numbers apart:
  int64_t x_sequence, x_row;
  const Element* weight;   // (taps, channels)
  const Element* bias;     // (channels,)
  const Drive* memory;     // (batch, taps - 1, channels)
  const uint8_t* reset;    // (batch, steps), or null
  const int64_t* lengths;  // (batch,), or null

  Tile row() const { return {0, channels}; }
  int64_t past() const { return taps - 1; }
  int64_t blocks() const { return (steps + kRows - 1) / kRows; }
  int64_t length(int64_t i) const {
    return lengths ? std::clamp<int64_t>(lengths[i], 0, steps) : steps;
  }

  // The input at step t of sequence i, t >= -past().
  const Drive* input(int64_t i, int64_t t) const {
    return t < 0 ? memory + (i * past() + past() + t) * channels : x + i * x_sequence + t * x_row;
  }

  // How many steps before t count at t.
  int reach(int64_t i, int64_t t) const {
    int k = 0;
    while (k < past() && !(reset && t - k >= 0 && reset[i * steps + t - k])) ++k;
    return k;
  }
};

template <class Element, class Drive>
struct Window {
  std::array<const Drive*, kTaps> inputs;
  int reach;

  Window(const Conv<Element, Drive>& p, int64_t i, int64_t t) : reach(p.reach(i, t)) {
    for (int k = 0; k <= reach; ++k) inputs[k] = p.input(i, t - k);
  }

  PARATIME_INLINE Vector<Element> sum(const Conv<Element, Drive>& p, Span s) const {
    Vector<Element> a = load(p.bias + s.lane, s.n);
    for (int k = 0; k <= reach; ++k)
      a += load(p.weight + k * p.channels + s.lane, s.n) * load(inputs[k] + s.lane, s.n);
    return a;
  }
};

// Call body(sequence, block, first, last) for blocks of rows that cover all sequences.
template <class Element, class Drive, class Body>
void for_each_block(const Conv<Element, Drive>& p, int threads, const Body& body) {
  const int64_t blocks = p.blocks(), count = p.batch * blocks;
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1)
  for (int64_t item = 0; item < count; ++item) {
    const int64_t first = item % blocks * kRows;
    body(item / blocks, item, first, std::min(first + kRows, p.steps));
  }
}

// `final` (batch, taps - 1, channels) is the memory after the last valid step.
template <class Element, class Drive>
void conv_forward(const Conv<Element, Drive>& p, Drive* y, Drive* final, int threads) {
  using V = Vector<Element>;
  for_each_block(p, threads, [&](int64_t i, int64_t, int64_t first, int64_t last) {
    const int64_t length = p.length(i);
    for (int64_t t = first; t < last; ++t) {
      Drive* out = y + (i * p.steps + t) * p.channels;
      if (t >= length) {
        std::fill(out, out + p.channels, Drive());
        continue;
      }
      const Window<Element, Drive> window(p, i, t);
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V a = window.sum(p, s);
        store(out + s.lane, a * sigmoid(a), s.n);
      });
    }
    if (first > 0) return;
    const int reach = length > 0 ? p.reach(i, length - 1) : int(p.past());
    for (int back = 0; back < p.past(); ++back) {
      Drive* out = final + (i * p.past() + p.past() - 1 - back) * p.channels;
      const Drive* in = p.input(i, length - 1 - back);
      if (back <= reach)
        std::copy(in, in + p.channels, out);
      else
        std::fill(out, out + p.channels, Drive());
    }
  });
}

// d and d_final are the gradients of y and final; d_weight (blocks, taps + 1, channels) has the
// bias in its last row.
template <class Element, class Drive>
void conv_backward(const Conv<Element, Drive>& p, const Drive* d, const Drive* d_final, Drive* d_x,
                   Element* d_weight, Drive* d_memory, int threads) {
  using V = Vector<Element>;
  const int64_t channels = p.channels, past = p.past();
  for_each_block(p, threads, [&](int64_t i, int64_t block, int64_t first, int64_t last) {
    thread_local std::vector<Element> scratch;
    const int64_t length = p.length(i), beyond = std::min(last + past, length);
    scratch.resize((kRows + kTaps) * channels);
    Element* sums = d_weight + block * (p.taps + 1) * channels;
    std::fill(sums, sums + (p.taps + 1) * channels, Element(0));
    const auto of_sum = [&](int64_t t) { return scratch.data() + (t - first) * channels; };
    for (int64_t t = first; t < beyond; ++t) {  // gradients of a
      const Window<Element, Drive> window(p, i, t);
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V a = window.sum(p, s), open = sigmoid(a);
        const V into = load(d + (i * p.steps + t) * channels + s.lane, s.n);
        const V slope = into * open * (1 + a * (1 - open));
        store(of_sum(t) + s.lane, slope, s.n);
        if (t >= last) return;  // a row of the next block
        for (int k = 0; k <= window.reach; ++k) {
          Element* sum = sums + k * channels + s.lane;
          store(sum, load(sum, s.n) + slope * load(window.inputs[k] + s.lane, s.n), s.n);
        }
        Element* sum = sums + p.taps * channels + s.lane;
        store(sum, load(sum, s.n) + slope, s.n);
      });
    }
    const int kept = length > 0 ? p.reach(i, length - 1) : int(past);
    for (int64_t t = first > 0 ? first : -past; t < last; ++t) {  // gradients of inputs
      Drive* out = t < 0 ? d_memory + (i * past + past + t) * channels
                         : d_x + (i * p.steps + t) * channels;
      const int64_t back = length - 1 - t;
      const bool is_kept = back >= 0 && back < past && back <= kept;
      const Drive* of_final = d_final + (i * past + past - 1 - back) * channels;
      std::array<int, kTaps> taps;
      int count = 0;
      for (int k = 0; k < p.taps; ++k)
        if (t + k >= 0 && t + k < length && k <= p.reach(i, t + k)) taps[count++] = k;
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V sum{};
        if (is_kept) sum += load(of_final + s.lane, s.n);
        for (int j = 0; j < count; ++j)
          sum += load(p.weight + taps[j] * channels + s.lane, s.n) *
                 load(of_sum(t + taps[j]) + s.lane, s.n);
        store(out + s.lane, sum, s.n);
      });
    }
  });
}

}  // namespace paratime

#define PARATIME_CONV(format, Element, Drive)                                                      \
  PARATIME_EXPORT void paratime_causal_conv_##format(                                              \
      int64_t batch, int64_t steps, int64_t channels, int64_t taps, const Drive* x,                \
      int64_t x_sequence, int64_t x_row, const Element* weight, const Element* bias,               \
      const Drive* memory, const uint8_t* reset, const int64_t* lengths, Drive* y, Drive* final,   \
      int32_t threads) {                                                                           \
    paratime::conv_forward<Element, Drive>({batch, steps, channels, taps, x, x_sequence, x_row,    \
                                            weight, bias, memory, reset, lengths},                 \
                                           y, final, threads);                                     \
  }                                                                                                \
  PARATIME_EXPORT void paratime_causal_conv_backward_##format(                                     \
      int64_t batch, int64_t steps, int64_t channels, int64_t taps, const Drive* x,                \
      int64_t x_sequence, int64_t x_row, const Element* weight, const Element* bias,               \
      const Drive* memory, const uint8_t* reset, const int64_t* lengths, const Drive* d,           \
      const Drive* d_final, Drive* d_x, Element* d_weight, Drive* d_memory, int32_t threads) {     \
    paratime::conv_backward<Element, Drive>({batch, steps, channels, taps, x, x_sequence, x_row,   \
                                             weight, bias, memory, reset, lengths},                \
                                            d, d_final, d_x, d_weight, d_memory, threads);         \
  }

PARATIME_CONV(float32, float, float)
PARATIME_CONV(float64, double, double)
PARATIME_CONV(bfloat16, float, paratime::BFloat16)
