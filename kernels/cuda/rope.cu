#include "kernels/rope.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

// One block for each position of the batch: it reads the position's angles once for all heads of q and k. A thread
// rotates W pairs at a time. direction +1 rotates, -1 rotates back.
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    rotate_kernel(S* qkv, const float* table, float direction, unsigned T, unsigned C, unsigned half) {
  S* row = qkv + size_t(blockIdx.x) * 3 * C;
  const float *cosines = table + size_t(blockIdx.x % T) * 2 * half, *sines = cosines + half;
  // NH heads of q, then NH of k, each half + half numbers: C pairs
  for (unsigned pair = threadIdx.x * W; pair < C; pair += blockDim.x * W) {
    const unsigned head = pair / half, d = pair % half;
    S* x = row + head * 2 * half + d;
    const Floats<W> cosine = load<W>(cosines + d), sine = load<W>(sines + d);
    Floats<W> a = load<W>(x), b = load<W>(x + half);
#pragma unroll
    for (int k = 0; k < W; k++) {
      const float first = a[k], second = b[k], s = direction * sine[k];
      a[k] = fmaf(-second, s, first * cosine[k]);
      b[k] = fmaf(first, s, second * cosine[k]);
    }
    store<W>(x, a);
    store<W>(x + half, b);
  }
}

template <class S>
void rotate(S* qkv, const float* table, float direction, size_t B, size_t T, size_t C, size_t NH) {
  const size_t half = C / NH / 2;
  with_width<S>(half, {qkv, table}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((rotate_kernel<W, S>), block_each(B * T, C / W), qkv, table, direction, T, C, half);
  });
}

}  // namespace

template <class S>
void rope_forward(S* qkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(qkv, table, 1, B, T, C, NH);
}

template <class S>
void rope_backward(S* dqkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(dqkv, table, -1, B, T, C, NH);
}

template void rope_forward(float*, const float*, size_t, size_t, size_t, size_t);
template void rope_forward(bf16*, const float*, size_t, size_t, size_t, size_t);
template void rope_backward(float*, const float*, size_t, size_t, size_t, size_t);
template void rope_backward(bf16*, const float*, size_t, size_t, size_t, size_t);

}  // namespace cuda
