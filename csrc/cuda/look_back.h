// Scans x[s+1] = A[s] x[s] + b[s], parallel over time across blocks, in one pass over memory.
//
// A block composes the maps of its tile, and publishes their composition (the aggregate) before it
// knows the tile's first state. To learn that, it looks back: it waits for the state behind the
// last whole group of 32 tiles, and applies the aggregates of the tiles since (decoupled look-back,
// Merrill and Garland, NVR-2016-002). Unlike there, what a tile combines does not depend on who
// came first, so that results are the same to the bit in every run.
//
// Blocks take their tiles from a counter: a tile's predecessors have all begun, so no block waits
// for one that cannot start.
//
// Maps compose only where all numbers are tame, so that no product overflows: zero times infinity is
// no number, and a product of slopes may vanish without any of them being zero. A tile whose map or
// first state is not tame walks its segments one after another, as the loop would, and publishes the
// state after it; with a map that is not tame it publishes no aggregate. Should aggregates lead to a
// state that is not finite, the one before was not tame, and the predecessor publishes its own, for
// which the tile waits. This is slower, and never wrong.
//
// A Source is what is scanned: its tensors, and a class Work that does a thread's share of a tile.
//   state, chunk, Element, V, bytes(warps)   numbers a channel, steps a segment, formats, and what
//                                            Work keeps in shared memory;
//   Work(source, place, offset, warps, sequence, first)   begins to fill it, `first` step on;
//   initial(x), finish(x)                    the state before the first, and after the last step;
//   compose(i, map), step(i, x)              step i of the segment, after a map, or from a state,
//                                            of which a slope of zero passes on nothing;
//   walk(i, x), close(place, tile, tiles)    the same, with the results written, and the end;
//   count                                    the steps of this thread's segment.
#pragma once

#include <algorithm>

#include "affine.h"

namespace paratime {

constexpr int kGroup = kWarp;  // tiles that are combined between two published states

// Maps that a lane loads before it applies them, as many as its registers hold: each by itself would
// wait for the cache.
template <int K>
constexpr int kMapsAhead = K == 1 ? 8 : 2;

// What tiles tell each other; all zero before the launch.
enum Told { kAggregate = 1, kNoAggregate = 2, kState = 4 };

template <class E>
struct Chain {
  int64_t tiles;  // of a sequence
  int* next;      // the counter that blocks take their tiles from
  int* told;      // (sequences, tiles)
  E* maps;        // (sequences, tiles, K * K + K, 32)
  E* states;      // (sequences, tiles, K, 32)
};

template <class Source>
struct LookBackTile {
  using E = typename Source::Element;
  static constexpr int K = Source::state, map = K * K + K;
  int warps, totals, carry, number, source, bytes;

  PARATIME_INLINE explicit LookBackTile(int threads)
      : warps(threads / int(kWarp)),
        totals(0),
        carry(warps * map * int(kWarp * sizeof(E))),
        number(carry + K * int(kWarp * sizeof(E))),
        source(number + 16),
        bytes(source + Source::bytes(warps)) {}

  static PARATIME_INLINE int64_t steps(int threads, int lanes_log2) {
    return int64_t(threads >> lanes_log2) * Source::chunk;
  }

