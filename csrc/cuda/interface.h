// The plain C interface of the kernels of a recurrence: one symbol a kernel and format of drives.
//
// Pointers are the device's; shapes are those of problem.h. A function that launches takes the
// stream last, and returns 0 or the error of the launch, which paratime_error spells out. `tile` is
// the steps of a tile of the backward scan, `shared` the bytes of a block of the Newton kernel.
#pragma once

#include "adjoint.h"
#include "newton.h"
#include "sequential.h"

namespace paratime {

// The kernels number their threads in 32 bits; what does not fit is more than launch() takes.
template <class P>
PARATIME_INLINE int64_t sequential_blocks(const P& p) {
  const int64_t threads = p.batch * p.channels;
  return threads >> 32 ? threads : (threads + kSequentialThreads - 1) / kSequentialThreads;
}

inline int64_t groups_of(int64_t batch, int64_t channels, int lanes_log2) {
  return batch * ((channels + (int64_t(1) << lanes_log2) - 1) >> lanes_log2);
}

template <class Source>
int launch_scan(const Source& source, int64_t batch, int64_t channels, int64_t tiles, int* told,
                typename Source::Element* maps, int lanes_log2, void* stream) {
  using E = typename Source::Element;
  constexpr int K = Source::state;
  const int64_t sequences = groups_of(batch, channels, lanes_log2);
  const int threads = LookBackTile<Source>::threads();
  const Chain<E> chain{tiles, told, told + 1, maps,
                       maps + sequences * tiles * (K * K + K) * int64_t(kWarp)};
  return launch(scan_tiles<Source>, sequences * tiles, threads,
                LookBackTile<Source>(threads).bytes, stream, source, chain, lanes_log2);
}

}  // namespace paratime

#define PARATIME_PROBLEM                                                                     \
  int64_t batch, int64_t steps, int64_t channels, const Drive *u, const Element *weight,     \
      const Element *h0, const uint8_t *reset, const int64_t *lengths
#define PARATIME_THE_PROBLEM {batch, steps, channels, u, weight, h0, reset, lengths}

#define PARATIME_SEQUENTIAL(name, cell, format, drive)                                            \
  namespace paratime::name##_##format {                                                           \
  using Drive = drive;                                                                            \
  using Element = ElementOf<Drive>;                                                               \
  using P = Problem<cell, Drive>;                                                                 \
  extern "C" int paratime_##name##_forward_sequential_##format(                                   \
      PARATIME_PROBLEM, Drive* y, int64_t y_stride, Element* memory, Element* last,               \
      void* stream) {                                                                             \
    const P p PARATIME_THE_PROBLEM;                                                               \
    return launch(forward_sequential<cell, Drive>, sequential_blocks(p), kSequentialThreads, 0,   \
                  stream, p, y, y_stride, memory, last);                                          \
  }                                                                                               \
  extern "C" int paratime_##name##_backward_sequential_##format(                                  \
      PARATIME_PROBLEM, const Drive* y, const Element* memory, const Drive* g,                    \
      const Element* g_last, Drive* d_u, Element* d_weight, Element* d_h0, void* stream) {        \
    const P p PARATIME_THE_PROBLEM;                                                               \
    return launch(backward_sequential<cell, Drive>, sequential_blocks(p), kSequentialThreads, 0,  \
                  stream, p, y, memory, g, g_last, d_u, d_weight, d_h0);                          \
  }                                                                                               \
  }

#define PARATIME_PARALLEL(name, cell, format, drive)                                              \
  namespace paratime::name##_##format {                                                           \
  extern "C" int paratime_##name##_forward_newton_##format(                                       \
      PARATIME_PROBLEM, Drive* y, int64_t y_stride, Element* memory, Element* last,               \
      double tolerance, int* report, int64_t lanes_log2, int64_t threads, void* stream) {         \
    const P p PARATIME_THE_PROBLEM;                                                               \
    const NewtonTile<cell, Drive> layout{int(threads), int(lanes_log2)};                          \
    return launch(forward_newton<cell, Drive>, groups_of(batch, channels, int(lanes_log2)),       \
                  int(threads), layout.bytes, stream, p, y, y_stride, memory, last,               \
                  Element(tolerance), int(lanes_log2), report);                                   \
  }                                                                                               \
  extern "C" int paratime_##name##_backward_scan_##format(                                        \
      PARATIME_PROBLEM, const Drive* y, const Element* memory, const Drive* g,                    \
      const Element* g_last, Drive* d_u, Element* d_weight, Element* d_h0, int64_t tiles,         \
      int* told, Element* maps, int64_t lanes_log2, void* stream) {                               \
    using Source = Adjoint<cell, Drive>;                                                          \
    const Source source{PARATIME_THE_PROBLEM, y, memory, g, g_last, d_u, d_weight, d_h0};         \
    return launch_scan(source, batch, channels, tiles, told, maps, int(lanes_log2), stream);      \
  }                                                                                               \
  extern "C" int64_t paratime_##name##_tile_##format(int64_t lanes_log2) {                        \
    using Tile = LookBackTile<Adjoint<cell, Drive>>;                                              \
    return Tile::steps(Tile::threads(), int(lanes_log2));                                         \
  }                                                                                               \
  extern "C" int64_t paratime_##name##_shared_##format(int64_t threads, int64_t lanes_log2) {     \
    return NewtonTile<cell, Drive>(int(threads), int(lanes_log2)).bytes;                          \
  }                                                                                               \
  }

#define PARATIME_RECURRENCE(name, cell, format, drive) \
  PARATIME_SEQUENTIAL(name, cell, format, drive)       \
  PARATIME_PARALLEL(name, cell, format, drive)

#define PARATIME_RECURRENCE_FORMATS(name, cell)                 \
  PARATIME_RECURRENCE(name, cell, float32, float)               \
  PARATIME_RECURRENCE(name, cell, float64, double)              \
  PARATIME_RECURRENCE(name, cell, bfloat16, paratime::BFloat16) \
  PARATIME_RECURRENCE(name, cell, float16, paratime::Half)
