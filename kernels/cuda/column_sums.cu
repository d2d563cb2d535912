#include "kernels/cuda/column_sums.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

constexpr unsigned kWarps = 16;

// A block sums 32 columns, one a lane: warp w takes the parts w, w + 16, ..., then the first warp adds up what all found.
__global__ void __launch_bounds__(kWarps* kWarp)
    add_partial_sums_kernel(float* first, float* second, const float* partial, unsigned parts, unsigned C) {
  SHARED_ARRAY(float, of_warp, [kWarps][kWarp]);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned c = blockIdx.x * kWarp + lane;
  const float* column = partial + size_t(blockIdx.y) * C + c;
  const size_t stride = size_t(gridDim.y) * C;

  float sum = 0;
  if (c < C)
#pragma unroll 8
    for (unsigned p = warp; p < parts; p += kWarps) sum += column[p * stride];
  of_warp[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= C) return;

  float total = 0;
#pragma unroll
  for (unsigned w = 0; w < kWarps; w++) total += of_warp[w][lane];
  float* result = blockIdx.y == 0 ? first : second;
  result[c] += total;
}

}  // namespace

void add_partial_sums(float* first, float* second, const float* partial, size_t parts, size_t C) {
  const dim3 blocks(unsigned(divide_up(C, kWarp)), second ? 2 : 1);
  CUDA_LAUNCH(add_partial_sums_kernel, (Grid{blocks, kWarps * kWarp}), first, second, partial, parts, C);
}

}  // namespace cuda
