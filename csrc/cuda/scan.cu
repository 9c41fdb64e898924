#include "interface.h"
#include "linear.h"

#define PARATIME_SCAN(size, format, Element)                                                    \
  extern "C" int paratime_scan##size##_##format(                                                \
      int64_t batch, int64_t steps, int64_t channels, int64_t reverse, const Element* a,        \
      const Element* b, const Element* h0, Element* h, int64_t tiles, int* told, Element* maps, \
      int64_t lanes_log2, void* stream) {                                                       \
    using Source = paratime::Linear<size, Element>;                                             \
    const Source source{batch, steps, channels, reverse != 0, a, b, h0, h};                     \
    return paratime::launch_scan(source, batch, channels, tiles, told, maps, int(lanes_log2),   \
                                 stream);                                                       \
  }                                                                                             \
  extern "C" int64_t paratime_scan##size##_tile_##format(int64_t lanes_log2) {                  \
    using Tile = paratime::LookBackTile<paratime::Linear<size, Element>>;                       \
    return Tile::steps(Tile::threads(), int(lanes_log2));                                       \
  }

#define PARATIME_SCAN_FORMATS(size)    \
  PARATIME_SCAN(size, float32, float)  \
  PARATIME_SCAN(size, float64, double)

PARATIME_SCAN_FORMATS(1)
PARATIME_SCAN_FORMATS(2)
PARATIME_SCAN_FORMATS(4)

// 0 if a device, which becomes the current one, can run the kernels: one of them tells for all.
extern "C" int paratime_probe(int64_t device) {
  return paratime::probe(int(device), paratime::scan_tiles<paratime::Linear<1, float>>);
}

// Bytes of shared memory that a block can have on a device.
extern "C" int64_t paratime_most_shared(int64_t device) {
  return paratime::most_shared(int(device));
}
