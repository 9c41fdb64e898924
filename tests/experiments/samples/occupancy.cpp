// Read lines of a multiprocessor (capability, its shared memory, that of a block) and a kernel
// (registers, threads, shared memory); write how many warps NVIDIA's own header finds resident.

#include <climits>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "cuda_occupancy.h"

int main() {
  int capability, all, of_block, registers, threads, shared;
  while (std::scanf("%d %d %d %d %d %d", &capability, &all, &of_block, &registers, &threads,
                    &shared) == 6) {
    cudaOccDeviceProp device;
    device.computeMajor = capability;
    device.computeMinor = 0;
    device.maxThreadsPerBlock = 1024;
    device.maxThreadsPerMultiprocessor = 2048;
    device.regsPerBlock = device.regsPerMultiprocessor = 65536;
    device.warpSize = 32;
    device.sharedMemPerBlock = 48 * 1024;
    device.sharedMemPerMultiprocessor = all;
    device.sharedMemPerBlockOptin = of_block;
    device.reservedSharedMemPerBlock = 1024;
    device.numSms = 1;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = INT_MAX;
    kernel.numRegs = registers;
    kernel.sharedSizeBytes = 0;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.maxDynamicSharedSizeBytes = of_block;
    kernel.numBlockBarriers = 1;
    cudaOccDeviceState state;
    state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
    cudaOccResult result;
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared))
      return 1;
    std::printf("%d\n", result.activeBlocksPerMultiprocessor * ((threads + 31) / 32));
  }
}
