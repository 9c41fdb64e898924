#include "device.h"

// What an error of a launch means, in words.
extern "C" const char* paratime_error(int32_t code) {
#ifdef __CUDACC__
  return cudaGetErrorString(cudaError_t(code));
#else
  return code ? simt::error() : "no error";
#endif
}
