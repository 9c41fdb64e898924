// The backward pass as a scan: lam[t-1] = J[t]^T (lam[t] + g[t]) from the last step to the first.
#pragma once

#include "look_back.h"

namespace paratime {

template <class Cell, class Drive>
struct Adjoint {
  using P = Problem<Cell, Drive>;
  using Element = typename P::Element;
  using V = typename P::V;
  static constexpr int state = P::state;
  static constexpr int chunk = P::drives <= 3 ? 8 : 4;

  P p;
  const Drive* y;          // (B, T, outputs, C)
  const Element* kept;     // (B, T, memory, C)
  const Drive* g;          // dL/dy, or null
  const Element* g_last;   // dL/dlast, or null
  Drive* d_u;
  Element* d_weight;       // (B * tiles, weights, C), to be summed
  Element* d_h0;

  using Drives = Staged<Drive, P::drives, chunk>;
  using Outputs = Staged<Drive, P::outputs, chunk>;
  using Memory = Staged<Element, P::memory, chunk>;

  static PARATIME_INLINE int bytes(int warps) {
    const int staged = Drives::bytes(warps) + 2 * Outputs::bytes(warps) + Memory::bytes(warps);
    const int sums = warps * P::weights * int(kWarp * sizeof(Element));
    return staged > sums ? staged : sums;
  }

  // Steps are counted from the last valid one back: step s is t = length - 1 - s.
  struct Work {
    const Adjoint& from;
    const P& p;
    const Place& place;
    Channel at;
    int offset, warps;
    Drives drives;
    Outputs before, arriving;
    Memory memory;
    int64_t last;  // t of this segment's first step, which is its latest
    int count;
    Weights<P> w;  // after the tile, which takes registers while it is filled
    V sum[P::weights];

    PARATIME_DEVICE Work(const Adjoint& source, const Place& place, int offset, int warps,
                         int64_t sequence, int64_t first)
        : from(source),
          p(source.p),
          place(place),
          at(place, p.channels, sequence),
          offset(offset),
          warps(warps),
          drives(offset, warps),
          before(offset + Drives::bytes(warps), warps),
          arriving(offset + Drives::bytes(warps) + Outputs::bytes(warps), warps),
          memory(offset + Drives::bytes(warps) + 2 * Outputs::bytes(warps), warps),
          last(p.length(at.b) - 1 - first - place.segment * chunk),
          count(fill(first)),
          w(p, at.c) {
#pragma unroll
      for (int i = 0; i < P::weights; ++i) sum[i] = V(0);
    }

    PARATIME_DEVICE void initial(V* lam) const {
#pragma unroll
      for (int i = 0; i < state; ++i)
        lam[i] = from.g_last ? from.g_last[p.of(at.b, state, at.c) + i * p.channels] : Element(0);
    }

    PARATIME_DEVICE void finish(const V* lam) const {
      if (at.here)
        store_column<state>(from.d_h0 + p.of(at.b, state, at.c), opaque(p.channels), lam);
    }

    PARATIME_DEVICE void compose(int i, Affine<V, state>& map) const {
      V h[state], next[state], jac[state * state], lam[state];
      Affine<V, state> after;
      const bool restart = load(i, h);
      Cell::linearize(drives.template at<V>(place, i), w, h, next, jac);
      arrive(i, map.b);
      Affine<V, state>::template product<true>(jac, map.a, after.a);
      pull(jac, map.b, lam);
#pragma unroll
      for (int k = 0; k < state * state; ++k) map.a[k] = restart ? V(0) : after.a[k];
#pragma unroll
      for (int k = 0; k < state; ++k) map.b[k] = restart ? V(0) : lam[k];
    }

    PARATIME_DEVICE void step(int i, V* lam) const {
      V h[state], earlier[state];
      const bool restart = load(i, h);
      arrive(i, lam);
      const auto u = drives.template at<V>(place, i);
      if constexpr (P::memory > 0) {  // whose Jacobians have zeros, which spread a NaN
        V d_u[P::drives];
        Cell::vjp(u, w, h, lam, d_u, earlier, [](int, V) {});
      } else {
        V next[state], jac[state * state];
        Cell::linearize(u, w, h, next, jac);
        pull(jac, lam, earlier);
      }
#pragma unroll
      for (int k = 0; k < state; ++k) lam[k] = restart ? V(0) : earlier[k];
    }

