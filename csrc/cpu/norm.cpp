// The root-mean-square norm y = x r w silu(gate) of rows, r = 1 / sqrt(mean(x^2) + eps), with its
// gradient; without a gate, that factor is 1. Every row is computed by itself, and the gradient of
// the weight in sums over fixed blocks of rows, so that threads change no bit of any result.
#include <cmath>

#include "tiles.h"

namespace paratime {

constexpr int64_t kBlock = 64;  // rows that a thread takes, and whose gradients of w are one sum

// Rows of x, of the gate and of the result are Drive, all else is Element.
template <class Element, class Drive>
struct Norm {
  int64_t rows, channels;
  const Drive* x;         // (rows, channels)
  const Element* weight;  // (channels,)
  const Drive* gate;      // (rows, channels), its rows gate_stride numbers apart; or null
  int64_t gate_stride;

  Tile row() const { return {0, channels}; }
  const Drive* gate_of(int64_t i) const { return gate ? gate + i * gate_stride : nullptr; }
};

template <class Body>
void for_each_block(int64_t rows, int threads, const Body& body) {
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) if (threads > 1 && blocks > 1)
  for (int64_t block = 0; block < blocks; ++block)
    body(block, block * kBlock, std::min(rows, (block + 1) * kBlock));
}

// `scale` is r of each row, and may be null.
template <class Element, class Drive>
void norm_forward(const Norm<Element, Drive>& p, double eps, Drive* y, Element* scale,
                  int threads) {
  using V = Vector<Element>;
  for_each_block(p.rows, threads, [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Drive *x = p.x + i * p.channels, *gate = p.gate_of(i);
      V squares{};
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V values = load(x + s.lane, s.n);
        squares += values * values;
      });
      const Element r = 1 / std::sqrt(total<Element>(squares) / p.channels + Element(eps));
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V result = load(x + s.lane, s.n) * r * load(p.weight + s.lane, s.n);
        if (gate) {
          const V g = load(gate + s.lane, s.n);
          result *= g * sigmoid(g);
        }
        store(y + i * p.channels + s.lane, result, s.n);
      });
      if (scale) scale[i] = r;
    }
  });
}

// d is the gradient of y; d_weight has a row for each block of rows.
template <class Element, class Drive>
void norm_backward(const Norm<Element, Drive>& p, const Element* scale, const Drive* d, Drive* d_x,
                   Element* d_weight, Drive* d_gate, int threads) {
  using V = Vector<Element>;
  for_each_block(p.rows, threads, [&](int64_t block, int64_t first, int64_t last) {
    Element* sum = d_weight + block * p.channels;
    std::fill(sum, sum + p.channels, Element(0));
    for (int64_t i = first; i < last; ++i) {
      const int64_t at = i * p.channels;
      const Drive* gate = p.gate_of(i);
      const Element r = scale[i];
      V products{};
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V into = load(d + at + s.lane, s.n);
        if (gate) {
          const V g = load(gate + s.lane, s.n);
          into *= g * sigmoid(g);
        }
        products += into * load(p.weight + s.lane, s.n) * load(p.x + at + s.lane, s.n);
      });
      const Element mean = total<Element>(products) * r / p.channels;
      p.row().template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const V weight = load(p.weight + s.lane, s.n);
        const V normal = load(p.x + at + s.lane, s.n) * r;
        V into = load(d + at + s.lane, s.n);
        if (gate) {
          const V g = load(gate + s.lane, s.n), open = sigmoid(g);
          store(d_gate + at + s.lane, into * normal * weight * open * (1 + g * (1 - open)), s.n);
          into *= g * open;
        }
        store(d_x + at + s.lane, r * (into * weight - normal * mean), s.n);
        store(sum + s.lane, load(sum + s.lane, s.n) + into * normal, s.n);
      });
    }
  });
}

}  // namespace paratime

#define PARATIME_NORM(format, Element, Drive)                                                   \
  extern "C" void paratime_rms_norm_##format(                                                   \
      int64_t rows, int64_t channels, const Drive* x, const Element* weight, const Drive* gate, \
      int64_t gate_stride, double eps, Drive* y, Element* scale, int32_t threads) {             \
    paratime::norm_forward<Element, Drive>({rows, channels, x, weight, gate, gate_stride}, eps, \
                                           y, scale, threads);                                  \
  }                                                                                             \
  extern "C" void paratime_rms_norm_backward_##format(                                          \
      int64_t rows, int64_t channels, const Drive* x, const Element* weight, const Drive* gate, \
      int64_t gate_stride, const Element* scale, const Drive* d, Drive* d_x, Element* d_weight, \
      Drive* d_gate, int32_t threads) {                                                         \
    paratime::norm_backward<Element, Drive>({rows, channels, x, weight, gate, gate_stride},     \
                                            scale, d, d_x, d_weight, d_gate, threads);          \
  }

PARATIME_NORM(float32, float, float)
PARATIME_NORM(float64, double, double)
PARATIME_NORM(bfloat16, float, paratime::BFloat16)
