// Small kernels that keep CUDA's rules, and others that each break one: see test_simt.py.
#include "../../csrc/simt/simt.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace {

using paratime::Shared;

constexpr unsigned kAll = 0xffffffffu;

__device__ int thread() { return int(threadIdx.x); }
__device__ int threads() { return int(blockDim.x); }
__device__ int place() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

// The lanes of a warp that its block has.
__device__ unsigned present() {
  const int lanes = threads() - thread() / 32 * 32;
  return lanes < 32 ? (1u << lanes) - 1 : kAll;
}

__device__ int block_sum(const Shared<int>& shared, int x) {
  shared.store(thread(), x);
  int n = threads();
  while (n > 1) {
    const int half = (n + 1) / 2;
    __syncthreads();
    if (thread() + half < n)
      shared.store(thread(), shared.load(thread()) + shared.load(thread() + half));
    n = half;
  }
  __syncthreads();
  return shared.load(0);
}

__global__ void sums(const int* in, int* out) {
  out[place()] = block_sum(Shared<int>(0, threads()), in[place()]);
}

__global__ void many_barriers(const int* in, int* out) {
  out[place()] = in[place()];
  for (int i = 0; i < 100; ++i) __syncthreads();
}

__global__ void solid(const int*, int* out) {
  const int i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * 24 + i] = block * 24 + i;
}

__global__ void shuffle_up(const int* in, int* out) {
  out[place()] = __shfl_up_sync(present(), in[place()], 3);
}

__global__ void shuffle_down(const int* in, int* out) {
  out[place()] = __shfl_down_sync(kAll, in[place()], 30);
}

__global__ void shuffle_xor(const int* in, int* out) {
  out[place()] = int(__shfl_xor_sync(kAll, double(in[place()]), 5));
}

__global__ void shuffle(const int* in, int* out) {
  out[place()] = __shfl_sync(present(), in[place()], threads() - 1);
}

// Halves of a warp on their own, and then together, as the others wait for them.
__global__ void halves(const int* in, int* out) {
  int x = in[place()];
  if (threadIdx.x % 32 < 16)
    for (int by = 8; by; by /= 2) x += __shfl_xor_sync(0xffffu, x, by);
  __syncwarp();
  out[place()] = __shfl_xor_sync(kAll, x, 16);
}

__global__ void votes(const int* in, int* out) {
  const int x = in[place()] % 5 == 0;
  const int any = __any_sync(present(), x), all = __all_sync(present(), x);
  out[place()] = any + 2 * all + 4 * __builtin_popcount(__ballot_sync(present(), x));
}

__global__ void block_votes(const int* in, int* out) {
  const int x = in[place()] % 3 != 0;
  const int any = __syncthreads_or(x), all = __syncthreads_and(x);
  out[place()] = any + 2 * all + 4 * __syncthreads_count(x);
}

// Sums of all blocks so far; a block takes over from the one before it.
__global__ void look_back(const int* in, int* out) {
  const Shared<int> shared(0, threads()), before(4 * threads(), 1);
  const int sum = block_sum(shared, in[place()]), last = int(gridDim.x) * threads();
  int *total = out + last, *told = total + gridDim.x;
  if (threadIdx.x == 0) {
    int x = 0;
    if (blockIdx.x > 0) {
      while (!simt::load_acquire(told + blockIdx.x - 1)) __nanosleep(20);
      x = total[blockIdx.x - 1];
    }
    total[blockIdx.x] = x + sum;
    simt::store_release(told + blockIdx.x, 1);
    before.store(0, x);
  }
  __syncthreads();
  out[place()] = before.load(0) + sum;
}

// Each block waits for all others: they must be under way together.
__global__ void rendezvous(const int* in, int* out) {
  int* const come = out + gridDim.x * blockDim.x;
  if (threadIdx.x == 0) {
    atomicAdd(come, 1);
    while (simt::load_acquire(come) < int(gridDim.x)) __nanosleep(20);
  }
  __syncthreads();
  out[place()] = in[place()];
}

