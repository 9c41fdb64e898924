#include "interface.h"

PARATIME_RECURRENCE_FORMATS(lstm1, Lstm<1>)
