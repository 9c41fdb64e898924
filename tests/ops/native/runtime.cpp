// A CUDA runtime that is made up, for test_launch.py: it knows one device and launches nothing.
#include <stddef.h>
#include <stdint.h>

struct Dim {
  unsigned x, y, z;
};

extern "C" {

int limit = 48 * 1024;  // of a block's shared memory, that cudaFuncSetAttribute has set
int failure;            // what cudaFuncGetAttributes returns
int current = -1;       // the device
int last_error;
void (*meanwhile)();  // what another thread does once a limit is set

static int remember(int error) { return error ? last_error = error : 0; }

int cudaSetDevice(int device) { return current = device, 0; }
int cudaGetDevice(int* device) { return *device = 0, 0; }
int cudaDeviceGetAttribute(int* value, int, int) { return *value = 99 * 1024, 0; }
int cudaFuncGetAttributes(void*, const void*) { return remember(failure); }
int cudaFuncSetAttribute(const void*, int, int value) {
  limit = value;
  void (*const others)() = meanwhile;
  meanwhile = nullptr;
  if (others) others();
  return remember(value > 99 * 1024);
}
int cudaGetLastError() {
  const int error = last_error;
  last_error = 0;
  return error;
}

int __cudaLaunchKernel(const void*, Dim, Dim, void**, size_t shared, void*) {
  return remember(int64_t(shared) > limit);
}
int cudaLaunchKernel(const void*, Dim, Dim, void**, size_t shared, void*) {
  return remember(int64_t(shared) > limit);
}

static size_t pushed;
int __cudaPushCallConfiguration(Dim, Dim, size_t shared, void*) { return pushed = shared, 0; }
int __cudaPopCallConfiguration(Dim*, Dim*, size_t* shared, void*) { return *shared = pushed, 0; }
int __cudaGetKernel(void** kernel, const void*) { return *kernel = nullptr, 0; }
void** __cudaRegisterFatBinary(void*) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*, void*, void*,
                            void*, int*) {}
}
