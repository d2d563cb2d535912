#include "kernels/layernorm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

// A warp takes a row. It visits the row once for each step below; only the first visit goes to memory, the row then lies
// in the L1 cache.

namespace cuda {

namespace {

constexpr unsigned kWarps = kThreads / kWarp;

// inp = stream + branch where there is a branch, else inp is stream.
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    layernorm_forward_kernel(S* out, float* mean, float* rstd, S* inp, const S* stream, const S* branch,
                             const float* weight, const float* bias, unsigned BT, unsigned C) {
  const unsigned i = blockIdx.x * kWarps + threadIdx.x / kWarp, first = threadIdx.x % kWarp * W, step = kWarp * W;
  if (i >= BT) return;
  const size_t row = size_t(i) * C;
  const S* x = branch ? inp + row : stream + row;

  // 1. the sum of both, and its mean
  float sum = 0;
  for (unsigned c = first; c < C; c += step) {
    Floats<W> both = load<W>(stream + row + c);
    if (branch) {
      const Floats<W> other = load<W>(branch + row + c);
#pragma unroll
      for (int k = 0; k < W; k++) both[k] = to_float(narrow<S>(both[k] + other[k]));  // as it is stored
      store<W>(inp + row + c, both);
    }
#pragma unroll
    for (int k = 0; k < W; k++) sum += both[k];
  }
  const float m = warp_sum(sum) / float(C);

  // 2. variance, around the mean: no cancellation
  float squares = 0;
  for (unsigned c = first; c < C; c += step) {
    const Floats<W> xc = load<W>(x + c);
#pragma unroll
    for (int k = 0; k < W; k++) squares = fmaf(xc[k] - m, xc[k] - m, squares);
  }
  const float r = 1 / sqrtf(warp_sum(squares) / float(C) + kLayerNormEps);

  // 3. normalize, scale, shift
  for (unsigned c = first; c < C; c += step) {
    Floats<W> xc = load<W>(x + c);
    const Floats<W> gain = load<W>(weight + c), shift = load<W>(bias + c);
#pragma unroll
    for (int k = 0; k < W; k++) xc[k] = fmaf((xc[k] - m) * r, gain[k], shift[k]);
    store<W>(out + row + c, xc);
  }
  if (first == 0) {
    mean[i] = m;
    rstd[i] = r;
  }
}

// Each warp adds up dweight and dbias of its rows in shared memory of its own, where every lane has its columns; the
// block leaves their sum in partial (blocks,2,C).
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    layernorm_backward_kernel(S* dinp, float* partial, const S* dresidual, const S* dout, const S* inp,
                              const float* weight, const float* mean, const float* rstd, unsigned BT, unsigned C) {
  DYNAMIC_SHARED(float, sums);  // (warps,2,C)
  const unsigned warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp;
  const unsigned first = threadIdx.x % kWarp * W, step = kWarp * W;
  float *dw = sums + size_t(warp) * 2 * C, *db = dw + C;
  for (unsigned c = first; c < C; c += step) {
    store<W>(dw + c, Floats<W>{});
    store<W>(db + c, Floats<W>{});
  }

  for (unsigned i = blockIdx.x * warps + warp; i < BT; i += gridDim.x * warps) {
    const size_t row = size_t(i) * C;
    const float m = mean[i], r = rstd[i];

    // 3. weight and bias
    float sum_d = 0, sum_dx = 0;
    for (unsigned c = first; c < C; c += step) {
      const Floats<W> inp_c = load<W>(inp + row + c), dy = load<W>(dout + row + c), gain = load<W>(weight + c);
      Floats<W> dw_c = load<W>(dw + c), db_c = load<W>(db + c);
#pragma unroll
      for (int k = 0; k < W; k++) {
        const float x = (inp_c[k] - m) * r, d = dy[k] * gain[k];
        dw_c[k] = fmaf(dy[k], x, dw_c[k]);
        db_c[k] += dy[k];
        sum_d += d;
        sum_dx = fmaf(d, x, sum_dx);
      }
      store<W>(dw + c, dw_c);
      store<W>(db + c, db_c);
    }

    // 2. and 1. through the variance and the mean
    const float mean_d = warp_sum(sum_d) / float(C), mean_dx = warp_sum(sum_dx) / float(C);
    for (unsigned c = first; c < C; c += step) {
      const Floats<W> inp_c = load<W>(inp + row + c), dy = load<W>(dout + row + c), gain = load<W>(weight + c);
      Floats<W> d = dresidual ? load<W>(dresidual + row + c) : Floats<W>{};
#pragma unroll
      for (int k = 0; k < W; k++) {
        const float x = (inp_c[k] - m) * r;
        d[k] = fmaf(r, dy[k] * gain[k] - mean_d - x * mean_dx, d[k]);
      }
      store<W>(dinp + row + c, d);
    }
  }

  __syncthreads();
  for (unsigned c = threadIdx.x; c < 2 * C; c += blockDim.x) {
    float sum = 0;
    for (unsigned w = 0; w < warps; w++) sum += sums[size_t(w) * 2 * C + c];
    partial[size_t(blockIdx.x) * 2 * C + c] = sum;
  }
}

// The backward's blocks: 4 for each multiprocessor of a large GPU, where each takes 8 warps and 48 KiB of shared memory.
constexpr size_t kMostBlocks = 512, kSharedBytes = 48 << 10;

template <class S>
void forward(S* out, float* mean, float* rstd, S* inp, const S* stream, const S* branch, const float* weight,
             const float* bias, size_t BT, size_t C) {
  with_width<S>(C, {out, inp, stream, branch, weight, bias}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((layernorm_forward_kernel<W, S>), (Grid{unsigned(divide_up(BT, kWarps)), kThreads}), out, mean, rstd,
                inp, stream, branch, weight, bias, BT, C);
  });
}

}  // namespace

