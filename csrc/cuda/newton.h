// Newton multiple shooting, parallel over time inside a block, which walks its tiles in order.
//
// A thread shoots through its segment from a guessed start s, and gets its end phi and slope P =
// dphi / ds. The corrections d = s' - s then follow from the linearised matching conditions
//
//     s'[j+1] = phi[j] + P[j] d[j],    d[j+1] = s'[j+1] - s[j+1],    d[0] = 0,
//
// a linear recurrence over the segments: by doubling inside a warp, one map a warp between warps.
// After i iterations the first i starts are exact, as d = 0 makes s' = phi to the bit, so that as
// many iterations as there are segments always end with the loop's own result. Once all relative
// corrections are within the tolerance, a last walk from the corrected starts writes the outputs;
// their error is of the order of the tolerance squared. The first start of a tile is the state in
// which the walk left the tile before, so that nothing is lost between tiles.
#pragma once

#include "affine.h"

namespace paratime {

// No cell of cells.h leaves [-1, 1] once inside, but for rounding; neither need a guess.
template <class E>
constexpr E kBox = E(1.0001);

template <class Cell, class Drive>
struct NewtonTile {
  using P = Problem<Cell, Drive>;
  using E = typename P::Element;
  static constexpr int chunk = Cell::drives <= 3 ? 16 : Cell::drives <= 6 ? 8 : 4;
  static constexpr int map = P::state * P::state + P::state;
  using Drives = Staged<Drive, P::drives, chunk>;

  // Where the parts of shared memory begin.
  int warps, maps, entries, carry, resets, bytes;

  PARATIME_INLINE NewtonTile(int threads, int lanes_log2)
      : warps(threads / int(kWarp)),
        maps(Drives::bytes(warps)),
        entries(maps + warps * map * int(kWarp * sizeof(E))),
        carry(entries + warps * P::state * int(kWarp * sizeof(E))),
        resets(carry + P::state * int(kWarp * sizeof(E))),
        bytes(resets + steps(threads, lanes_log2)) {}

  static PARATIME_INLINE int steps(int threads, int lanes_log2) {
    return (threads >> lanes_log2) * chunk;
  }
};

// A thread's segment of a tile.
template <class Cell, class Drive>
struct Segment {
  using P = Problem<Cell, Drive>;
  using V = typename P::V;
  using Map = Affine<V, P::state>;
  using Tile = NewtonTile<Cell, Drive>;

  const Place& place;
  const typename Tile::Drives& drives;
  const Shared<uint8_t>& resets;
  const Weights<P>& w;
  bool masked;       // whether there are resets
  int begin, count;  // steps of the tile; count may be negative

  // Step from the state h before step i.
  PARATIME_DEVICE void step(int i, V* h) const {
    V next[P::state];
    restart(i, h);
    Cell::step(drives.template at<V>(place, i), w, h, next);
    move(next, h);
  }

  // Step through the whole segment, and return its slope.
  PARATIME_DEVICE Map shoot(V* h) const {
    Map slope = Map::identity();
    for (int i = 0; i < count; ++i) {
      V next[P::state], jac[P::state * P::state], product[P::state * P::state];
      const bool restarted = restart(i, h);
      Cell::linearize(drives.template at<V>(place, i), w, h, next, jac);
      Map::template product<false>(jac, slope.a, product);
#pragma unroll
      for (int k = 0; k < P::state * P::state; ++k) slope.a[k] = restarted ? V(0) : product[k];
      slope.limit();
      move(next, h);
    }
    return slope;
  }

