// The selective scan of Mamba (arXiv 2312.00752): N numbers of state on each channel,
//
//     h[t, n] = exp(dt[t] a[n]) h[t-1, n] + dt[t] x[t] b[t, n],
//     y[t] = (sum_n c[t, n] h[t, n] + skip x[t]) silu(gate[t]),
//
// where b and c are the same for all channels, and a reset at t makes h[t-1] zero. With its
// gradient, for which the states of a block of steps are computed again from those before it.
// Channels are computed by themselves, and sums over them in fixed tiles, so that threads change no
// bit of any result.
#include <type_traits>
#include <vector>

#include "tiles.h"

namespace paratime {

constexpr int64_t kSteps = 32;     // of a block, before which states are kept
constexpr int64_t kChannels = 64;  // of a tile, whose gradients of b and c are one sum

template <class Element>
struct Selective {
  int64_t batch, steps, channels, size;
  const Element *x, *dt;   // (batch, steps, channels)
  const Element* a;        // (size, channels)
  const Element *b, *c;    // (batch, steps, size)
  const Element* skip;     // (channels,)
  const Element* gate;     // (batch, steps, channels), its sequences and rows so many numbers apart:
  int64_t gate_sequence, gate_row;
  const Element* h0;       // (batch, size, channels)
  const uint8_t* reset;    // (batch, steps), or null
  const int64_t* lengths;  // (batch,), or null

  int64_t blocks() const { return (steps + kSteps - 1) / kSteps; }
  int64_t tiles() const { return (channels + kChannels - 1) / kChannels; }
  int64_t length(int64_t i) const { return lengths ? lengths[i] : steps; }
  bool restarts(int64_t i, int64_t t) const { return reset && reset[i * steps + t]; }
  const Element* gate_of(int64_t i, int64_t t) const {
    return gate + i * gate_sequence + t * gate_row;
  }
};

// What a tile keeps in the cache: rows of kChannels numbers.
template <class Element>
PARATIME_INLINE Element* row(std::vector<Element>& rows, int64_t i) {
  return rows.data() + i * kChannels;
}

// Call body(sequence, tile, its channels) for all tiles of all sequences.
template <class Element, class Body>
void for_each_piece(const Selective<Element>& p, int threads, const Body& body) {
  const int64_t tiles = p.tiles(), count = p.batch * tiles;
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1)
  for (int64_t item = 0; item < count; ++item) {
    const int64_t first = item % tiles * kChannels;
    body(item / tiles, item % tiles, Tile{first, std::min(first + kChannels, p.channels)});
  }
}

// Copy the tile's channels of `size` rows of a tensor into the cache, or back.
template <class Element>
void fetch(const Selective<Element>& p, const Tile& tile, const Element* from, Element* to) {
  for (int64_t n = 0; n < p.size; ++n)
    std::copy(from + n * p.channels + tile.first, from + n * p.channels + tile.last,
              to + n * kChannels);
}

template <class Element>
void put(const Selective<Element>& p, const Tile& tile, const Element* from, Element* to) {
  for (int64_t n = 0; n < p.size; ++n)
    std::copy(from + n * kChannels, from + n * kChannels + (tile.last - tile.first),
              to + n * p.channels + tile.first);
}

// One step: h (size, kChannels) from `before`; returns sum_n c h on these lanes.
template <class Element>
PARATIME_INLINE Vector<Element> advance(const Selective<Element>& p, int64_t at, bool restarts,
                                        Span s, int64_t first, const Element* a,
                                        const Element* before, Element* h, Element* decays) {
  using V = Vector<Element>;
  const int64_t lane = s.lane - first;
  const V dt = load(p.dt + at * p.channels + s.lane, s.n);
  const V in = dt * load(p.x + at * p.channels + s.lane, s.n);
  const Element *b = p.b + at * p.size, *c = p.c + at * p.size;
  V y{};
  for (int64_t n = 0; n < p.size; ++n) {
    const int64_t place = n * kChannels + lane;
    V decay{};
    if (!restarts) decay = exp(dt * load(a + place, s.n));
    if (decays) store(decays + place, decay, s.n);
    const V next = decay * met(decay, load(before + place, s.n)) + in * b[n];
    store(h + place, next, s.n);
    y += next * c[n];
  }
  return y;
}

