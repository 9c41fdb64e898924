// CUDA kernels executed on the CPU, for tests: every thread is a fiber, and what a GPU would leave
// undefined is reported. Names and meanings are CUDA's; what the kernels here do not use is absent.
//
// Reported are barriers that not all threads of a block reach, masks of warps that are wrong,
// deadlocks, and shared memory that is read before it is written, or beyond its bounds. A launch
// with an error stops at once; simt::error() says in a line what happened, where, to which thread.
//
// AddressSanitizer sees accesses beyond global memory. ThreadSanitizer sees missing barriers as
// data races: threads are ordered by what orders them on a GPU, and by nothing else (simt.cpp).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmath>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

using cudaStream_t = struct CUstream_st*;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
};

extern "C" {

// How threads take turns in the launches to come: warp after warp for seed 0, else by priorities of
// the warps, drawn at random and again at random moments. `resident` blocks are under way at a
// time; they start in the order of their indices.
void paratime_simt_schedule(uint64_t seed, int32_t resident);

// What was wrong with the last launch, or an empty text.
const char* paratime_simt_error();
}

namespace simt {

constexpr size_t kMostShared = 227 * 1024;  // of a block, on an H100

// What a running thread sees of itself.
struct Thread {
  dim3 thread, block, block_dim, grid_dim;
  int lane;
  unsigned char* shared;   // the block's shared memory
  unsigned char* written;  // for each of its bytes, whether it has been stored
  int64_t shared_bytes;
  bool fenced;           // since the thread began
  const void* observed;  // by its last atomic operation
};
extern Thread* now;

// A place in the source: as a default argument, that of the caller.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// Run kernel() in every thread of the grid, where threadIdx, blockIdx, blockDim and gridDim are its
// own. Returns a cudaError_t.
int launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);
const char* error();

// Abandon the launch.
[[noreturn, gnu::cold, gnu::format(printf, 2, 3)]] void fail(Site at, const char* format, ...);

// Let other threads run; too often without progress() of any thread is a deadlock.
void yield(Site at);
void progress();

// Wait for all threads of the block, and return how many came with a value other than 0.
int meet_block(const char* name, bool value, Site at);

constexpr int kBallot = -1;

// Wait for the lanes of the mask, and return the value of the lane `source`, or for kBallot a mask
// of the lanes whose value is not 0.
uint64_t meet_warp(const char* name, unsigned mask, uint64_t value, int source, Site at);
void sync_warp(unsigned mask, Site at);

// What a sanitizer shall take for the order of an atomic operation.
void acquire(const void* address);
void release(const void* address);