template <class S>
void layernorm_forward(S* out, float* mean, float* rstd, const S* inp, const float* weight, const float* bias,
                       size_t BT, size_t C) {
  forward<S>(out, mean, rstd, nullptr, inp, nullptr, weight, bias, BT, C);
}

template <class S>
void residual_layernorm_forward(S* out, float* mean, float* rstd, S* inp, const S* stream, const S* branch,
                                const float* weight, const float* bias, size_t BT, size_t C) {
  forward(out, mean, rstd, inp, stream, branch, weight, bias, BT, C);
}

// A lane has 4 columns at a time in either precision: its sums in shared memory are fp32, and 128 bits of them are what a
// lane can read without waiting for another.
template <class S>
void layernorm_backward(S* dinp, float* dweight, float* dbias, const S* dresidual, const S* dout, const S* inp,
                        const float* weight, const float* mean, const float* rstd, size_t BT, size_t C) {
  const size_t warp_bytes = 2 * C * sizeof(float);
  const size_t warps = std::clamp<size_t>(kSharedBytes / warp_bytes, 1, kWarps);
  const size_t blocks = std::min(kMostBlocks, divide_up(BT, warps));
  float* partial = shared_scratch(layernorm_shared_floats(C));
  with_width<float>(C, {dinp, dresidual, dout, inp, weight}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((layernorm_backward_kernel<W, S>),
                (Grid{unsigned(blocks), unsigned(warps) * kWarp, warps * warp_bytes}), dinp, partial, dresidual, dout,
                inp, weight, mean, rstd, BT, C);
  });
  add_partial_sums(dweight, dbias, partial, blocks, C);
}

size_t layernorm_shared_floats(size_t C) { return kMostBlocks * 2 * C; }

template void layernorm_forward(float*, float*, float*, const float*, const float*, const float*, size_t, size_t);
template void layernorm_forward(bf16*, float*, float*, const bf16*, const float*, const float*, size_t, size_t);
template void residual_layernorm_forward(float*, float*, float*, float*, const float*, const float*, const float*,
                                         const float*, size_t, size_t);
template void residual_layernorm_forward(bf16*, float*, float*, bf16*, const bf16*, const bf16*, const float*,
                                         const float*, size_t, size_t);
template void layernorm_backward(float*, float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, const float*, size_t, size_t);
template void layernorm_backward(bf16*, float*, float*, const bf16*, const bf16*, const bf16*, const float*,
                                 const float*, const float*, size_t, size_t);

}  // namespace cuda
