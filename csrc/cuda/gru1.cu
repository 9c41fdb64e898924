#include "interface.h"

PARATIME_RECURRENCE_FORMATS(gru1, Gru<1>)
