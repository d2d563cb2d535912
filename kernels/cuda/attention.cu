// Compiled once for each normalizer, for both storage types.
#include "kernels/attention.h"

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/attention_plain_kernels.h"
#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/launch.h"

namespace cuda {

// Adds what the rows left of the gradients of what N learns.
template <class N>
void add_learned(float* dtheta, float* dlength_scale, const BackScratch& scratch, size_t B, size_t T, size_t NH) {
  if (N::params > 0) add_dtheta(dtheta, scratch.dtheta, N::params, B, T, NH);
  if (N::length_scale) add_partial_sums(dlength_scale, nullptr, scratch.dlengths, B * NH, T);
}

namespace plain {

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH) {
  const Shape shape(B, T, C, NH);
  CUDA_LAUNCH((forward_kernel<N, S>), (Grid{unsigned(B * T * NH), kWarp, 2 * C / NH * sizeof(float)}), out, rows, qkv,
              theta, length_scale, slopes, shape);
}

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, float* dlength_scale, const S* dout, const S* out, const float* rows,
                        const S* qkv, const float* theta, const float* slopes, size_t B, size_t T, size_t C,
                        size_t NH) {
  (void)theta;  // what the backward needs of it is in rows
  const Shape shape(B, T, C, NH);
  const BackScratch scratch = back_scratch(B, T, NH, N::length_scale);
  const unsigned blocks = unsigned(B * T * NH);
  CUDA_LAUNCH((backward_query_kernel<N, S>), (Grid{blocks, kWarp, 3 * C / NH * sizeof(float)}), dqkv, scratch, dout,
              out, rows, qkv, slopes, shape);
  CUDA_LAUNCH((backward_key_kernel<N, S>), (Grid{blocks, kWarp, 4 * C / NH * sizeof(float)}), dqkv, scratch, dout, rows,
              qkv, slopes, shape);
  add_learned<N>(dtheta, dlength_scale, scratch, B, T, NH);
}

}  // namespace plain

namespace tile {

template <class S, int HS>
Grid grid(const Shape& shape, size_t shared_bytes) {
  return {unsigned(shape.heads()) * unsigned(divide_up(size_t(shape.T), Tiling<S, HS>::kRows)), Tiling<S, HS>::kThreads,
          shared_bytes};
}

template <class N, int HS, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                       const float* slopes, const Shape& shape) {
  CUDA_LAUNCH((forward_kernel<N, S, HS>), (grid<S, HS>(shape, ForwardMemory<S, HS>::kBytes)), out, rows, qkv, theta,
              length_scale, slopes, shape);
}

template <class N, int HS, class S>
void attention_backward(S* dqkv, float* dtheta, float* dlength_scale, const S* dout, const S* out, const float* rows,
                        const S* qkv, const float* slopes, const Shape& shape) {
  const BackScratch scratch = back_scratch(size_t(shape.B), size_t(shape.T), size_t(shape.NH), N::length_scale);
  CUDA_LAUNCH((backward_query_kernel<N, S, HS>), (grid<S, HS>(shape, BackwardQueryMemory<S, HS>::kBytes)), dqkv,
              scratch, dout, out, rows, qkv, slopes, shape);
  CUDA_LAUNCH((backward_key_kernel<N, S, HS>), (grid<S, HS>(shape, BackwardKeyMemory<N, S, HS>::kBytes)), dqkv, scratch,
              dout, rows, qkv, slopes, shape);
  add_learned<N>(dtheta, dlength_scale, scratch, size_t(shape.B), size_t(shape.T), size_t(shape.NH));
}

}  // namespace tile

// Calls run(Size<HS>()) where there are tiled kernels for the head size and all arrays are aligned to 16 bytes, else
// false.
template <int HS>
struct Size {
  static constexpr int value = HS;
};
template <class Run>
bool tiled(size_t HS, std::initializer_list<const void*> arrays, Run&& run) {
  for (const void* array : arrays)
    if (reinterpret_cast<uintptr_t>(array) % 16 != 0) return false;
  switch (HS) {
    case 32:
      run(Size<32>());
      return true;
    case 64:
      run(Size<64>());
      return true;
    case 128:
      run(Size<128>());
      return true;
    default:
      return false;
  }
}

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH) {
  const Shape shape(B, T, C, NH);
  if (!tiled(C / NH, {out, rows, qkv}, [&](auto size) {
        tile::attention_forward<N, size.value>(out, rows, qkv, theta, length_scale, slopes, shape);
      }))
    plain::attention_forward<N>(out, rows, qkv, theta, length_scale, slopes, B, T, C, NH);
}

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, float* dlength_scale, const S* dout, const S* out, const float* rows,
                        const S* qkv, const float* theta, const float* slopes, size_t B, size_t T, size_t C,
                        size_t NH) {
  const Shape shape(B, T, C, NH);
  if (!tiled(C / NH, {dqkv, dout, out, rows, qkv}, [&](auto size) {
        tile::attention_backward<N, size.value>(dqkv, dtheta, dlength_scale, dout, out, rows, qkv, slopes, shape);
      }))
    plain::attention_backward<N>(dqkv, dtheta, dlength_scale, dout, out, rows, qkv, theta, slopes, B, T, C, NH);
}

#define ATTNORM_INSTANTIATE(S)                                                                                         \
  template void attention_forward<SelectedNormalizer, S>(S*, float*, const S*, const float*, const float*,             \
                                                         const float*, size_t, size_t, size_t, size_t);                \
  template void attention_backward<SelectedNormalizer, S>(S*, float*, float*, const S*, const S*, const float*,        \
                                                          const S*, const float*, const float*, size_t, size_t,        \
                                                          size_t, size_t);                                             \
  template void plain::attention_forward<SelectedNormalizer, S>(S*, float*, const S*, const float*, const float*,      \
                                                                const float*, size_t, size_t, size_t, size_t);         \
  template void plain::attention_backward<SelectedNormalizer, S>(S*, float*, float*, const S*, const S*, const float*, \
                                                                 const S*, const float*, const float*, size_t, size_t, \
                                                                 size_t, size_t);
ATTNORM_INSTANTIATE(float)
ATTNORM_INSTANTIATE(bf16)

}  // namespace cuda
