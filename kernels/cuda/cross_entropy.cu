#include "kernels/cross_entropy.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

// A row of a large vocabulary is still in the caches when it is read again if few rows are at work, so blocks are large:
// two of them fill a multiprocessor, and at V = 50257 in bf16 the rows at work take 26 MB of an H100's 50 MB of cache.
constexpr unsigned kRowThreads = 768, kBlocksAtOnce = 2;

// The largest number so far, and the sum of exp(number - max). __expf errs by 2 + 1.2 |x| units in the last place: little
// where the exponentials are large.
struct MaxSum {
  float max = -FLT_MAX, sum = 0;

  template <int W>
  __device__ void add(const Floats<W>& x) {
    float larger = max;
#pragma unroll
    for (int k = 0; k < W; k++) larger = fmaxf(larger, x[k]);
    sum *= __expf(max - larger);
    max = larger;
#pragma unroll
    for (int k = 0; k < W; k++) sum += __expf(x[k] - max);
  }
};

// A block has a row. scale = 0: losses alone.
template <int W, class S>
__global__ void __launch_bounds__(kRowThreads, kBlocksAtOnce)
    cross_entropy_kernel(float* losses, S* logits, const int32_t* targets, float scale, unsigned V) {
  const size_t begin = size_t(blockIdx.x) * V, end = begin + V, target = begin + targets[blockIdx.x];
  const float target_logit = to_float(logits[target]);

  // 1. and 2. the largest logit, so that exp cannot overflow, and the sum of exp, in one visit
  MaxSum mine;
  for_range<W>(begin, end, [&](size_t v, auto w) { mine.add(load<decltype(w)::value>(logits + v)); });
  const float max = block_max(mine.max);
  const float sum = block_sum(mine.sum * __expf(mine.max - max));
  if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) - (target_logit - max);
  if (scale == 0) return;

  // 3. probabilities, and in the same breath gradients
  const float share = scale / sum;
  for_range<W>(begin, end, [&](size_t v, auto w) {
    constexpr int Width = decltype(w)::value;
    Floats<Width> d = load<Width>(logits + v);
#pragma unroll
    for (int k = 0; k < Width; k++) d[k] = share * __expf(d[k] - max) - (v + k == target ? scale : 0);
    store<Width>(logits + v, d);
  });
}

template <class S>
void cross_entropy(float* losses, S* logits, const int32_t* targets, float scale, size_t BT, size_t V) {
  with_width<S>(0, {logits}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((cross_entropy_kernel<W, S>), block_each(BT, V / W, kRowThreads), losses, logits, targets, scale, V);
  });
}

}  // namespace

template <class S>
void cross_entropy_forward(float* losses, const S* logits, const int32_t* targets, size_t BT, size_t V) {
  cross_entropy(losses, const_cast<S*>(logits), targets, 0, BT, V);  // which does not write to them
}

template <class S>
void cross_entropy_forward_backward(float* losses, S* logits, const int32_t* targets, float scale, size_t BT,
                                    size_t V) {
  cross_entropy(losses, logits, targets, scale, BT, V);
}

template void cross_entropy_forward(float*, const float*, const int32_t*, size_t, size_t);
template void cross_entropy_forward(float*, const bf16*, const int32_t*, size_t, size_t);
template void cross_entropy_forward_backward(float*, float*, const int32_t*, float, size_t, size_t);
template void cross_entropy_forward_backward(float*, bf16*, const int32_t*, float, size_t, size_t);

}  // namespace cuda
