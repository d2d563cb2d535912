#include "kernels/embedding.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace cuda {

namespace {

constexpr unsigned kWarps = kThreads / kWarp;

// ---- Forward --------------------------------------------------------------------------------------------------------

template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    embedding_forward_kernel(S* out, const int32_t* tokens, const S* wte, const S* wpe, unsigned T, unsigned C) {
  const size_t i = blockIdx.x;
  const S *token = wte + size_t(tokens[i]) * C, *position = wpe ? wpe + size_t(blockIdx.x % T) * C : nullptr;
  for (unsigned c = threadIdx.x * W; c < C; c += blockDim.x * W) {
    Floats<W> x = load<W>(token + c);
    if (position) {
      const Floats<W> p = load<W>(position + c);
#pragma unroll
      for (int k = 0; k < W; k++) x[k] += p[k];
    }
    store<W>(out + i * C + c, x);
  }
}

// ---- Backward: tokens -----------------------------------------------------------------------------------------------
// Equal tokens must add to one row of dwte, always in the same order. So positions are sorted by their tokens first, equal
// tokens by position; then each run of equal tokens has one owner.

// Where a position's run lies in `order`. The position is the first of its run where `before` is 0.
struct Run {
  int32_t begin, before, length;
};

// One warp sorts kPositions positions by counting: their places follow from how many tokens are smaller, and how many are
// equal and come before.
constexpr unsigned kPositions = 4;
__global__ void __launch_bounds__(kThreads)
    sort_tokens_kernel(int32_t* order, Run* runs, const int32_t* tokens, unsigned BT) {
  const unsigned first = (blockIdx.x * kWarps + threadIdx.x / kWarp) * kPositions, lane = threadIdx.x % kWarp;
  if (first >= BT) return;
  int32_t own[kPositions];
  Run run[kPositions] = {};
#pragma unroll
  for (unsigned k = 0; k < kPositions; k++) own[k] = tokens[min(first + k, BT - 1)];

  for (unsigned j = lane; j < BT; j += kWarp) {
    const int32_t token = tokens[j];
#pragma unroll
    for (unsigned k = 0; k < kPositions; k++) {
      run[k].begin += token < own[k];
      run[k].length += token == own[k];
      run[k].before += token == own[k] && j < first + k;
    }
  }
#pragma unroll
  for (unsigned k = 0; k < kPositions; k++) {
    run[k] = {warp_sum(run[k].begin), warp_sum(run[k].before), warp_sum(run[k].length)};
    if (lane != 0 || first + k >= BT) continue;
    runs[first + k] = run[k];
    order[run[k].begin + run[k].before] = int32_t(first + k);
  }
}

// dwte[tokens[i], :] += sum of dout over the run of position i, if i is its first: warp w takes the run's places w, w + 8,
// ..., then the first warp adds up what all found. A lane has W columns.
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_tokens_kernel(float* dwte, const S* dout, const int32_t* tokens, const int32_t* order,
                                     const Run* runs, unsigned C) {
  SHARED_ARRAY(float, of_warp, [kWarps][W][kWarp]);
  const Run run = runs[blockIdx.x];
  if (run.before > 0) return;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned c = (blockIdx.y * kWarp + lane) * W;

  Floats<W> sum{};
  if (c < C)
#pragma unroll 4
    for (unsigned k = warp; k < unsigned(run.length); k += kWarps) {
      const Floats<W> d = load<W>(dout + size_t(order[run.begin + k]) * C + c);
#pragma unroll
      for (int j = 0; j < W; j++) sum[j] += d[j];
    }
#pragma unroll
  for (int j = 0; j < W; j++) of_warp[warp][j][lane] = sum[j];
  __syncthreads();
  if (warp > 0 || c >= C) return;

  float* row = dwte + size_t(tokens[blockIdx.x]) * C + c;
  Floats<W> total = load<W>(row);
#pragma unroll
  for (int j = 0; j < W; j++)
#pragma unroll
    for (unsigned w = 0; w < kWarps; w++) total[j] += of_warp[w][j][lane];
  store<W>(row, total);
}

// ---- Backward: positions --------------------------------------------------------------------------------------------

// dwpe[t, :] += sum_b dout[b, t, :]. A block has a position.
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_positions_kernel(float* dwpe, const S* dout, unsigned B, unsigned T, unsigned C) {
  const size_t t = blockIdx.x;
  for (unsigned c = threadIdx.x * W; c < C; c += blockDim.x * W) {
    Floats<W> sum = load<W>(dwpe + t * C + c);
    for (unsigned b = 0; b < B; b++) {
      const Floats<W> d = load<W>(dout + (b * size_t(T) + t) * C + c);
#pragma unroll
      for (int k = 0; k < W; k++) sum[k] += d[k];
    }
    store<W>(dwpe + t * C + c, sum);
  }
}

}  // namespace

template <class S>
void embedding_forward(S* out, const int32_t* tokens, const S* wte, const S* wpe, size_t B, size_t T, size_t C) {
  with_width<S>(C, {out, wte, wpe}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((embedding_forward_kernel<W, S>), block_each(B * T, C / W), out, tokens, wte, wpe, T, C);
  });
}

template <class S>
void embedding_backward(float* dwte, float* dwpe, const S* dout, const int32_t* tokens, size_t B, size_t T, size_t C) {
  const size_t BT = B * T;
  Run* runs = reinterpret_cast<Run*>(shared_scratch(embedding_shared_floats(B, T)));
  int32_t* order = reinterpret_cast<int32_t*>(runs + BT);
  CUDA_LAUNCH(sort_tokens_kernel, (Grid{unsigned(divide_up(BT, kWarps * kPositions)), kThreads}), order, runs, tokens,
              BT);
  with_width<S>(C, {dwte, dwpe, dout}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    const dim3 blocks(unsigned(BT), unsigned(divide_up(C, kWarp * W)));
    CUDA_LAUNCH((embedding_backward_tokens_kernel<W, S>), (Grid{blocks, kThreads}), dwte, dout, tokens, order, runs, C);
    if (dwpe) CUDA_LAUNCH((embedding_backward_positions_kernel<W, S>), block_each(T, C / W), dwpe, dout, B, T, C);
  });
}

size_t embedding_shared_floats(size_t B, size_t T) { return B * T * (sizeof(Run) + sizeof(int32_t)) / sizeof(float); }

template void embedding_forward(float*, const int32_t*, const float*, const float*, size_t, size_t, size_t);
template void embedding_forward(bf16*, const int32_t*, const bf16*, const bf16*, size_t, size_t, size_t);
template void embedding_backward(float*, float*, const float*, const int32_t*, size_t, size_t, size_t);
template void embedding_backward(float*, float*, const bf16*, const int32_t*, size_t, size_t, size_t);

}  // namespace cuda