  // As many threads as leave room for two blocks on the smallest device.
  static PARATIME_INLINE int threads() {
    int n = kMostThreads;
    while (n > int(kWarp) && LookBackTile(n).bytes > 80 * 1024) n /= 2;
    return n;
  }
};

// The state before a tile, from what its predecessors have told; by one warp, a channel a lane.
// Returns whether it is not tame: then the tile must tell the state after it.
template <int K, class Work, class E, class V>
PARATIME_DEVICE bool look_back(const Work& work, const Chain<E>& chain, const Place& place,
                               int64_t sequence, int64_t tile, V* x) {
  constexpr int rows = K * K + K, ahead = kMapsAhead<K>;
  const int64_t row = sequence * chain.tiles;
  const int* told = chain.told + row;
  const auto wait = [&](int64_t of, int what) {
    int now = load_acquire(told + of);
    while (!(now & what)) {
      __nanosleep(20);
      now = load_acquire(told + of);
    }
    return now;
  };
  const auto load_state = [&](int64_t of) {
    const E* from = chain.states + (row + of) * K * kWarp + place.lane;
#pragma unroll
    for (int i = 0; i < K; ++i) x[i] = place.lane < place.lanes ? from[i * kWarp] : E(0);
  };
  int64_t from = tile / kGroup * kGroup;
  const int64_t watched = from + place.lane;
  const int now = watched < tile ? wait(watched, kAggregate | kNoAggregate) : int(kAggregate);
  const unsigned without = __ballot_sync(kAllLanes, now & kNoAggregate);
  __syncwarp();  // a lane reads what others have seen told
  if (without) from += int(kWarp) - __clz(without);
  if (from > 0) {
    wait(from - 1, kState);
    __syncwarp();
    load_state(from - 1);
  } else {
    work.initial(x);
  }
  const E* map = chain.maps + (row + from) * rows * kWarp + place.lane;
  const bool idle = place.lane >= place.lanes;
#pragma unroll 1
  for (int left = idle ? 0 : int(tile - from); left > 0; left -= ahead) {
    Affine<V, K> f[ahead];
#pragma unroll
    for (int n = 0; n < ahead; ++n, map += rows * kWarp) {
#pragma unroll
      for (int i = 0; i < K * K; ++i) f[n].a[i] = n < left ? map[i * kWarp] : E(0);
#pragma unroll
      for (int i = 0; i < K; ++i) f[n].b[i] = n < left ? map[(K * K + i) * kWarp] : E(0);
    }
#pragma unroll
    for (int n = 0; n < ahead; ++n) {
      V y[K];
      f[n].apply(x, y);
#pragma unroll
      for (int i = 0; i < K; ++i) x[i] = n < left ? y[i] : x[i];
    }
  }
  if (__all_sync(kAllLanes, idle || all_tame<K>(x))) return false;
  if (tile > from && !__all_sync(kAllLanes, idle || all_finite<K>(x))) {
    wait(tile - 1, kState);
    __syncwarp();
    load_state(tile - 1);
  }
  return true;
}

// Blocks that shall fit at a time: maps of two numbers would spill from the registers of a fourth.
template <class Source>
constexpr int kScanBlocks = std::min(kBlocks<Source::state, typename Source::Element>,
                                     Source::state == 2 ? 3 : 4);

template <class Source>
__global__ __launch_bounds__(kMostThreads, kScanBlocks<Source>) void scan_tiles(
    Source source, Chain<typename Source::Element> chain, int lanes_log2) {
  using E = typename Source::Element;
  using V = typename Source::V;
  constexpr int K = Source::state, rows = K * K + K;
  using Map = Affine<V, K>;
  const LookBackTile<Source> layout(blockDim.x);
  const Place place(lanes_log2);
  const Shared<E> totals(layout.totals, layout.warps * rows * kWarp), carry(layout.carry, K * kWarp);
  const Shared<int> number(layout.number, 2);

  if (threadIdx.x == 0) number.store(0, atomicAdd(chain.next, 1));
  __syncthreads();
  const Division of(number.load(0), Division(gridDim.x, chain.tiles).quotient);
  const int64_t tile = of.quotient, sequence = of.rest;
  const int64_t part = unsigned(sequence * chain.tiles + tile);  // fewer than blocks
  const int64_t first = tile * LookBackTile<Source>::steps(blockDim.x, lanes_log2);
  typename Source::Work work(source, place, layout.source, layout.warps, sequence, first);
  copies_arrive();
  __syncthreads();

  Map total = Map::identity();
  for (int i = 0; i < work.count; ++i) work.compose(i, total);
  const Map before = compose_before<false>(place, total);
  if (place.inner == place.segments - 1)
    total.store(totals, place.warp * rows * kWarp + place.channel, kWarp);
  const bool steep = __syncthreads_or(!total.is_tame());

  const auto tell = [&](int what) {
    __threadfence();
    __syncwarp();
    if (place.lane == 0) store_release(chain.told + part, what);
  };
  const auto tell_state = [&](int what, const V* x) {
    E* to = chain.states + part * K * kWarp + place.lane;
#pragma unroll
    for (int i = 0; i < K; ++i) to[i * kWarp] = x[i].value;
    tell(what | kState);
    if (tile == chain.tiles - 1 && place.lane < place.lanes) work.finish(x);
  };
  V x[K];
  if (place.warp == 0) {
    int told = kNoAggregate;
    if (!steep) {
      Map aggregate = Map::load(totals, place.channel, kWarp);
      bool tame = true;
      for (int warp = 1; warp < layout.warps; ++warp) {
        aggregate = Map::load(totals, warp * rows * kWarp + place.channel, kWarp).after(aggregate);
        tame = tame && aggregate.is_tame();
      }
      if (__all_sync(kAllLanes, tame)) {
        E* to = chain.maps + part * rows * kWarp + place.lane;
#pragma unroll
        for (int i = 0; i < K * K; ++i) to[i * kWarp] = aggregate.a[i].value;
#pragma unroll
        for (int i = 0; i < K; ++i) to[(K * K + i) * kWarp] = aggregate.b[i].value;
        told = kAggregate;
      }
    }
    tell(told);
    const bool lost = look_back<K>(work, chain, place, sequence, tile, x);
    if (place.lane < place.lanes)
#pragma unroll
      for (int i = 0; i < K; ++i) carry.store(i * kWarp + place.lane, x[i].value);
    const bool walks = lost || told == kNoAggregate;
    if (place.lane == 0) number.store(1, walks ? told : 0);
    if (!walks && (tile % kGroup == kGroup - 1 || tile == chain.tiles - 1)) {
      for (int warp = 0; warp < layout.warps; ++warp) {
        V y[K];
        Map::load(totals, warp * rows * kWarp + place.channel, kWarp).apply(x, y);
#pragma unroll
        for (int i = 0; i < K; ++i) x[i] = y[i];
      }
      tell_state(told, x);
    }
  }
  __syncthreads();

  if (const int told = number.load(1)) {
    V mine[K]{};
    for (int segment = 0; segment < layout.warps * place.segments; ++segment) {
      if (place.segment == segment) {
#pragma unroll
        for (int i = 0; i < K; ++i) mine[i] = x[i] = carry.load(i * kWarp + place.channel);
        for (int i = 0; i < work.count; ++i) work.step(i, x);
#pragma unroll
        for (int i = 0; i < K; ++i) carry.store(i * kWarp + place.channel, x[i].value);
      }
      __syncthreads();
    }
    if (place.warp == 0) {
#pragma unroll
      for (int i = 0; i < K; ++i) x[i] = carry.load(i * kWarp + place.channel);
      tell_state(told, x);
    }
#pragma unroll
    for (int i = 0; i < K; ++i) x[i] = mine[i];
  } else {
    V y[K];
#pragma unroll
    for (int i = 0; i < K; ++i) x[i] = carry.load(i * kWarp + place.channel);
    for (int warp = 0; warp < place.warp; ++warp) {
      Map::load(totals, warp * rows * kWarp + place.channel, kWarp).apply(x, y);
#pragma unroll
      for (int i = 0; i < K; ++i) x[i] = y[i];
    }
    before.apply(x, y);
#pragma unroll
    for (int i = 0; i < K; ++i) x[i] = y[i];
  }
  for (int i = 0; i < work.count; ++i) work.walk(i, x);
  work.close(place, tile, chain.tiles);
}

}  // namespace paratime