    PARATIME_DEVICE void walk(int i, V* lam) {
      V h[state], d_u[P::drives], d_h[state];
      const bool restart = load(i, h);
      arrive(i, lam);
      Cell::vjp(drives.template at<V>(place, i), w, h, lam, d_u, d_h,
                      [&](int row, V x) { sum[row] += x; });
#pragma unroll
      for (int k = 0; k < state; ++k) lam[k] = restart ? V(0) : d_h[k];
      if (at.here)
        store_column<P::drives>(from.d_u + p.at(at.b, last - i, P::drives, at.c), p.channels,
                                d_u);
    }

    // Sum the gradients of the weights over the block's segments, in a fixed order.
    PARATIME_DEVICE void close(const Place& place, int64_t tile, int64_t tiles) {
      const Shared<Element> sums(offset, warps * P::weights * kWarp);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < P::weights; ++i) {
        for (int apart = place.lanes; apart < int(kWarp); apart *= 2)
          sum[i] += __shfl_xor_sync(kAllLanes, sum[i].value, apart);
        sums.store((place.warp * P::weights + i) * kWarp + place.lane, sum[i].value);
      }
      __syncthreads();
      Element* to = from.d_weight + p.of(at.b * tiles + tile, P::weights, at.c);
      for (int i = place.warp; i < P::weights; i += warps) {
        Element total = 0;
        for (int warp = 0; warp < warps; ++warp)
          total += sums.load((warp * P::weights + i) * kWarp + place.lane);
        if (at.here && place.lane < place.lanes) to[i * p.channels] = total;
      }
    }

   private:
    // Begin to fill the tile; return the steps of this thread's segment.
    PARATIME_DEVICE int fill(int64_t first) const {
      const int64_t b = at.b, c0 = at.c0, width = p.channels - c0;
      const int64_t length = p.length(b), left = length - first, t = left - 1;
      const int tile = warps * place.segments * chunk;
      const int all = int(left < 0 ? 0 : left < tile ? left : tile);
      const int mine = all - place.segment * chunk;
      // The state before step 0 is h0, which lies elsewhere.
      const int known = all == left && all > 0 ? all - 1 : all;
      const auto row = [&](int rows) { return rows * p.channels; };
      drives.fill(place, p.u + p.at(b, t, P::drives, c0), -row(P::drives), p.channels, width, all);
      before.fill(place, from.y + p.at(b, t - 1, P::outputs, c0), -row(P::outputs), p.channels,
                  width, known);
      if constexpr (P::memory > 0)
        memory.fill(place, from.kept + p.at(b, t - 1, P::memory, c0), -row(P::memory), p.channels,
                    width, known);
      if (from.g)
        arriving.fill(place, from.g + p.at(b, t, P::outputs, c0), -row(P::outputs), p.channels,
                      width, all);
      const int64_t begin = first > length ? first : length;
      if (at.here)
        for (int64_t s = begin + place.segment; s < first + tile && s < p.steps;
             s += warps * place.segments)
          zero_column<P::drives>(from.d_u + p.at(b, s, P::drives, at.c), p.channels);
      return mine < chunk ? mine : chunk;
    }

    PARATIME_DEVICE bool load(int i, V* h) const {
      const int64_t t = last - i;
      if (t == 0) {
#pragma unroll
        for (int k = 0; k < state; ++k)
          h[k] = p.h0[p.of(at.b, state, at.c) + k * p.channels];
      } else {
        const auto kept = memory.template at<V>(place, i);
        const auto output = before.template at<V>(place, i);
#pragma unroll
        for (int k = 0; k < state; ++k)
          h[k] = k < P::memory ? kept(k) : output(k - P::memory);
      }
      const bool restart = p.restarts(at.b, t);
#pragma unroll
      for (int k = 0; k < state; ++k) h[k] = restart ? V(0) : h[k];
      return restart;
    }
    PARATIME_DEVICE void arrive(int i, V* lam) const {
      if (!from.g) return;
      const auto g = arriving.template at<V>(place, i);
#pragma unroll
      for (int k = 0; k < P::outputs; ++k) lam[P::memory + k] += g(k);
    }
    static PARATIME_DEVICE void pull(const V* jac, const V* lam, V* earlier) {
#pragma unroll
      for (int j = 0; j < state; ++j) {
        V x = jac[j] * lam[0];
#pragma unroll
        for (int i = 1; i < state; ++i) x += jac[i * state + j] * lam[i];
        earlier[j] = x;
      }
    }
  };
};

}  // namespace paratime
