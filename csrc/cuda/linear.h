// h[t] = a[t] h[t-1] + b[t] with K x K blocks a channel, for cells of users, forward or reversed.
#pragma once

#include "look_back.h"

namespace paratime {

template <int K, class E>
struct Linear {
  using Element = E;
  using V = Number<E, Fast>;
  static constexpr int state = K;
  static constexpr int chunk = K == 1 ? 16 : K == 2 ? 8 : 4;

  int64_t batch, steps, channels;
  bool reverse;
  const E* a;   // (B, T, K, K, C)
  const E* b;   // (B, T, K, C)
  const E* h0;  // (B, K, C)
  E* h;         // (B, T, K, C)

  using Slopes = Staged<E, K * K, chunk>;
  using Offsets = Staged<E, K, chunk>;

  static PARATIME_INLINE int bytes(int warps) { return Slopes::bytes(warps) + Offsets::bytes(warps); }

  struct Work {
    const Linear& from;
    const Place& place;
    Channel at;
    Slopes slopes;
    Offsets offsets;
    int64_t begin;
    int count;

    PARATIME_DEVICE Work(const Linear& source, const Place& place, int offset, int warps,
                         int64_t sequence, int64_t first)
        : from(source),
          place(place),
          at(place, source.channels, sequence),
          slopes(offset, warps),
          offsets(offset + Slopes::bytes(warps), warps),
          begin(first + place.segment * chunk) {
      const int64_t left = from.steps - first, row = from.channels, width = row - at.c0;
      const int tile = warps * place.segments * chunk, all = int(left < tile ? left : tile);
      const int mine = all - place.segment * chunk;
      count = mine < chunk ? mine : chunk;
      const int64_t t = time(first), way = from.reverse ? -row : row;
      slopes.fill(place, from.a + (at.b * from.steps + t) * K * K * row + at.c0, K * K * way, row,
                  width, all);
      offsets.fill(place, from.b + (at.b * from.steps + t) * K * row + at.c0, K * way, row, width,
                   all);
    }

    PARATIME_DEVICE void initial(V* x) const {
      load_column<K>(from.h0 + at.b * K * from.channels + at.c, from.channels, x);
    }
    PARATIME_DEVICE void finish(const V*) const {}

    PARATIME_DEVICE void compose(int i, Affine<V, K>& map) const { map = load(i).after(map); }

    PARATIME_DEVICE void step(int i, V* x) const {
      V y[K];
      load(i).apply_exactly(x, y);
#pragma unroll
      for (int k = 0; k < K; ++k) x[k] = y[k];
    }

    PARATIME_DEVICE void walk(int i, V* x) const {
      step(i, x);
      if (!at.here) return;
      const int64_t row = (at.b * from.steps + time(begin + i)) * K;
      store_column<K>(from.h + row * from.channels + at.c, from.channels, x);
    }

    PARATIME_DEVICE void close(const Place&, int64_t, int64_t) const {}

   private:
    PARATIME_DEVICE int64_t time(int64_t s) const { return from.reverse ? from.steps - 1 - s : s; }
    PARATIME_DEVICE Affine<V, K> load(int i) const {
      Affine<V, K> f;
      const auto a = slopes.template at<V>(place, i);
      const auto b = offsets.template at<V>(place, i);
#pragma unroll
      for (int k = 0; k < K * K; ++k) f.a[k] = a(k);
#pragma unroll
      for (int k = 0; k < K; ++k) f.b[k] = b(k);
      return f;
    }
  };
};

}  // namespace paratime
