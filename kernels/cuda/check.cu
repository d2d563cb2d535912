#include "kernels/check.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace cuda {

namespace {

constexpr size_t kMostPieces = 1024, kLeastPiece = 4096;
constexpr size_t kScratchDoubles = kMostPieces + 1;

// Length of the pieces of n numbers; each has a block. A multiple of every vector's width.
size_t piece_length(size_t n) { return round_up(std::max(kLeastPiece, divide_up(n, kMostPieces)), 16); }

// 1. the sum of every piece
template <int W>
__global__ void __launch_bounds__(kThreads) squares_kernel(double* of_piece, const float* x, size_t n, size_t piece) {
  const size_t begin = blockIdx.x * piece;
  double sum = 0;
  for_range<W>(begin, min(begin + piece, n), [&](size_t i, auto w) {
    const auto element = load<decltype(w)::value>(x + i);
#pragma unroll
    for (int k = 0; k < decltype(w)::value; k++) sum += double(element[k]) * double(element[k]);
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) of_piece[blockIdx.x] = sum;
}

// 2. their sum. One block.
__global__ void __launch_bounds__(kThreads) sum_kernel(double* result, const double* of_piece, unsigned pieces) {
  double sum = 0;
  for (unsigned i = threadIdx.x; i < pieces; i += blockDim.x) sum += of_piece[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *result = sum;
}

// The least index of all wins, whatever the order in which blocks find theirs.
template <int W, class S>
__global__ void __launch_bounds__(kThreads)
    first_nonfinite_kernel(unsigned long long* first, const S* x, size_t n, size_t piece) {
  const size_t begin = blockIdx.x * piece;
  for_range<W>(begin, min(begin + piece, n), [&](size_t i, auto w) {
    const auto element = load<decltype(w)::value>(x + i);
#pragma unroll
    for (int k = decltype(w)::value - 1; k >= 0; k--)
      if (!(fabsf(element[k]) <= FLT_MAX)) atomicMin(first, i + k);
  });
}

template <class T>
T read_back(const T* from) {
  T result;
  copy_to_host(&result, from, sizeof result);
  return result;
}

}  // namespace

double sum_of_squares(const float* x, size_t n) {
  if (n == 0) return 0;
  const size_t piece = piece_length(n), pieces = divide_up(n, piece);
  double* of_piece = reinterpret_cast<double*>(shared_scratch(check_shared_floats()));
  double* result = of_piece + kMostPieces;
  with_width<float>(0, {x}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH(squares_kernel<W>, (Grid{unsigned(pieces), kThreads}), of_piece, x, n, piece);
  });
  CUDA_LAUNCH(sum_kernel, (Grid{1, kThreads}), result, of_piece, pieces);
  return read_back(result);
}

template <class S>
size_t first_nonfinite(const S* x, size_t n) {
  if (n == 0) return 0;
  const size_t piece = piece_length(n);
  auto* first = reinterpret_cast<unsigned long long*>(shared_scratch(check_shared_floats()));
  CUDA_CHECK(cudaMemsetAsync(first, 0xff, sizeof *first, stream()));  // the largest number
  with_width<S>(0, {x}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH((first_nonfinite_kernel<W, S>), (Grid{unsigned(divide_up(n, piece)), kThreads}), first, x, n, piece);
  });
  return std::min<size_t>(n, read_back(first));
}

size_t check_shared_floats() { return kScratchDoubles * sizeof(double) / sizeof(float); }

template size_t first_nonfinite(const float*, size_t);
template size_t first_nonfinite(const bf16*, size_t);

}  // namespace cuda
