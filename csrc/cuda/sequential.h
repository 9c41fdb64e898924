// The recurrence step after step: a thread has a channel of a sequence, and keeps its state.
//
// Nothing is computed twice, so this is the fastest way wherever channels alone fill the device.
// The drives of the next steps are under way while the present ones are computed.
#pragma once

#include "problem.h"

namespace paratime {

constexpr int kSequentialThreads = 64;  // few a block, so that blocks spread over the device

template <int bytes>
constexpr int kAhead = bytes <= 12 ? 4 : bytes <= 24 ? 2 : 1;

// Whether the registers hold the drives of later steps beside the present ones.
template <class P>
constexpr bool kFetchesAhead = P::drives * sizeof(typename P::Element) <= 48;

template <class Cell, class Drive>
__global__ __launch_bounds__(kSequentialThreads, 1) void forward_sequential(
    Problem<Cell, Drive> p, Drive* y, int64_t y_stride, ElementOf<Drive>* memory,
    ElementOf<Drive>* last) {
  using P = Problem<Cell, Drive>;
  using V = typename P::V;
  constexpr int ahead = kAhead<P::drives * sizeof(typename P::Element)>;
  const Division at(blockIdx.x * blockDim.x + threadIdx.x, p.channels);
  const int64_t b = at.quotient, c = at.rest;
  if (b >= p.batch) return;
  const int64_t length = p.length(b);
  const Weights<P> w(p, c);
  V h[P::state];
  load_column<P::state>(p.h0 + p.of(b, P::state, c), p.channels, h);

  Drive waiting[ahead][P::drives];
  bool restarting[ahead];
  const auto fetch = [&](int i, int64_t t) {
    if (t >= length) return;
    const Drive* u = p.u + p.at(b, t, P::drives, c);
#pragma unroll
    for (int row = 0; row < P::drives; ++row) waiting[i][row] = u[row * p.channels];
    restarting[i] = p.restarts(b, t);
  };
#pragma unroll
  for (int i = 0; i < ahead; ++i) fetch(i, i);

  Drive* to = y + b * y_stride + c;
  for (int64_t first = 0; first < length; first += ahead) {
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int64_t t = first + i;
      if (t >= length) break;
      V u[P::drives], next[P::state];
#pragma unroll
      for (int row = 0; row < P::drives; ++row) u[row] = widen(waiting[i][row]);
#pragma unroll
      for (int row = 0; row < P::state; ++row) h[row] = restarting[i] ? V{} : h[row];
      fetch(i, t + ahead);
      Cell::step(Registers<V>{u}, w, h, next);
#pragma unroll
      for (int row = 0; row < P::state; ++row) h[row] = next[row];
      store_column<P::outputs>(to + t * P::outputs * p.channels, p.channels, h + P::memory);
      if (memory)
        store_column<P::memory>(memory + p.at(b, t, P::memory, c), p.channels, h);
    }
  }
  store_column<P::state>(last + p.of(b, P::state, c), p.channels, h);
  fill_after(p, y, y_stride, memory, b, c, length);
}

// From g = dL/dy and g_last = dL/dlast (either may be null) to the gradients of u and h0, and those
// of the weights for each sequence (B, weights, C). The gates are computed again.
template <class Cell, class Drive>
__global__ __launch_bounds__(kSequentialThreads, 1) void backward_sequential(
    Problem<Cell, Drive> p, const Drive* y, const ElementOf<Drive>* memory, const Drive* g,
    const ElementOf<Drive>* g_last, Drive* d_u, ElementOf<Drive>* d_weight,
    ElementOf<Drive>* d_h0) {
  using P = Problem<Cell, Drive>;
  using V = typename P::V;
  constexpr int ahead = kAhead<P::drives * sizeof(typename P::Element)>;
  const Division at(blockIdx.x * blockDim.x + threadIdx.x, p.channels);
  const int64_t b = at.quotient, c = at.rest;
  if (b >= p.batch) return;
  const int64_t length = p.length(b);
  const Weights<P> w(p, c);
  Sums<P> sums(d_weight + p.of(b, P::weights, c), p.channels);
  V lam[P::state];
#pragma unroll
  for (int i = 0; i < P::state; ++i) lam[i] = V{};
  if (g_last) load_column<P::state>(g_last + p.of(b, P::state, c), p.channels, lam);

  Drive waiting[ahead][P::drives], arriving[ahead][P::outputs];
  V before[ahead][P::state];
  bool restarting[ahead];
  const auto fetch = [&](int i, int64_t t) {
    if (t < 0) return;
    const Drive* u = p.u + p.at(b, t, P::drives, c);
#pragma unroll
    for (int row = 0; row < P::drives; ++row) waiting[i][row] = u[row * p.channels];
#pragma unroll
    for (int row = 0; row < P::outputs; ++row)
      arriving[i][row] = g ? g[p.at(b, t, P::outputs, c) + row * p.channels] : Drive{};
    restarting[i] = p.restarts(b, t);
    load_before(p, y, memory, b, t, c, before[i]);
  };
  if (kFetchesAhead<P>)
#pragma unroll
    for (int i = 0; i < ahead; ++i) fetch(i, length - 1 - i);

  for (int64_t from = length - 1; from >= 0; from -= ahead) {
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int64_t t = kFetchesAhead<P> ? from - i : opaque(from - i);
      if (t < 0) break;
      if (!kFetchesAhead<P>) fetch(i, t);
      V u[P::drives], h[P::state], d_u_now[P::drives], d_h[P::state];
#pragma unroll
      for (int row = 0; row < P::drives; ++row) u[row] = widen(waiting[i][row]);
#pragma unroll
      for (int row = 0; row < P::state; ++row) h[row] = restarting[i] ? V{} : before[i][row];
#pragma unroll
      for (int row = 0; row < P::outputs; ++row) lam[P::memory + row] += widen(arriving[i][row]);
      const bool restart = restarting[i];
      if (kFetchesAhead<P>) fetch(i, t - ahead);
      Cell::vjp(Registers<V>{u}, w, h, lam, d_u_now, d_h, sums);
#pragma unroll
      for (int row = 0; row < P::state; ++row) lam[row] = restart ? V{} : d_h[row];
      store_column<P::drives>(d_u + p.at(b, t, P::drives, c), p.channels, d_u_now);
    }
  }
  store_column<P::state>(d_h0 + p.of(b, P::state, c), p.channels, lam);
  sums.store();
  for (int64_t t = length; t < p.steps; ++t)
    zero_column<P::drives>(d_u + p.at(b, t, P::drives, c), p.channels);
}

}  // namespace paratime