// `kept` (batch, blocks, size, channels) are the states before each block, and may be null; `final`
// (batch, size, channels) is the one after the last valid step.
template <class Element>
void selective_forward(const Selective<Element>& p, Element* y, Element* kept, Element* final,
                       int threads) {
  for_each_piece(p, threads, [&](int64_t i, int64_t, const Tile& tile) {
    thread_local std::vector<Element> h, a;
    h.resize(p.size * kChannels);
    a.resize(p.size * kChannels);
    fetch(p, tile, p.a, a.data());
    fetch(p, tile, p.h0 + i * p.size * p.channels, h.data());
    for (int64_t t = 0; t < p.steps; ++t) {
      const int64_t at = i * p.steps + t;
      if (kept && t % kSteps == 0)
        put(p, tile, h.data(), kept + (i * p.blocks() + t / kSteps) * p.size * p.channels);
      Element* out = y + at * p.channels;
      if (t >= p.length(i)) {
        std::fill(out + tile.first, out + tile.last, Element(0));
        continue;
      }
      const bool restarts = p.restarts(i, t);
      tile.template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        using V = Vector<Element>;
        Element* none = nullptr;
        V sum = advance(p, at, restarts, s, tile.first, a.data(), h.data(), h.data(), none);
        sum += load(p.skip + s.lane, s.n) * load(p.x + at * p.channels + s.lane, s.n);
        const V gate = load(p.gate_of(i, t) + s.lane, s.n);
        store(out + s.lane, sum * gate * sigmoid(gate), s.n);
      });
    }
    put(p, tile, h.data(), final + i * p.size * p.channels);
  });
}

template <class Element>
constexpr int kVectors = kChannels / width<Element>;  // of a tile

// What the gradients of a step need of a vector of its channels, and sums over its states.
template <class Element>
struct Terms {
  Vector<Element> into, in, dt, through_a, through_b;
};

// d and d_final are the gradients of y and final; d_b and d_c (tiles, batch, steps, size) are sums
// over tiles, d_a (batch, size, channels) and d_skip (batch, channels) over steps.
template <class Element>
void selective_backward(const Selective<Element>& p, const Element* kept, const Element* d,
                        const Element* d_final, Element* d_x, Element* d_dt, Element* d_a,
                        Element* d_b, Element* d_c, Element* d_skip, Element* d_gate,
                        Element* d_h0, int threads) {
  using V = Vector<Element>;
  for_each_piece(p, threads, [&](int64_t i, int64_t number, const Tile& tile) {
    thread_local std::vector<Element> a, h, decays, lam, y, of_a, of_skip;
    const int64_t rows = p.size, state = rows * kChannels, whole = rows * p.channels;
    for (auto* x : {&a, &lam, &of_a}) x->assign(state, Element(0));
    of_skip.assign(kChannels, Element(0));
    y.resize(kSteps * kChannels);
    decays.assign(kSteps * state, Element(0));  // lanes beyond the last channel stay zero
    h.assign((kSteps + 1) * state, Element(0));
    fetch(p, tile, p.a, a.data());
    fetch(p, tile, d_final + i * whole, lam.data());
    for (int64_t block = p.blocks() - 1; block >= 0; --block) {
      const int64_t first = block * kSteps, end = std::min(first + kSteps, p.steps);
      const int64_t last = std::max(first, std::min(end, p.length(i)));
      const auto of = [&](std::vector<Element>& x, int64_t t) { return row(x, (t - first) * rows); };
      fetch(p, tile, kept + (i * p.blocks() + block) * whole, h.data());
      for (int64_t t = first; t < last; ++t) {
        const bool restarts = p.restarts(i, t);
        tile.template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
          store(row(y, t - first) + s.lane - tile.first,
                advance(p, i * p.steps + t, restarts, s, tile.first, a.data(), of(h, t),
                        of(h, t + 1), of(decays, t)),
                s.n);
        });
      }
      for (int64_t t = end - 1; t >= first; --t) {
        const int64_t at = i * p.steps + t, sums = ((number * p.batch + i) * p.steps + t) * rows;
        if (t >= last) {
          for (Element* x : {d_x, d_dt, d_gate})
            std::fill(x + at * p.channels + tile.first, x + at * p.channels + tile.last, 0);
          std::fill(d_b + sums, d_b + sums + rows, Element(0));
          std::fill(d_c + sums, d_c + sums + rows, Element(0));
          continue;
        }
        const Element *b = p.b + at * rows, *c = p.c + at * rows;
        const Element *before = of(h, t), *now = of(h, t + 1), *decay = of(decays, t);
        const bool restarts = p.restarts(i, t);
        Terms<Element> terms[kVectors<Element>];
        tile.template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
          const int64_t lane = s.lane - tile.first, here = at * p.channels + s.lane;
          const V x = load(p.x + here, s.n), dt = load(p.dt + here, s.n);
          const V gate = load(p.gate_of(i, t) + s.lane, s.n), open = sigmoid(gate);
          const V outer = load(d + here, s.n);
          const V sum = load(row(y, t - first) + lane, s.n) + load(p.skip + s.lane, s.n) * x;
          store(d_gate + here, outer * sum * open * (1 + gate * (1 - open)), s.n);
          const V into = outer * gate * open;
          store(of_skip.data() + lane, load(of_skip.data() + lane, s.n) + into * x, s.n);
          terms[lane / width<Element>] = {into, dt * x, dt, V{}, V{}};
        });
        const auto vjp = [&](auto vectors) __attribute__((always_inline)) {
          for (int64_t n = 0; n < rows; ++n) {
            V of_b{}, of_c{};
            for (int v = 0; v < vectors; ++v) {
              constexpr int all = width<Element>;
              const int64_t place = n * kChannels + v * all;
              Terms<Element>& x = terms[v];
              const V adjoint = load(lam.data() + place, all) + x.into * c[n];
              of_c += x.into * load(now + place, all);
              of_b += x.in * adjoint;
              x.through_b += adjoint * b[n];
              V passed{};
              if (!restarts) {
                const V open = load(decay + place, all);
                const V slope = adjoint * open * met(open, load(before + place, all));
                passed = open * met(open, adjoint);
                x.through_a += slope * load(a.data() + place, all);
                store(of_a.data() + place, load(of_a.data() + place, all) + slope * x.dt, all);
              }
              store(lam.data() + place, passed, all);
            }
            d_b[sums + n] = total<Element>(of_b);
            d_c[sums + n] = total<Element>(of_c);
          }
        };
        if (tile.last - tile.first == kChannels)
          vjp(std::integral_constant<int, kVectors<Element>>{});
        else
          vjp(int((tile.last - tile.first + width<Element> - 1) / width<Element>));
        tile.template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
          const int64_t here = at * p.channels + s.lane;
          const Terms<Element>& x = terms[(s.lane - tile.first) / width<Element>];
          const V skipped = x.into * load(p.skip + s.lane, s.n);
          store(d_x + here, x.through_b * x.dt + skipped, s.n);
          store(d_dt + here, x.through_b * load(p.x + here, s.n) + x.through_a, s.n);
        });
      }
    }
    std::copy(of_skip.data(), of_skip.data() + (tile.last - tile.first),
              d_skip + i * p.channels + tile.first);
    put(p, tile, of_a.data(), d_a + i * whole);
    put(p, tile, lam.data(), d_h0 + i * whole);
  });
}

}  // namespace paratime

