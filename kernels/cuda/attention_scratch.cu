#include "kernels/cuda/attention_scratch.h"

#include <algorithm>

#include "kernels/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/normalizer/normalizer.h"

namespace cuda {

namespace {

constexpr size_t kBackWords = std::max({
#define ATTNORM_BACK_WORDS(name, ...) sizeof(named::name::Back<float>) / sizeof(float),
    EVERY_NORMALIZER(ATTNORM_BACK_WORDS)
#undef ATTNORM_BACK_WORDS
});
constexpr int kParams = std::max({
#define ATTNORM_PARAMS(name, ...) named::name::params,
    EVERY_NORMALIZER(ATTNORM_PARAMS)
#undef ATTNORM_PARAMS
});

// One block for each learned scalar of each head.
__global__ void __launch_bounds__(kThreads)
    add_dtheta_kernel(float* dtheta, const float* parts, size_t B, size_t T, size_t NH) {
  const size_t h = blockIdx.x % NH, parameter = blockIdx.x / NH;
  double sum = 0;
  for (size_t b = 0; b < B; b++) {
    const float* of_head = parts + (parameter * B * NH + b * NH + h) * padded_positions(T);
    for (size_t t = threadIdx.x; t < T; t += kThreads) sum += of_head[t];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) dtheta[blockIdx.x] += float(sum);
}

}  // namespace

size_t attention_row_floats(size_t words, size_t B, size_t T, size_t NH) {
  return words * B * NH * padded_positions(T);
}

size_t attention_shared_floats(size_t B, size_t T, size_t NH, size_t /*HS*/, bool length_scale) {
  return (kBackWords + kParams) * B * NH * padded_positions(T) + (length_scale ? B * NH * T : 0);
}

BackScratch back_scratch(size_t B, size_t T, size_t NH, bool length_scale) {
  const size_t states = B * NH * padded_positions(T);
  float* memory = shared_scratch(attention_shared_floats(B, T, NH, 0, length_scale));
  return {memory, memory + kBackWords * states, length_scale ? memory + (kBackWords + kParams) * states : nullptr};
}

void add_dtheta(float* dtheta, const float* parts, int params, size_t B, size_t T, size_t NH) {
  CUDA_LAUNCH(add_dtheta_kernel, (Grid{unsigned(params * NH), kThreads}), dtheta, parts, B, T, NH);
}

}  // namespace cuda