// The last block to come adds up what the others have written.
__global__ void last_block(const int* in, int* out) {
  const Shared<int> shared(0, threads()), last(4 * threads(), 1);
  const int sum = block_sum(shared, in[place()]);
  int *sums = out + gridDim.x * blockDim.x, *come = sums + gridDim.x;
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
    __threadfence();
    last.store(0, atomicAdd(come, 1) == int(gridDim.x) - 1);
    __threadfence();
  }
  __syncthreads();
  atomicMax(come + 1, in[place()]);
  if (!last.load(0) || threadIdx.x != 0) return;
  for (unsigned i = 0; i < gridDim.x; ++i) out[0] += sums[i];
}

__global__ void bytes(const int* in, int* out) {
  const Shared<uint8_t> low(0, threads());
  const Shared<double> all((threads() + 7) / 8 * 8, threads());
  low.store(thread(), uint8_t(in[place()]));
  *all.address(thread(), 1) = in[place()];
  __syncthreads();
  out[place()] = low.load(threads() - 1 - thread()) + int(all.load(threads() - 1 - thread()));
}

// Every step reads what a neighbour has, and then writes its own: two barriers a step, the second
// for the next write, which comes late.
template <bool correct>
__device__ void exchange(const int* in, int* out) {
  const Shared<int> shared(0, threads());
  int x = in[place()];
  for (int step = 0; step < 8; ++step) {
    shared.store(thread(), x);  // races with the load
    __syncthreads();
    x += shared.load((thread() + 32) % threads());
    if (correct) __syncthreads();
    for (int i = 0; i < 4; ++i) x = __shfl_xor_sync(kAll, x, 1);
  }
  out[place()] = x;
}

__global__ void exchanged(const int* in, int* out) { exchange<true>(in, out); }
__global__ void missing_barrier(const int* in, int* out) { exchange<false>(in, out); }

template <bool correct>
__device__ void reverse_warp(const int* in, int* out) {
  const Shared<int> shared(0, threads());
  shared.store(thread(), in[place()]);
  if (correct) __syncwarp();
  __any_sync(kAll, 1);  // orders nothing
  out[place()] = shared.load(thread() ^ 31);
}

__global__ void reversed_warps(const int* in, int* out) { reverse_warp<true>(in, out); }
__global__ void missing_syncwarp(const int* in, int* out) { reverse_warp<false>(in, out); }

__global__ void missing_acquire(const int* in, int* out) {
  int *data = out + gridDim.x * blockDim.x, *told = data + 1;
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    data[0] = in[0];
    atomicAdd(told, 1);
  }
  while (atomicAdd(told, 0) == 0) __nanosleep(20);
  out[place()] = data[0];  // no fence
}

__global__ void off_by_one(const int* in, int* out) {
  out[place()] = in[place() + 1];  // beyond the last
}

__global__ void local_off_by_one(const int* in, int* out) {
  int local[4];
  __syncthreads();
  for (int i = 0; i <= in[1] % 2 + 3; ++i) local[i] = in[i];  // beyond its own
  __syncthreads();
  out[place()] = local[in[place()] % 4];
}

__global__ void ended(const int*, int*) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

__global__ void ended_before(const int*, int*) {
  if (threadIdx.x < 32) return;
  __syncthreads();
}

