#include "kernels/gelu.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

constexpr float kTwoRootTwoOverPi = 1.5957691216f;  // 2 sqrt(2/pi)
constexpr float kCubic = 0.044715f;

// 1 / sigmoid(2u) = 1 + exp(-2u), u = sqrt(2/pi) (x + 0.044715 x^3)
__device__ float over_gate(float x) {
  return 1 + expf(-x * fmaf(kTwoRootTwoOverPi * kCubic, x * x, kTwoRootTwoOverPi));
}

// __fdividef errs by 2 units in the last place; an exact division would take longer than memory does.
template <int W, class S>
__global__ void __launch_bounds__(kThreads) gelu_forward_kernel(S* out, const S* inp, size_t n) {
  const size_t i = grid_thread() * W;
  if (i >= n) return;
  Floats<W> x = load<W>(inp + i);
#pragma unroll
  for (int k = 0; k < W; k++) x[k] = __fdividef(x[k], over_gate(x[k]));
  store<W>(out + i, x);
}

// d/dx x s(x) = s + x s (1 - s) 2 du/dx
template <int W, class S>
__global__ void __launch_bounds__(kThreads) gelu_backward_kernel(S* dinp, const S* dout, const S* inp, size_t n) {
  const size_t i = grid_thread() * W;
  if (i >= n) return;
  const Floats<W> x = load<W>(inp + i);
  Floats<W> d = load<W>(dout + i);
#pragma unroll
  for (int k = 0; k < W; k++) {
    const float s = __fdividef(1, over_gate(x[k]));
    const float two_du = fmaf(3 * kTwoRootTwoOverPi * kCubic * x[k], x[k], kTwoRootTwoOverPi);
    d[k] *= fmaf(x[k] * s * (1 - s), two_du, s);
  }
  store<W>(dinp + i, d);
}

}  // namespace

template <class S>
void gelu_forward(S* out, const S* inp, size_t n) {
  with_width<S>(n, {out, inp}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((gelu_forward_kernel<W, S>), thread_each(n / W), out, inp, n);
  });
}

template <class S>
void gelu_backward(S* dinp, const S* dout, const S* inp, size_t n) {
  with_width<S>(n, {dinp, dout, inp}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((gelu_backward_kernel<W, S>), thread_each(n / W), dinp, dout, inp, n);
  });
}

template void gelu_forward(float*, const float*, size_t);
template void gelu_forward(bf16*, const bf16*, size_t);
template void gelu_backward(float*, const float*, const float*, size_t);
template void gelu_backward(bf16*, const bf16*, const bf16*, size_t);

}  // namespace cuda
