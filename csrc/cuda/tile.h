// How a block shares out a tile: consecutive steps of one sequence over some neighbouring channels.
//
// Time is cut into segments of `chunk` steps. A thread has one segment of one channel; a warp has
// L neighbouring channels, L = 32, 8, 4 or 1, of 32 / L consecutive segments, and a block all
// segments of the tile. With few channels, fewer of them a warp give more blocks and longer tiles.
#pragma once

#include "problem.h"

namespace paratime {

constexpr int kMostThreads = 256;

// Blocks that shall fit on a multiprocessor at a time, by what a thread has to keep of a state:
// four have 64 registers a thread, and warps enough to cover each other's waiting.
template <int state, class E>
constexpr int kBlocks = sizeof(E) == 4 && state <= 2 ? 4 : 1;

// Where a thread stands in its block.
struct Place {
  int lanes_log2, lanes;  // L
  int segments;           // of a warp
  int warp, lane;         // in the block, and in the warp
  int channel, inner;     // of the L channels, and of the warp's segments
  int segment;            // of the tile's

  PARATIME_DEVICE explicit Place(int lanes_log2)
      : lanes_log2(lanes_log2),
        lanes(1 << lanes_log2),
        segments(int(kWarp) >> lanes_log2),
        warp(threadIdx.x / kWarp),
        lane(threadIdx.x % kWarp),
        channel(lane & (lanes - 1)),
        inner(lane >> lanes_log2),
        segment(warp * segments + inner) {}
};

// A thread's channel of the sequence `number`, of all groups of L channels of all sequences.
struct Channel {
  int64_t b, c0, c;  // the sequence, the first and this channel
  bool here;         // lanes beyond the channels repeat the first, and write nothing

  PARATIME_DEVICE Channel(const Place& place, int64_t channels, unsigned number) {
    const Division of(number, (channels + place.lanes - 1) >> place.lanes_log2);
    b = of.quotient;
    c0 = of.rest * place.lanes;
    here = c0 + place.channel < channels;
    c = here ? c0 + place.channel : c0;
  }
};

// Rows of the steps of a tile in shared memory, in the order in which threads read them: value
// (segment, i, row, channel) is at ((warp * chunk + i) * rows + row) * 32 + lane, so that reads
// never collide, whatever L is.
template <class T, int rows, int chunk>
struct Staged {
  static constexpr int row = kWarp, step = rows * row, warp = chunk * step;
  Shared<T> values;

  static constexpr PARATIME_INLINE int bytes(int warps) { return warps * warp * int(sizeof(T)); }
  PARATIME_DEVICE Staged(int offset, int warps) : values(offset, warps * warp) {}

  // An accessor of the rows of one step of this thread's segment.
  template <class V>
  struct Step {
    Shared<T> values;
    int first;
    PARATIME_DEVICE V operator()(int i) const { return widen(values.load(first + i * row)); }
  };
  template <class V>
  PARATIME_DEVICE Step<V> at(const Place& place, int i) const {
    return {values, place.warp * warp + i * step + place.lane};
  }

  // Copy steps [0, count) of the tile from a tensor whose row 0 of step i and channel 0 is at
  // from + i * stride, rows `channels` apart, of which `width` are there; the others become 0.
  // Where lines allow it, 16 bytes go at a time; then copies_arrive() must follow.
  PARATIME_DEVICE void fill(const Place& place, const T* from, int64_t stride, int64_t channels,
                            int64_t width, int count) const {
    constexpr int wide = 16 / sizeof(T);
    if (place.lanes >= wide && channels % wide == 0 && uint64_t(from) % 16 == 0)
      fill_by<wide>(place, from, stride, channels, width, count);
    else
      fill_by<1>(place, from, stride, channels, width, count);
  }

  // Ask for the lines of such steps, so that they are near when they are wanted.
  static PARATIME_DEVICE void prefetch(const T* from, int64_t stride, int64_t channels,
                                       int count) {
#pragma unroll 1
    for (int t = threadIdx.x; t < count; t += blockDim.x)
#pragma unroll
      for (int i = 0; i < rows; ++i) paratime::prefetch(from + t * stride + i * channels);
  }

 private:
  // A thread keeps to its n channels and goes from step to step, so that most of what a copy needs
  // is known beforehand, or the same for all rows of a step.
  template <int n>
  PARATIME_DEVICE void fill_by(const Place& place, const T* from, int64_t stride,
                               int64_t channels, int64_t width, int count) const {
    constexpr int n_log2 = n == 8 ? 3 : n == 4 ? 2 : n == 2 ? 1 : 0;
    // Opaque, so that nothing of this is kept in registers from one tile to the next.
    const int thread = int(opaque(threadIdx.x)), lanes_log2 = int(opaque(place.lanes_log2));
    const int units_log2 = lanes_log2 - n_log2;
    const int channel = (thread & ((1 << units_log2) - 1)) << n_log2;
    const int first = thread >> units_log2, apart = int(blockDim.x) >> units_log2;
    if (channel >= width) {
#pragma unroll 1
      for (int t = first; t < count; t += apart)
#pragma unroll 1
        for (int k = 0; k < rows * n; ++k)
          values.store(index(place, t, channel) + k / n * row + k % n, T{});
      return;
    }
    const int64_t hop = opaque(apart * stride);
    const T* source = from + first * stride + channel;
#pragma unroll 1
    for (int t = first; t < count; t += apart, source += hop) {
      const int to = index(place, t, channel);
      const T* line = source;
#pragma unroll
      for (int k = 0; k < rows; ++k, line += opaque(channels)) {  // else an address for each row
        if (n == 1)
          values.store(to + k * row, *line);
        else
          copy_16_bytes(values.address(to + k * row, n), line);
      }
    }
  }

  // Where row 0 of step t of the tile is, for one channel.
  static PARATIME_DEVICE int index(const Place& place, int t, int channel) {
    const unsigned segment = unsigned(t) / chunk, i = unsigned(t) % chunk;
    const unsigned column = (segment << place.lanes_log2) + channel;  // of all warps' lanes
    return column / row * warp + i * step + column % row;
  }
};

}  // namespace paratime
