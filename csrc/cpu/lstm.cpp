#include "interface.h"

PARATIME_RECURRENCE_FORMATS(lstm1, Lstm<1>)
PARATIME_RECURRENCE_FORMATS(lstm2, Lstm<2>)
