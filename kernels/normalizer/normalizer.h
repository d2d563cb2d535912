// The switch: the list of all normalizers, the one this program is compiled for, and what every normalizer gives for
// free.
#pragma once

#include <concepts>
#include <cstddef>

#include "kernels/normalizer/interface.h"
#include "kernels/normalizer/learned_scale.h"
#include "kernels/normalizer/periodic.h"
#include "kernels/normalizer/prenorm.h"
#include "kernels/normalizer/sa_softmax.h"
#include "kernels/normalizer/softmax.h"
#include "kernels/normalizer/ssmax.h"

// clang-format off
#define EVERY_NORMALIZER(X)                         \
  X(softmax, Softmax)                               \
  X(ssmax, SSMax)                                   \
  X(ssmax_fixed, SSMaxFixed)                        \
  X(ssmax_bias, SSMaxBias)                          \
  X(sa_softmax, SASoftmax)                          \
  X(sa_softmax_product, SASoftmaxProduct)           \
  X(sa_softmax_shift, SASoftmaxShift)               \
  X(sa_softmax_range, SASoftmaxRange)               \
  X(sinmax, Sinmax)                                 \
  X(sinmax_signed, SinmaxSigned)                    \
  X(cosmax, Cosmax)                                 \
  X(sin2max, Sin2max)                               \
  X(sin2max_shifted, Sin2maxShifted)                \
  X(sirenmax, Sirenmax)                             \
  X(sin_softmax, SinSoftmax)                        \
  X(norm_softmax, PreNorm<Softmax>)                 \
  X(norm_sinmax, PreNorm<Sinmax>)                   \
  X(norm_cosmax, PreNorm<Cosmax>)                   \
  X(norm_sin2max, PreNorm<Sin2max>)                 \
  X(norm_sin2max_shifted, PreNorm<Sin2maxShifted>)  \
  X(norm_sirenmax, PreNorm<Sirenmax>)               \
  X(norm_sin_softmax, PreNorm<SinSoftmax>)          \
  X(learned_scale, LearnedScale)
// clang-format on
// norm_sinmax_signed is left out: in a row of two keys u = (x, -x), so S = sin x - sin x = 0 and the weights are a
// rounding error divided by eps. No run of it could be compared with another.

// a_j of one key, from the finished row.
template <class N, class V>
HD V weight(const typename N::template Row<V>& row, V z, V j) {
  auto copy = row;
  return N::add(copy, z, j, Pass<N::passes - 1>()) * N::scale(row);
}

// What backward pass `upto` returns for one key, when `back` holds the reductions of the passes before it; the passes
// up to there run on a scratch copy. upto = back_passes - 1 gives dz_j. g = dL/da_j.
template <class N, int upto, class V>
HD V dscore(const typename N::template Row<V>& row, const typename N::template Back<V>& back, V z, V j, V g) {
  auto scratch = back;
  for_each_pass<upto + 1>([&](auto pass) {
    g = N::back_add(row, scratch, z, j, g, pass);
    scratch = back;
  });
  return g;
}

template <class N>
concept NormalizerFor = requires(typename N::template Row<float> row, typename N::template Back<float> back, float x,
                                 float* theta, Pass<0> pass) {
  { N::passes } -> std::convertible_to<int>;
  { N::back_passes } -> std::convertible_to<int>;
  { N::params } -> std::convertible_to<int>;
  { N::length_scale } -> std::convertible_to<bool>;
  { N::begin(x, theta) } -> std::same_as<typename N::template Row<float>>;
  { N::add(row, x, x, pass) } -> std::same_as<float>;
  N::merge(row, row, pass);
  N::end(row, pass);
  { N::scale(row) } -> std::same_as<float>;
  { N::back_begin(row, x) } -> std::same_as<typename N::template Back<float>>;
  { N::back_add(row, back, x, x, x, pass) } -> std::same_as<float>;
  N::back_merge(back, back, pass);
  N::dparam(back, x, theta);
};

// Names to types: named::ssmax is SSMax.
namespace named {
#define ATTNORM_ALIAS(name, ...)                      \
  using name = __VA_ARGS__;                           \
  static_assert(NormalizerFor<name>, #name            \
                " lacks a function of a normalizer; " \
                "kernels/normalizer/interface.h lists them all");
EVERY_NORMALIZER(ATTNORM_ALIAS)
#undef ATTNORM_ALIAS
}  // namespace named

// Words of saved state per row of attention.
template <class N>
inline constexpr size_t kRowWords = sizeof(typename N::template Row<float>) / sizeof(float);

#ifdef ATTNORM_NORMALIZER  // the name given to make as NORMALIZER=...
using SelectedNormalizer = named::ATTNORM_NORMALIZER;
#define ATTNORM_TEXT_OF(x) #x
#define ATTNORM_TEXT(x) ATTNORM_TEXT_OF(x)
inline constexpr const char* kSelectedName = ATTNORM_TEXT(ATTNORM_NORMALIZER);
#endif