__global__ void two_barriers(const int*, int*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void two_kinds(const int*, int*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads_or(1);
}

__global__ void barrier_and_shuffle(const int*, int*) {
  if (threadIdx.x == 0) __syncthreads();
  __shfl_sync(kAll, 0, 0);
}

__global__ void shuffle_and_barrier(const int*, int*) {
  if (threadIdx.x == 0) __shfl_sync(kAll, 0, 0);
  __syncthreads();
}

__global__ void not_named(const int*, int*) { __syncwarp(0xfffffffeu); }

__global__ void lane_ended(const int*, int*) {
  if (threadIdx.x == 7) return;
  __any_sync(kAll, 1);
}

__global__ void lane_ends(const int*, int*) {
  if (threadIdx.x < 31) __any_sync(kAll, 1);
}

__global__ void lane_elsewhere(const int*, int*) {
  if (threadIdx.x == 7) __any_sync(kAll, 1);
  __any_sync(kAll, 1);
}

__global__ void two_masks(const int*, int*) {
  __any_sync(threadIdx.x < 16 ? 0xffffu : kAll, 1);
}

__global__ void lanes_beyond(const int*, int*) { __any_sync(kAll, 1); }

__global__ void reads_unnamed(const int*, int*) {
  if (threadIdx.x % 32 < 16) __shfl_xor_sync(0xffffu, 1, 16);
}

// Of three lanes, each waits for the next one.
__global__ void circle(const int*, int*) {
  if (threadIdx.x == 0) __syncwarp(0x3u);
  if (threadIdx.x == 1) __syncwarp(0x6u);
  if (threadIdx.x == 2) __syncwarp(0x5u);
}

__global__ void spin(const int*, int* out) {
  while (!simt::load_acquire(out)) __nanosleep(20);
}

__global__ void unwritten(const int*, int* out) {
  const Shared<int> shared(0, threads());
  if (threadIdx.x != 3) shared.store(thread(), 1);
  __syncthreads();
  out[place()] = shared.load(thread());
}

__global__ void half_written(const int*, int* out) {
  Shared<int>(0, 2).store(0, 1);
  out[place()] = int(Shared<double>(0, 1).load(0));
}

__global__ void stale_block(const int*, int* out) {
  const Shared<int> shared(0, 1);
  if (blockIdx.x == 0) shared.store(0, 1);
  out[place()] = shared.load(0);
}

__global__ void beyond_count(const int*, int*) {
  Shared<int>(0, threads()).store(thread() + 1, 1);
}

__global__ void before_first(const int*, int* out) {
  out[place()] = Shared<int>(0, threads()).load(thread() - 1);
}

__global__ void copy_beyond(const int*, int*) { Shared<int>(0, 6).address(4, 4); }

__global__ void beyond_block(const int*, int*) { Shared<double>(8, 1000000); }

__global__ void misaligned(const int*, int*) { Shared<double>(4, 1); }

using Kernel = void (*)(const int*, int*);

#define TOY(name) {#name, name}

const std::map<std::string, Kernel> toys = {
    TOY(sums), TOY(many_barriers), TOY(solid), TOY(shuffle_up), TOY(shuffle_down), TOY(shuffle_xor),
    TOY(shuffle), TOY(halves), TOY(votes), TOY(block_votes), TOY(look_back), TOY(rendezvous),
    TOY(last_block), TOY(bytes), TOY(exchanged), TOY(missing_barrier), TOY(reversed_warps),
    TOY(missing_syncwarp), TOY(missing_acquire), TOY(off_by_one), TOY(local_off_by_one), TOY(ended),
    TOY(ended_before), TOY(two_barriers), TOY(two_kinds), TOY(barrier_and_shuffle),
    TOY(shuffle_and_barrier), TOY(not_named), TOY(lane_ended), TOY(lane_ends), TOY(lane_elsewhere),
    TOY(two_masks), TOY(lanes_beyond), TOY(reads_unnamed), TOY(circle), TOY(spin), TOY(unwritten),
    TOY(half_written), TOY(stale_block), TOY(beyond_count), TOY(before_first), TOY(copy_beyond),
    TOY(beyond_block), TOY(misaligned)};

}  // namespace

extern "C" int toy(const char* name, int blocks, int threads, const int* in, int* out) {
  const Kernel kernel = toys.at(name);
  const bool is_solid = kernel == solid;
  const dim3 grid = is_solid ? dim3(2, 3, 2) : dim3(blocks);
  const dim3 block = is_solid ? dim3(4, 3, 2) : dim3(threads);
  return simt::launch(grid, block, 16 * size_t(threads), [=] { kernel(in, out); });
}

// Arguments: blocks, threads, seed, resident blocks, and toys; the last one's status counts.
int main(int, char** arguments) {
  const int blocks = atoi(arguments[1]), threads = atoi(arguments[2]);
  paratime_simt_schedule(strtoull(arguments[3], nullptr, 10), atoi(arguments[4]));
  int status = 0;
  for (arguments += 5; *arguments; ++arguments) {
    std::vector<int> in(blocks * threads);
    std::vector<int> out(blocks * threads + 2 * blocks + 2);
    for (size_t i = 0; i < in.size(); ++i) in[i] = int(i * 7 % 31);
    status = toy(*arguments, blocks, threads, in.data(), out.data());
    if (status) printf("%s\n", paratime_simt_error());
    for (int& x : out) x += 1;  // as the host may, after a launch
  }
  return status != 0;
}