 private:
  PARATIME_DEVICE bool restart(int i, V* h) const {
    const bool restarted = masked && resets.load(begin + i);
#pragma unroll
    for (int k = 0; k < P::state; ++k) h[k] = restarted ? V(0) : h[k];
    return restarted;
  }
  static PARATIME_DEVICE void move(const V* from, V* to) {
#pragma unroll
    for (int k = 0; k < P::state; ++k) to[k] = from[k];
  }
};

// x, or 0 if it is no number. A correction that is none, as an infinity or a NaN has come or gone,
// must not be carried on into segments that a reset has freed of it; while there is such a thing, no
// correction is within the tolerance, and the iterations go on until all starts are exact.
template <class V>
PARATIME_DEVICE V number_or_0(V x) {
  return x.value == x.value ? x : V(0);
}

// Replace the starts by the corrected ones; return this thread's largest relative correction.
template <class Cell, class Drive, class V, class E, class Map>
PARATIME_DEVICE V correct(const Place& place, const Shared<E>& maps, const Shared<E>& entries,
                          const V* end, const Map& slope, bool boxed, V* start) {
  constexpr int K = Cell::state, rows = K * K + K;
  Map through = slope;  // from d of this segment to that of the next
#pragma unroll
  for (int i = 0; i < K; ++i) {
    const V next = __shfl_down_sync(kAllLanes, start[i].value, place.lanes);
    through.b[i] = end[i] - next;
  }
  Map before = compose_before<true>(place, through);
#pragma unroll
  for (int i = 0; i < K; ++i) before.b[i] = number_or_0(before.b[i]);
  Map out = slope;  // from d of this segment to the start of the next
#pragma unroll
  for (int i = 0; i < K; ++i) out.b[i] = end[i];
  if (place.inner == place.segments - 1) {
    Map leaving = out.after(before);
    leaving.limit();
    leaving.store(maps, place.warp * rows * kWarp + place.channel, kWarp);
  }
  if (place.inner == 0)
    for (int i = 0; i < K; ++i)
      entries.store((place.warp * K + i) * kWarp + place.channel, start[i].value);
  __syncthreads();

  V d[K], entry[K], after[K];
#pragma unroll
  for (int i = 0; i < K; ++i) d[i] = V(0);
#pragma unroll
  for (int i = 0; i < K; ++i) entry[i] = entries.load(i * kWarp + place.channel);
  for (int warp = 0; warp < place.warp; ++warp) {
    Map::load(maps, warp * rows * kWarp + place.channel, kWarp).apply(d, entry);
#pragma unroll
    for (int i = 0; i < K; ++i)
      d[i] = number_or_0(entry[i] - V(entries.load(((warp + 1) * K + i) * kWarp + place.channel)));
  }
  V mine[K];
  before.apply(d, mine);
  out.apply(mine, after);
  V moved = V(0);
#pragma unroll
  for (int i = 0; i < K; ++i) {
    const V below = __shfl_up_sync(kAllLanes, after[i].value, place.lanes);
    E next = (place.inner == 0 ? entry[i] : below).value;
    if (boxed) next = clamp(next, -kBox<E>, kBox<E>);
    const E old = start[i].value, size = next - old < 0 ? old - next : next - old;
    const E relative = size * E(reciprocal_fast(1 + (old < 0 ? -old : old)));
    moved = relative <= moved.value || moved.value != moved.value ? moved : V(relative);
    start[i] = next;
  }
  return moved;
}

// report: the most iterations of any tile, and the largest last correction, as bits of a float.
template <class Cell, class Drive>
__global__ __launch_bounds__(kMostThreads, kBlocks<Cell::state, ElementOf<Drive>>) void forward_newton(
    Problem<Cell, Drive> p, Drive* y, int64_t y_stride, ElementOf<Drive>* memory,
    ElementOf<Drive>* last, ElementOf<Drive> tolerance, int lanes_log2, int* report) {
  using P = Problem<Cell, Drive>;
  using E = typename P::Element;
  using V = typename P::V;
  using Map = Affine<V, P::state>;
  using Tile = NewtonTile<Cell, Drive>;
  const Tile layout(blockDim.x, lanes_log2);
  const Place place(lanes_log2);
  const typename Tile::Drives drives(0, layout.warps);
  const Shared<E> maps(layout.maps, layout.warps * Tile::map * kWarp);
  const Shared<E> entries(layout.entries, layout.warps * P::state * kWarp);
  const Shared<E> carry(layout.carry, P::state * kWarp);
  const Shared<uint8_t> resets(layout.resets, layout.bytes - layout.resets);

  const Channel channel(place, p.channels, blockIdx.x);
  const int64_t b = channel.b, c = channel.c, c0 = channel.c0;
  const int64_t length = p.length(b), stride = P::drives * p.channels;
  const int tile = Tile::steps(blockDim.x, lanes_log2);

  const Weights<P> w(p, c);
  Segment<Cell, Drive> segment{place, drives, resets, w, p.reset != nullptr, 0, 0};
  if (place.segment == 0)
    for (int i = 0; i < P::state; ++i)
      carry.store(i * kWarp + place.channel, p.h0[p.of(b, P::state, c) + i * p.channels]);
  int most = 0;
  float correction = 0;

  for (int64_t first = 0; first < length; first += tile) {
    const int count = int(length - first < tile ? length - first : tile);
    const Drive* u = p.u + p.at(b, first, P::drives, c0);
    drives.fill(place, u, stride, p.channels, p.channels - c0, count);
    if (p.reset)
      for (int i = threadIdx.x; i < count; i += blockDim.x)
        resets.store(i, p.reset[b * p.steps + first + i]);
    copies_arrive();
    __syncthreads();
    const int64_t ahead = length - first - tile;
    if (ahead > 0)
      Tile::Drives::prefetch(u + tile * stride, stride, p.channels, int(ahead < tile ? ahead : tile));

    segment.begin = place.segment * Tile::chunk;
    segment.count = count - segment.begin < Tile::chunk ? count - segment.begin : Tile::chunk;
    V start[P::state];
    bool boxed = true;
#pragma unroll
    for (int i = 0; i < P::state; ++i) {
      start[i] = carry.load(i * kWarp + place.channel);
      boxed = boxed && start[i].value <= 1 && start[i].value >= -1;
    }

    const int segments = (count + Tile::chunk - 1) / Tile::chunk;
    for (int iteration = 1; iteration < segments; ++iteration) {
      V end[P::state];
#pragma unroll
      for (int i = 0; i < P::state; ++i) end[i] = start[i];
      const Map slope = segment.shoot(end);
      const V moved = correct<Cell, Drive>(place, maps, entries, end, slope, boxed, start);
      const bool converged = moved.value <= tolerance;  // not if it is a NaN
      most = iteration > most ? iteration : most;
      if (__syncthreads_and(converged)) {
        correction = fmaxf(correction, float(moved.value));
        break;
      }
    }

    for (int i = 0; i < segment.count; ++i) {
      segment.step(i, start);
      if (!channel.here) continue;
      const int64_t t = first + segment.begin + i;
      store_column<P::outputs>(y + b * y_stride + t * P::outputs * p.channels + c, p.channels,
                               start + P::memory);
      if (memory) store_column<P::memory>(memory + p.at(b, t, P::memory, c), p.channels, start);
    }
    __syncthreads();  // all have read carry, and the drives
    if (segment.count > 0 && segment.begin + segment.count == count)
      for (int i = 0; i < P::state; ++i) carry.store(i * kWarp + place.channel, start[i].value);
  }
  __syncthreads();
  if (channel.here && place.segment == 0)
    for (int i = 0; i < P::state; ++i)
      last[p.of(b, P::state, c) + i * p.channels] = carry.load(i * kWarp + place.channel);
  if (channel.here)
    fill_after(p, y, y_stride, memory, b, c, length + place.segment, blockDim.x >> lanes_log2);
  atomicMax(report, most);
  atomicMax(report + 1, bits_as<int>(correction));  // bits of floats from 0 on are in their order
}

}  // namespace paratime
