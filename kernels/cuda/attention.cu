// Compiled once for each normalizer, for both storage types.
#include "kernels/attention.h"

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/attention_plain_kernels.h"
#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace plain {

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* slopes, size_t B, size_t T,
                       size_t C, size_t NH) {
  const Shape shape{B, T, C, NH, C / NH};
  CUDA_LAUNCH((forward_kernel<N, S>), (Grid{unsigned(shape.heads() * T), kWarp, 2 * shape.HS * sizeof(float)}), out,
              rows, qkv, theta, slopes, shape);
}

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, const S* dout, const S* out, const float* rows, const S* qkv,
                        const float* theta, const float* slopes, size_t B, size_t T, size_t C, size_t NH) {
  (void)theta;  // what the backward needs of it is in rows
  const Shape shape{B, T, C, NH, C / NH};
  const BackScratch scratch = back_scratch(B, T, NH);
  const unsigned blocks = unsigned(shape.heads() * T);
  CUDA_LAUNCH((backward_query_kernel<N, S>), (Grid{blocks, kWarp, 3 * shape.HS * sizeof(float)}), dqkv, scratch, dout,
              out, rows, qkv, slopes, shape);
  CUDA_LAUNCH((backward_key_kernel<N, S>), (Grid{blocks, kWarp, 4 * shape.HS * sizeof(float)}), dqkv, scratch, dout,
              rows, qkv, slopes, shape);
  if (N::params > 0) add_dtheta(dtheta, scratch.dtheta, N::params, B, T, NH);
}

}  // namespace plain

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* slopes, size_t B, size_t T,
                       size_t C, size_t NH) {
  plain::attention_forward<N>(out, rows, qkv, theta, slopes, B, T, C, NH);
}

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, const S* dout, const S* out, const float* rows, const S* qkv,
                        const float* theta, const float* slopes, size_t B, size_t T, size_t C, size_t NH) {
  plain::attention_backward<N>(dqkv, dtheta, dout, out, rows, qkv, theta, slopes, B, T, C, NH);
}

#define ATTNORM_INSTANTIATE(S)                                                                                         \
  template void attention_forward<SelectedNormalizer, S>(S*, float*, const S*, const float*, const float*, size_t,     \
                                                         size_t, size_t, size_t);                                      \
  template void attention_backward<SelectedNormalizer, S>(S*, float*, const S*, const S*, const float*, const S*,      \
                                                          const float*, const float*, size_t, size_t, size_t, size_t); \
  template void plain::attention_forward<SelectedNormalizer, S>(S*, float*, const S*, const float*, const float*,      \
                                                                size_t, size_t, size_t, size_t);                       \
  template void plain::attention_backward<SelectedNormalizer, S>(S*, float*, const S*, const S*, const float*,         \
                                                                 const S*, const float*, const float*, size_t, size_t, \
                                                                 size_t, size_t);
ATTNORM_INSTANTIATE(float)
ATTNORM_INSTANTIATE(bf16)

}  // namespace cuda
