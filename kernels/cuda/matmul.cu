#include "kernels/matmul.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace cuda {

namespace {

// ---- Products -------------------------------------------------------------------------------------------------------

template <class P>
constexpr cudaDataType_t kDataType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kDataType<bf16> = CUDA_R_16BF;

// A matrix as it lies in memory, row after row, or the transpose of that.
template <class P>
struct Factor {
  const P* data;
  bool transposed = false;
};

// c (M,N) = beta c + a (M,K) b (K,N), sums in fp32. cuBLAS takes matrices column after column; read so, the memory of a
// matrix holds its transpose, and c^T = b^T a^T is a product of what lies there.
template <class P, class R>
void product(R* c, Factor<P> a, Factor<P> b, size_t M, size_t N, size_t K, float beta) {
  const float alpha = 1;
  const auto operation = [](Factor<P> factor) { return factor.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const size_t a_row = a.transposed ? M : K, b_row = b.transposed ? K : N;
  CUDA_CHECK(cublasGemmEx(cublas(), operation(b), operation(a), int(N), int(M), int(K), &alpha, b.data, kDataType<P>,
                          int(b_row), a.data, kDataType<P>, int(a_row), &beta, c, kDataType<R>, int(N),
                          CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

// ---- Biases ---------------------------------------------------------------------------------------------------------

// Writes the bias to every row of out, where the product is then added to it: writing alone costs less than a visit to
// the finished product.
template <int W, class S>
__global__ void __launch_bounds__(kThreads) fill_rows_kernel(S* out, const float* bias, unsigned OC) {
  S* row = out + size_t(blockIdx.x) * OC;
  for (unsigned o = threadIdx.x * W; o < OC; o += blockDim.x * W) store<W>(row + o, load<W>(bias + o));
}

template <class S>
void fill_rows(S* out, const float* bias, size_t BT, size_t OC) {
  with_width<S>(OC, {out, bias}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((fill_rows_kernel<W, S>), block_each(BT, OC / W), out, bias, OC);
  });
}

// How the column sums of a (BT,OC) matrix are cut into blocks: 32 lanes' columns wide, and as many rows as leave about
// kBlocks blocks, but not fewer than kLeastRows.
constexpr size_t kBlocks = 1024, kLeastRows = 64;
constexpr unsigned kWarps = kThreads / kWarp;

size_t column_blocks(size_t OC, int W) { return divide_up(OC, size_t(kWarp * W)); }
size_t row_blocks(size_t BT, size_t OC) {
  const size_t wanted = divide_up(kBlocks, column_blocks(OC, kVectorWidth<bf16>));
  return std::min(wanted, divide_up(BT, kLeastRows));
}

// partial[block of rows, o] = sum of dout[i, o] over i in that block: warp w takes the block's rows w, w + 8, ...
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    column_sums_kernel(float* partial, const S* dout, unsigned rows, unsigned BT, unsigned OC) {
  SHARED_ARRAY(float, of_warp, [kWarps][W][kWarp]);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned o = (blockIdx.x * kWarp + lane) * W;
  const unsigned end = min(BT, (blockIdx.y + 1) * rows);

  Floats<W> sum{};
  if (o < OC)
#pragma unroll 4
    for (unsigned i = blockIdx.y * rows + warp; i < end; i += kWarps) {
      const Floats<W> d = load<W>(dout + size_t(i) * OC + o);
#pragma unroll
      for (int k = 0; k < W; k++) sum[k] += d[k];
    }
#pragma unroll
  for (int k = 0; k < W; k++) of_warp[warp][k][lane] = sum[k];
  __syncthreads();
  if (warp > 0 || o >= OC) return;

  Floats<W> total{};
#pragma unroll
  for (int k = 0; k < W; k++)
#pragma unroll
    for (unsigned w = 0; w < kWarps; w++) total[k] += of_warp[w][k][lane];
  store<W>(partial + size_t(blockIdx.y) * OC + o, total);
}

// dbias[o] += sum_i dout[i, o]
template <class S>
void add_column_sums(float* dbias, const S* dout, size_t BT, size_t OC) {
  const size_t rows = divide_up(BT, row_blocks(BT, OC)), parts = divide_up(BT, rows);
  float* partial = shared_scratch(parts * OC);
  with_width<S>(OC, {dout}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    const dim3 blocks(unsigned(column_blocks(OC, W)), unsigned(parts));
    CUDA_LAUNCH((column_sums_kernel<W, S>), (Grid{blocks, kThreads}), partial, dout, rows, BT, OC);
  });
  add_partial_sums(dbias, nullptr, partial, parts, OC);
}

}  // namespace

// ---- The layer ------------------------------------------------------------------------------------------------------

template <class P>
void matmul_forward(P* out, const P* inp, const P* weight, const float* bias, size_t BT, size_t C, size_t OC,
                    WeightLayout layout) {
  if (bias) fill_rows(out, bias, BT, OC);
  product<P>(out, {inp}, {weight, layout == WeightLayout::kOutIn}, BT, OC, C, bias ? 1 : 0);
}

template <class P>
void matmul_backward(P* dinp, float* dweight, float* dbias, const P* dout, const P* inp, const P* weight, size_t BT,
                     size_t C, size_t OC, WeightLayout layout) {
  // dinp (BT,C) = dout (BT,OC) W^T
  if (dinp) product<P>(dinp, {dout}, {weight, layout == WeightLayout::kInOut}, BT, C, OC, 0);

  // dW += inp^T dout, or its transpose
  if (dweight && layout == WeightLayout::kInOut) product<P>(dweight, {inp, true}, {dout}, C, OC, BT, 1);
  if (dweight && layout == WeightLayout::kOutIn) product<P>(dweight, {dout, true}, {inp}, OC, C, BT, 1);

  if (dbias) add_column_sums(dbias, dout, BT, OC);
}

size_t matmul_shared_floats(size_t BT, size_t, size_t OC) { return row_blocks(BT, OC) * OC; }

template void matmul_forward<float>(float*, const float*, const float*, const float*, size_t, size_t, size_t,
                                    WeightLayout);
template void matmul_forward<bf16>(bf16*, const bf16*, const bf16*, const float*, size_t, size_t, size_t, WeightLayout);
template void matmul_backward<float>(float*, float*, float*, const float*, const float*, const float*, size_t, size_t,
                                     size_t, WeightLayout);
template void matmul_backward<bf16>(bf16*, float*, float*, const bf16*, const bf16*, const bf16*, size_t, size_t,
                                    size_t, WeightLayout);

}  // namespace cuda