template <class T>
T shuffle(const char* name, unsigned mask, T value, int source, Site at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = meet_warp(name, mask, bits, source, at);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

inline unsigned ballot(const char* name, unsigned mask, bool value, Site at) {
  return unsigned(meet_warp(name, mask, value, kBallot, at));
}

inline int load_acquire(const int* p, Site at = Site::here()) {
  yield(at);
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
inline void store_release(int* p, int x) {
  __atomic_store_n(p, x, __ATOMIC_RELEASE);
  progress();
}

// Atomic operations of CUDA order nothing but themselves, unless the thread calls __threadfence
// before (what it wrote is seen) or after (it sees what was written).
template <class T, class Operation>
T update(T* p, const Operation& operation, Site at) {
  yield(at);
  if (now->fenced) release(p);
  T old = __atomic_load_n(p, __ATOMIC_RELAXED), x = operation(old);
  while (!__atomic_compare_exchange_n(p, &old, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    x = operation(old);
  now->observed = p;
  if (x != old) progress();
  return old;
}

template <class T>
struct Same {
  using type = T;
};

template <size_t bytes>
struct Unsigned;

template <>
struct Unsigned<1> {
  using type = uint8_t;
};

template <>
struct Unsigned<2> {
  using type = uint16_t;
};

template <>
struct Unsigned<4> {
  using type = uint32_t;
};

template <>
struct Unsigned<8> {
  using type = uint64_t;
};

}  // namespace simt

#define threadIdx (simt::now->thread)
#define blockIdx (simt::now->block)
#define blockDim (simt::now->block_dim)
#define gridDim (simt::now->grid_dim)

inline void __syncthreads(simt::Site at = simt::Site::here()) {
  simt::meet_block("__syncthreads", false, at);
}
inline int __syncthreads_count(int x, simt::Site at = simt::Site::here()) {
  return simt::meet_block("__syncthreads_count", x != 0, at);
}
inline int __syncthreads_and(int x, simt::Site at = simt::Site::here()) {
  return simt::meet_block("__syncthreads_and", x == 0, at) == 0;
}
inline int __syncthreads_or(int x, simt::Site at = simt::Site::here()) {
  return simt::meet_block("__syncthreads_or", x != 0, at) != 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, simt::Site at = simt::Site::here()) {
  simt::sync_warp(mask, at);
}
inline unsigned __ballot_sync(unsigned mask, int x, simt::Site at = simt::Site::here()) {
  return simt::ballot("__ballot_sync", mask, x != 0, at);
}
inline int __any_sync(unsigned mask, int x, simt::Site at = simt::Site::here()) {
  return simt::ballot("__any_sync", mask, x != 0, at) != 0;
}
inline int __all_sync(unsigned mask, int x, simt::Site at = simt::Site::here()) {
  return simt::ballot("__all_sync", mask, x == 0, at) == 0;
}
template <class T>
T __shfl_sync(unsigned mask, T x, int source, simt::Site at = simt::Site::here()) {
  return simt::shuffle("__shfl_sync", mask, x, source & 31, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, simt::Site at = simt::Site::here()) {
  const int lane = simt::now->lane, source = by > unsigned(lane) ? lane : lane - int(by);
  return simt::shuffle("__shfl_up_sync", mask, x, source, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned by, simt::Site at = simt::Site::here()) {
  const int lane = simt::now->lane, source = by > unsigned(31 - lane) ? lane : lane + int(by);
  return simt::shuffle("__shfl_down_sync", mask, x, source, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int by, simt::Site at = simt::Site::here()) {
  return simt::shuffle("__shfl_xor_sync", mask, x, (simt::now->lane ^ by) & 31, at);
}

inline void __threadfence() {
  simt::now->fenced = true;
  if (simt::now->observed) simt::acquire(simt::now->observed);
}
inline void __nanosleep(unsigned, simt::Site at = simt::Site::here()) { simt::yield(at); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }

template <class T>
T atomicAdd(T* p, typename simt::Same<T>::type x, simt::Site at = simt::Site::here()) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA adds to 4 or 8 bytes");
  return simt::update(p, [x](T old) { return T(old + x); }, at);
}
template <class T>
T atomicMax(T* p, typename simt::Same<T>::type x, simt::Site at = simt::Site::here()) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA compares 4 or 8 bytes");
  return simt::update(p, [x](T old) { return old < x ? x : old; }, at);
}

namespace paratime {

// `count` elements of the block's dynamic shared memory, from a byte on.
template <class T>
class Shared {
 public:
  int64_t count;

  Shared(int64_t offset, int64_t count, simt::Site at = simt::Site::here())
      : count(count), offset_(offset) {
    if (offset < 0 || count < 0 || offset % int64_t(sizeof(T)) != 0)
      simt::fail(at, "shared memory: %lld elements of %d bytes cannot be at byte %lld",
                 (long long)count, int(sizeof(T)), (long long)offset);
    if (offset + count * int64_t(sizeof(T)) > simt::now->shared_bytes)
      simt::fail(at, "shared memory: %lld elements of %d bytes at byte %lld end beyond byte %lld",
                 (long long)count, int(sizeof(T)), (long long)offset,
                 (long long)simt::now->shared_bytes);
  }

  T load(int64_t i, simt::Site at = simt::Site::here()) const {
    check(i, 1, at);
    if (__atomic_load_n(mark(i), __ATOMIC_RELAXED) != kWritten)
      simt::fail(at, "shared memory: element %lld, at byte %lld, is read before it is written",
                 (long long)i, (long long)(offset_ + i * int64_t(sizeof(T))));
    return reinterpret_cast<T*>(simt::now->shared + offset_)[i];
  }

  void store(int64_t i, T x, simt::Site at = simt::Site::here()) const {
    *address(i, 1, at) = x;
  }

  // Where n elements from the i-th on are about to be written.
  T* address(int64_t i, int64_t n, simt::Site at = simt::Site::here()) const {
    check(i, n, at);
    for (int64_t k = i; k < i + n; ++k) __atomic_store_n(mark(k), kWritten, __ATOMIC_RELAXED);
    return reinterpret_cast<T*>(simt::now->shared + offset_) + i;
  }

 private:
  // A byte of marks for every byte of an element, in one atomic access: marks are no races.
  using Mark = typename simt::Unsigned<sizeof(T)>::type;
  static constexpr Mark kWritten = Mark(0x0101010101010101);

  int64_t offset_;

  Mark* mark(int64_t i) const { return reinterpret_cast<Mark*>(simt::now->written + offset_) + i; }

  void check(int64_t i, int64_t n, simt::Site at) const {
    if (i < 0 || n < 0 || i + n > count)
      simt::fail(at, "shared memory: element %lld of %lld",
                 (long long)(i < 0 || i >= count ? i : i + n - 1), (long long)count);
  }
};

}  // namespace paratime