#define PARATIME_SELECTIVE(format, Element)                                                       \
  PARATIME_EXPORT void paratime_selective_scan_##format(                                          \
      int64_t batch, int64_t steps, int64_t channels, int64_t size, const Element* x,             \
      const Element* dt, const Element* a, const Element* b, const Element* c,                    \
      const Element* skip, const Element* gate, int64_t gate_sequence, int64_t gate_row,          \
      const Element* h0, const uint8_t* reset, const int64_t* lengths, Element* y, Element* kept, \
      Element* final, int32_t threads) {                                                          \
    paratime::selective_forward<Element>({batch, steps, channels, size, x, dt, a, b, c, skip,     \
                                          gate, gate_sequence, gate_row, h0, reset, lengths},     \
                                         y, kept, final, threads);                                \
  }                                                                                               \
  PARATIME_EXPORT void paratime_selective_scan_backward_##format(                                 \
      int64_t batch, int64_t steps, int64_t channels, int64_t size, const Element* x,             \
      const Element* dt, const Element* a, const Element* b, const Element* c,                    \
      const Element* skip, const Element* gate, int64_t gate_sequence, int64_t gate_row,          \
      const Element* h0, const uint8_t* reset, const int64_t* lengths, const Element* kept,       \
      const Element* d, const Element* d_final, Element* d_x, Element* d_dt, Element* d_a,        \
      Element* d_b, Element* d_c, Element* d_skip, Element* d_gate, Element* d_h0,                \
      int32_t threads) {                                                                          \
    paratime::selective_backward<Element>(                                                        \
        {batch, steps, channels, size, x, dt, a, b, c, skip, gate, gate_sequence, gate_row, h0,   \
         reset, lengths},                                                                         \
        kept, d, d_final, d_x, d_dt, d_a, d_b, d_c, d_skip, d_gate, d_h0, threads);               \
  }

PARATIME_SELECTIVE(float32, float)
PARATIME_SELECTIVE(float64, double)
