// Numbers of 16 bits, as they lie in memory; arithmetic is done in float32.
#pragma once

#include <stdint.h>

namespace paratime {

// The upper half of a float32, rounded to the nearest even.
struct BFloat16 {
  uint16_t bits;
};

// IEEE 754 binary16.
struct Half {
  uint16_t bits;
};

}  // namespace paratime
