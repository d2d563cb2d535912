// Causal multi-head self-attention with any normalizer. For each sequence b, head h and query t, over keys j = 0 .. t:
//
//   z_j = <q_t, k_j> / sqrt(HS) - slope_h (t - j)         scores; slope_h = 0 without ALiBi
//   a_j = N(z_0 .. z_t)_j                                 n = t + 1 visible keys; a_j = 0 for j > t
//   out_t = sum_j a_j v_j
//
//   qkv    (B,T,3C)   q, k, v of all heads side by side; head h owns channels h HS .. (h+1) HS of each; HS = C / NH
//   out    (B,T,C)    rows   attention_row_floats(...), the finished Row of every query, saved for backward
//   theta  (N::params, NH)   learned scalars of the normalizer; null where it has none
//   length_scale (T)         its learned number for each n, n = 1 first; null unless N::length_scale
//   slopes (NH)       ALiBi's, or null
//
// Never stores T x T: work proceeds by blocks of queries against all their visible keys. Scratch memory is O(T) per
// thread, and O(T) per head where there are fewer than 32. The bits do not depend on the number of threads.
// Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.2; ALiBi: Press et al. 2021, arXiv 2108.12409.
// cost: 2 B T^2 C flop forward (causal half of two products), 5/2 of that backward.
#pragma once

#include <cstddef>

#include "kernels/precision.h"

namespace cpu {

// Overwrites out and rows.
template <class N>
void attention_forward(float* out, float* rows, const float* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH);

// Overwrites dqkv; adds to dtheta and dlength_scale. out, rows, qkv, theta, slopes as the forward left them; what is
// needed of length_scale is in rows.
//   g_j = <dout_t, v_j>,  dot = sum_j a_j g_j = <dout_t, out_t>,  dz = N's gradient,
//   dv_j += a_j dout_t,  dq_t = sum_j dz_j k_j / sqrt(HS),  dk_j += dz_j q_t / sqrt(HS)
template <class N>
void attention_backward(float* dqkv, float* dtheta, float* dlength_scale, const float* dout, const float* out,
                        const float* rows, const float* qkv, const float* theta, const float* slopes, size_t B,
                        size_t T, size_t C, size_t NH);

// Size of `rows` for a normalizer whose Row has `words` words (kRowWords<N>).
size_t attention_row_floats(size_t words, size_t B, size_t T, size_t NH);

// Scratch memory of one thread, in floats, for the forward and backward of any normalizer.
size_t attention_scratch_floats(size_t T, size_t HS);

// Scratch memory that all threads of the backward share, in floats: 0 for 32 heads or more, unless N::length_scale.
size_t attention_shared_floats(size_t B, size_t T, size_t NH, size_t HS, bool length_scale);

}  // namespace cpu

namespace cuda {

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH);

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, float* dlength_scale, const S* dout, const S* out, const float* rows,
                        const S* qkv, const float* theta, const float* slopes, size_t B, size_t T, size_t C, size_t NH);

size_t attention_row_floats(size_t words, size_t B, size_t T, size_t NH);
inline size_t attention_scratch_floats(size_t, size_t) { return 0; }
// Any normalizer's gradient reductions.
size_t attention_shared_floats(size_t B, size_t T, size_t NH, size_t HS, bool length_scale);

}  // namespace cuda
