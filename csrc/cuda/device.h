// What the kernels use of a device, for nvcc and, as a twin on the CPU for tests, for g++.
#pragma once

#include "../cells.h"
#include "../formats.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define PARATIME_DEVICE __device__ __forceinline__
#else
#include <cmath>

#include "../simt/simt.h"
#define PARATIME_DEVICE inline __attribute__((always_inline))
#endif

namespace paratime {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

#ifdef __CUDACC__

// `count` elements of the block's dynamic shared memory, from a byte on.
template <class T>
struct Shared {
  T* base;

  PARATIME_DEVICE Shared(int offset, int) {
    extern __shared__ __align__(16) unsigned char memory[];
    base = reinterpret_cast<T*>(memory + offset);
  }
  PARATIME_DEVICE T load(int i) const { return base[i]; }
  PARATIME_DEVICE void store(int i, T x) const { base[i] = x; }
  PARATIME_DEVICE T* address(int i, int) const { return base + i; }
};

PARATIME_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PARATIME_DEVICE float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PARATIME_DEVICE double reciprocal_fast(double x) {
  double y;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
  return y;
}
PARATIME_DEVICE float tanh_coarse(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

PARATIME_DEVICE float widen(BFloat16 x) { return __uint_as_float(unsigned(x.bits) << 16); }
PARATIME_DEVICE float widen(Half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
PARATIME_DEVICE void narrow(float x, BFloat16& y) {
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}
PARATIME_DEVICE void narrow(float x, Half& y) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}

// Copy 16 bytes from global to shared memory, done after copies_arrive().
PARATIME_DEVICE void copy_16_bytes(void* shared, const void* global) {
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}
PARATIME_DEVICE void copies_arrive() { asm volatile("cp.async.wait_all;" ::: "memory"); }
PARATIME_DEVICE void prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// x, hidden from the compiler: what follows from it is computed where it is needed, and not before,
// to be kept in registers.
PARATIME_DEVICE int64_t opaque(int64_t x) {
  asm volatile("" : "+l"(x));
  return x;
}

// *p += x for a p of this thread alone, without a register and a wait for the old value.
template <class E>
PARATIME_DEVICE void add_to(E* p, E x) {
  atomicAdd(p, x);
}

PARATIME_DEVICE int load_acquire(const int* p) {
  int x;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
}
PARATIME_DEVICE void store_release(int* p, int x) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(p), "r"(x) : "memory");
}

// An error that is returned is forgotten: the next one who asks for the last error is another.
inline cudaError_t returned(cudaError_t error) {
  if (error != cudaSuccess) (void)cudaGetLastError();
  return error;
}

// Make a device the current one, and find whether it can run a kernel.
template <class... Parameters>
int probe(int device, void (*kernel)(Parameters...)) {
  cudaFuncAttributes found;
  const cudaError_t error = cudaSetDevice(device);
  return returned(error ? error : cudaFuncGetAttributes(&found, kernel));
}

// Bytes of shared memory that a block can have on a device; 0 if there is an error.
inline int most_shared(int device) {
  int bytes = 0;
  const auto most = cudaDevAttrMaxSharedMemoryPerBlockOptin;
  return returned(cudaDeviceGetAttribute(&bytes, most, device)) == cudaSuccess ? bytes : 0;
}

// Let a kernel have the most shared memory on the current device. The limit is the process's, not
// a launch's: by what one launch needs, a thread could lower it before another one's launch.
template <class... Parameters>
cudaError_t permit_shared(void (*kernel)(Parameters...)) {
  const auto limit = cudaFuncAttributeMaxDynamicSharedMemorySize;
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return returned(error ? error : cudaFuncSetAttribute(kernel, limit, most_shared(device)));
}

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int shared, void* stream,
           Arguments... arguments) {
  if (blocks == 0) return cudaSuccess;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const cudaError_t error = shared > 0 ? permit_shared(kernel) : cudaSuccess;
  if (error != cudaSuccess) return error;
  kernel<<<unsigned(blocks), threads, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
  return cudaGetLastError();
}

#else

PARATIME_DEVICE float exp2_fast(float x) { return std::exp2(x); }
PARATIME_DEVICE float reciprocal_fast(float x) { return 1 / x; }
PARATIME_DEVICE double reciprocal_fast(double x) { return 1 / x; }
PARATIME_DEVICE float tanh_coarse(float x) { return std::tanh(x); }

PARATIME_DEVICE float widen(BFloat16 x) { return bits_as<float>(uint32_t(x.bits) << 16); }
PARATIME_DEVICE float widen(Half x) { return bits_as<_Float16>(x.bits); }
PARATIME_DEVICE void narrow(float x, BFloat16& y) {
  const uint32_t bits = bits_as<uint32_t>(x);
  y.bits = x == x ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fff;
}
PARATIME_DEVICE void narrow(float x, Half& y) { y.bits = bits_as<uint16_t>(_Float16(x)); }

PARATIME_DEVICE void copy_16_bytes(void* shared, const void* global) { memcpy(shared, global, 16); }
PARATIME_DEVICE void copies_arrive() {}
PARATIME_DEVICE void prefetch(const void*) {}
PARATIME_DEVICE int64_t opaque(int64_t x) { return x; }
template <class E>
PARATIME_DEVICE void add_to(E* p, E x) {
  *p += x;
}

using simt::load_acquire;
using simt::store_release;

template <class... Parameters>
int probe(int, void (*)(Parameters...)) {
  return 0;
}
inline int most_shared(int) { return int(simt::kMostShared); }

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int shared, void*,
           Arguments... arguments) {
  if (blocks == 0) return 0;
  return simt::launch(dim3(unsigned(blocks)), dim3(threads), shared,
                      [=] { kernel(arguments...); });
}

#endif

PARATIME_DEVICE float widen(float x) { return x; }
PARATIME_DEVICE double widen(double x) { return x; }
PARATIME_DEVICE void narrow(float x, float& y) { y = x; }
PARATIME_DEVICE void narrow(double x, double& y) { y = x; }

template <class To, class From>
PARATIME_DEVICE To narrowed(From x) {
  To y;
  narrow(x, y);
  return y;
}

}  // namespace paratime
