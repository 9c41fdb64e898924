// The root-mean-square norm y = x r w silu(gate) of rows, r = 1 / sqrt(mean(x^2) + eps), with its
// gradient; without a gate, that factor is 1. Where the gate comes first, x silu(gate) is normed
// instead of x. A row may have several parts, each normed by itself. Every row is computed by itself,
// and the gradient of the weight in sums over fixed blocks of rows, so that threads change no bit of
// any result.
#include <cmath>

#include "tiles.h"

namespace paratime {

constexpr int64_t kBlock = 64;  // rows that a thread takes, and whose gradients of w are one sum

// Rows of x, of the gate and of the result are Drive, all else is Element. A row below is a part.
template <class Element, class Drive>
struct Norm {
  int64_t rows, parts, channels;
  const Drive* x;         // (rows, channels)
  const Element* weight;  // (parts, channels)
  const Drive* gate;      // (rows / parts, parts, channels), the first so far apart; or null
  int64_t gate_stride;

  Tile row() const { return {0, channels}; }
  const Element* weight_of(int64_t i) const { return weight + i % parts * channels; }
  const Drive* gate_of(int64_t i) const {
    return gate ? gate + i / parts * gate_stride + i % parts * channels : nullptr;
  }
};

// silu(gate) and its slope, on the lanes of a span.
template <class Element>
struct Opening {
  Vector<Element> factor, slope;

  template <class Drive>
  PARATIME_INLINE Opening(const Drive* gate, Span s) {
    const Vector<Element> g = load(gate + s.lane, s.n), open = sigmoid(g);
    factor = g * open;
    slope = open * (1 + g * (1 - open));
  }
};

template <class Body>
void for_each_block(int64_t rows, int threads, const Body& body) {
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) if (threads > 1 && blocks > 1)
  for (int64_t block = 0; block < blocks; ++block)
    body(block, block * kBlock, std::min(rows, (block + 1) * kBlock));
}

// `scale` is r of each row, and may be null.
template <bool gates_first, class Element, class Drive>
void norm_forward(const Norm<Element, Drive>& p, double eps, Drive* y, Element* scale,
                  int threads) {
  using V = Vector<Element>;
  for_each_block(p.rows, threads, [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Drive *x = p.x + i * p.channels, *gate = p.gate_of(i);
      const Element* weight = p.weight_of(i);
      const auto normed = [&](Span s) __attribute__((always_inline)) {
        V values = load(x + s.lane, s.n);
        if constexpr (gates_first) values *= Opening<Element>(gate, s).factor;
        return values;
      };
      V squares{};
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V values = normed(s);
        squares += values * values;
      });
      const Element r = 1 / std::sqrt(total<Element>(squares) / p.channels + Element(eps));
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V result = normed(s) * r * load(weight + s.lane, s.n);
        if (!gates_first && gate) result *= Opening<Element>(gate, s).factor;
        store(y + i * p.channels + s.lane, result, s.n);
      });
      if (scale) scale[i] = r;
    }
  });
}

// d is the gradient of y; d_weight has a row (parts, channels) for each block of rows.
template <bool gates_first, class Element, class Drive>
void norm_backward(const Norm<Element, Drive>& p, const Element* scale, const Drive* d, Drive* d_x,
                   Element* d_weight, Drive* d_gate, int threads) {
  using V = Vector<Element>;
  for_each_block(p.rows, threads, [&](int64_t block, int64_t first, int64_t last) {
    Element* sums = d_weight + block * p.parts * p.channels;
    std::fill(sums, sums + p.parts * p.channels, Element(0));
    for (int64_t i = first; i < last; ++i) {
      const int64_t at = i * p.channels;
      const Drive* gate = p.gate_of(i);
      const Element *weight = p.weight_of(i), r = scale[i];
      Element* sum = sums + i % p.parts * p.channels;
      V products{};
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V into = load(d + at + s.lane, s.n);
        if (gate) into *= Opening<Element>(gate, s).factor;
        products += into * load(weight + s.lane, s.n) * load(p.x + at + s.lane, s.n);
      });
      const Element mean = total<Element>(products) * r / p.channels;
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V w = load(weight + s.lane, s.n), x = load(p.x + at + s.lane, s.n);
        const V into = load(d + at + s.lane, s.n), before = load(sum + s.lane, s.n);
        if constexpr (gates_first) {
          const Opening<Element> open(gate, s);
          const V normal = x * open.factor * r, passed = r * (into * w - normal * mean);
          store(d_gate + at + s.lane, passed * x * open.slope, s.n);
          store(d_x + at + s.lane, passed * open.factor, s.n);
          store(sum + s.lane, before + into * normal, s.n);
          return;
        }
        const V normal = x * r;
        V opened = into;
        if (gate) {
          const Opening<Element> open(gate, s);
          store(d_gate + at + s.lane, into * normal * w * open.slope, s.n);
          opened *= open.factor;
        }
        store(d_x + at + s.lane, r * (opened * w - normal * mean), s.n);
        store(sum + s.lane, before + opened * normal, s.n);
      });
    }
  });
}

}  // namespace paratime

#define PARATIME_NORM(format, Element, Drive)                                                     \
  PARATIME_EXPORT void paratime_rms_norm_##format(                                                \
      int64_t rows, int64_t parts, int64_t channels, const Drive* x, const Element* weight,       \
      const Drive* gate, int64_t gate_stride, int64_t gates_first, double eps, Drive* y,          \
      Element* scale, int32_t threads) {                                                          \
    const auto run = gates_first ? paratime::norm_forward<true, Element, Drive>                   \
                                 : paratime::norm_forward<false, Element, Drive>;                 \
    run({rows, parts, channels, x, weight, gate, gate_stride}, eps, y, scale, threads);           \
  }                                                                                               \
  PARATIME_EXPORT void paratime_rms_norm_backward_##format(                                       \
      int64_t rows, int64_t parts, int64_t channels, const Drive* x, const Element* weight,       \
      const Drive* gate, int64_t gate_stride, int64_t gates_first, const Element* scale,          \
      const Drive* d, Drive* d_x, Element* d_weight, Drive* d_gate, int32_t threads) {            \
    const auto run = gates_first ? paratime::norm_backward<true, Element, Drive>                  \
                                 : paratime::norm_backward<false, Element, Drive>;                \
    run({rows, parts, channels, x, weight, gate, gate_stride}, scale, d, d_x, d_weight, d_gate,   \
        threads);                                                                                 \
  }

PARATIME_NORM(float32, float, float)
PARATIME_NORM(float64, double, double)
PARATIME_NORM(bfloat16, float, paratime::BFloat16)
