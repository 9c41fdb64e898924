#include "interface.h"

PARATIME_RECURRENCE_FORMATS(gru2, Gru<2>)
