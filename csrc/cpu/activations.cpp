// Entry points to the activations by themselves, so that tests can measure their errors.
#include "tiles.h"

#define PARATIME_ACTIVATION(name, format, Element)                                             \
  PARATIME_EXPORT void paratime_##name##_##format(int64_t count, const Element* x, Element* y) { \
    using namespace paratime;                                                                  \
    Tile{0, count}.for_each_vector<Element>(                                                   \
        [&](Span s) { store(y + s.lane, paratime::name(load(x + s.lane, s.n)), s.n); });       \
  }

PARATIME_ACTIVATION(exp, float32, float)
PARATIME_ACTIVATION(exp, float64, double)
PARATIME_ACTIVATION(sigmoid, float32, float)
PARATIME_ACTIVATION(sigmoid, float64, double)
PARATIME_ACTIVATION(tanh, float32, float)
PARATIME_ACTIVATION(tanh, float64, double)
