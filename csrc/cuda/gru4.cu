#include "interface.h"

PARATIME_RECURRENCE(gru4, Gru<4>, float32, float)
PARATIME_RECURRENCE(gru4, Gru<4>, bfloat16, paratime::BFloat16)
PARATIME_RECURRENCE(gru4, Gru<4>, float16, paratime::Half)
// In float64 the parallel kernels would not fit into the registers.
PARATIME_SEQUENTIAL(gru4, Gru<4>, float64, double)
