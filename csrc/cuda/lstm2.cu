#include "interface.h"

PARATIME_RECURRENCE_FORMATS(lstm2, Lstm<2>)
