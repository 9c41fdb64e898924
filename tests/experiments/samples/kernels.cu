// Kernels for the tests of the static gate: those that are right, and one for each violation.
//
// The files sm_*.sass are what nvcc 13.0 makes of them, as cuobjdump 13.4 shows it:
//
//   nvcc -cubin -arch=sm_90 -std=c++17 -O3 kernels.cu -o kernels.cubin
//   cuobjdump -res-usage -sass kernels.cubin | sed -E 's, +/[*] 0x.*,,; /NOP|^ *$/d'

namespace paratime {

struct Half {
  unsigned short bits;
};

template <int K>
struct Gru {};

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// h = sigmoid(u + w h): two MUFU a step, in an unrolled loop and one for the remaining steps.
template <class Cell, class Element, class Drive>
__global__ void __launch_bounds__(256) good(const Element* u, Element* y, int steps, Element w) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x, width = gridDim.x * blockDim.x;
  Element h = 0;
#pragma unroll 4
  for (int t = 0; t < steps; ++t) {
    h = reciprocal_fast(1 + exp2_fast(u[t * width + c] + w * h));
    y[t * width + c] = h;
  }
}

template <class Cell, class Element, class Drive>
__global__ void double_precision(const Element* u, Element* y, int steps) {
  const int c = threadIdx.x;
  Element h = 0;
#pragma unroll 1
  for (int t = 0; t < steps; ++t) y[t * 32 + c] = h = h * Element(0.5) + u[t * 32 + c];
}

// 34 numbers of state in 32 registers.
template <class Cell, class Element, class Drive>
__global__ void __launch_bounds__(1024, 2) spills(const Element* u, Element* y, int steps) {
  Element h[34];
#pragma unroll
  for (int i = 0; i < 34; ++i) h[i] = u[i * 1024 + threadIdx.x];
#pragma unroll 1
  for (int t = 0; t < steps; ++t)
#pragma unroll
    for (int i = 0; i < 34; ++i) h[i] = h[i] * h[(i + 7) % 34] + h[(i + 13) % 34];
#pragma unroll
  for (int i = 0; i < 34; ++i) y[i * 1024 + threadIdx.x] = h[i];
}

// No call: on sm_80 threads meet in a function for a shuffle, if their warp may have diverged.
template <class Cell, class Element, class Drive>
__global__ void exchanges(const Element* u, Element* y, int steps) {
  Element h = u[threadIdx.x];
#pragma unroll 1
  for (int t = 0; t < steps; ++t) {
    if (h > Element(t)) {
#pragma unroll 1
      for (int near = 1; near < h; near *= 2) h = h * __shfl_up_sync(0xffffffffu, h, near);
    }
    h += __shfl_down_sync(0xffffffffu, h, t);
    __syncthreads();
  }
  y[threadIdx.x] = h;
}

// 16 bytes a thread, to shared memory and on.
template <class Cell, class Element, class Drive>
__global__ void copies(const Element* u, Element* y) {
  __shared__ __align__(16) Element tile[128];
  const unsigned to = unsigned(__cvta_generic_to_shared(tile + 4 * threadIdx.x));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(u + 4 * threadIdx.x));
  asm volatile("cp.async.wait_all;" ::: "memory");
  y[threadIdx.x] = tile[4 * threadIdx.x] + tile[4 * threadIdx.x + 1];
}

// The constant makes the sum one of doubles.
template <class Cell, class Element, class Drive>
__global__ void double_constant(const Element* u, Element* y) {
  y[threadIdx.x] = u[threadIdx.x] + 0.1;
}

// A division has a slow path, which is a call.
template <class Cell, class Element, class Drive>
__global__ void divides(const Element* u, Element* y) {
  y[threadIdx.x] = Element(1) / u[threadIdx.x];
}

template __global__ void good<Gru<1>, float, float>(const float*, float*, int, float);
template __global__ void double_precision<Gru<1>, double, double>(const double*, double*, int);
template __global__ void spills<Gru<1>, float, float>(const float*, float*, int);
template __global__ void double_constant<Gru<1>, float, Half>(const float*, float*);
template __global__ void exchanges<Gru<1>, float, float>(const float*, float*, int);
template __global__ void copies<Gru<1>, float, float>(const float*, float*);
template __global__ void divides<Gru<1>, float, float>(const float*, float*);

}  // namespace paratime
