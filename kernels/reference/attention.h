// Causal attention with any normalizer, written as plainly as it can be: four loops, one query at a time. Contract:
// kernels/attention.h, for arrays of Real, except that nothing is saved for the backward, which starts again from qkv.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/reference/normalizer.h"

namespace reference {

// The learned numbers of query t of head h: the head's, which for all heads lie in theta (N::params, NH), and that of
// its n = t + 1 visible keys.
template <class N, class Real>
std::vector<Real> theta_of_row(const Real* theta, const Real* length_scale, size_t t, size_t h, size_t NH) {
  std::vector<Real> result(kThetaWords<N>);
  for (int p = 0; p < N::params; p++) result[p] = theta[p * NH + h];
  if constexpr (N::length_scale) result[N::params] = length_scale[t];
  return result;
}

// Overwrites z (t + 1) with the scores of query t of head h; qkv (T,3C) is that of one sequence.
template <class Real>
void attention_scores(Real* z, const Real* qkv, Real slope, size_t t, size_t h, size_t C, size_t HS) {
  const Real* q = qkv + t * 3 * C + h * HS;
  for (size_t j = 0; j <= t; j++) {
    const Real* k = qkv + j * 3 * C + C + h * HS;
    Real sum = 0;
    for (size_t i = 0; i < HS; i++) sum += q[i] * k[i];
    z[j] = sum / std::sqrt(Real(HS)) - slope * Real(t - j);
  }
}

// Overwrites out.
template <class N, class Real>
void attention_forward(Real* out, const Real* qkv, const Real* theta, const Real* length_scale, const Real* slopes,
                       size_t B, size_t T, size_t C, size_t NH) {
  size_t HS = C / NH;
  std::vector<Real> z(T), a(T);
  for (size_t b = 0; b < B; b++)
    for (size_t h = 0; h < NH; h++) {
      const Real* qkv_b = qkv + b * T * 3 * C;
      for (size_t t = 0; t < T; t++) {
        // pass 1: z_j = <q_t, k_j> / sqrt(HS) - slope_h (t - j)
        attention_scores(z.data(), qkv_b, slopes ? slopes[h] : Real(0), t, h, C, HS);

        // pass 2: a = N(z)
        auto theta_t = theta_of_row<N>(theta, length_scale, t, h, NH);
        normalize<N>(a.data(), z.data(), theta_t.data(), t + 1);

        // pass 3: out_t = sum_j a_j v_j
        Real* out_bth = out + (b * T + t) * C + h * HS;
        for (size_t i = 0; i < HS; i++) out_bth[i] = 0;
        for (size_t j = 0; j <= t; j++) {
          const Real* v = qkv_b + j * 3 * C + 2 * C + h * HS;
          for (size_t i = 0; i < HS; i++) out_bth[i] += a[j] * v[i];
        }
      }
    }
}

// Overwrites dqkv; adds to dtheta and dlength_scale.
template <class N, class Real>
void attention_backward(Real* dqkv, Real* dtheta, Real* dlength_scale, const Real* dout, const Real* qkv,
                        const Real* theta, const Real* length_scale, const Real* slopes, size_t B, size_t T, size_t C,
                        size_t NH) {
  size_t HS = C / NH;
  std::vector<Real> z(T), a(T), g(T), dz(T), dtheta_t(kThetaWords<N>);
  for (size_t i = 0; i < B * T * 3 * C; i++) dqkv[i] = 0;
  for (size_t b = 0; b < B; b++)
    for (size_t h = 0; h < NH; h++) {
      const Real* qkv_b = qkv + b * T * 3 * C;
      Real* dqkv_b = dqkv + b * T * 3 * C;
      for (size_t t = 0; t < T; t++) {
        // passes 1 and 2 of the forward again
        attention_scores(z.data(), qkv_b, slopes ? slopes[h] : Real(0), t, h, C, HS);
        auto theta_t = theta_of_row<N>(theta, length_scale, t, h, NH);
        auto row = normalize<N>(a.data(), z.data(), theta_t.data(), t + 1);

        // backward pass 3: g_j = <dout_t, v_j>,  dv_j += a_j dout_t
        const Real* dout_bth = dout + (b * T + t) * C + h * HS;
        for (size_t j = 0; j <= t; j++) {
          size_t v = j * 3 * C + 2 * C + h * HS;
          g[j] = 0;
          for (size_t i = 0; i < HS; i++) {
            g[j] += dout_bth[i] * qkv_b[v + i];
            dqkv_b[v + i] += a[j] * dout_bth[i];
          }
        }

        // backward pass 2: the normalizer's own
        normalize_backward<N>(dz.data(), dtheta_t.data(), g.data(), a.data(), z.data(), row, t + 1);
        for (int p = 0; p < N::params; p++) dtheta[p * NH + h] += dtheta_t[p];
        if constexpr (N::length_scale) dlength_scale[t] += dtheta_t[N::params];

        // backward pass 1: dq_t += dz_j k_j / sqrt(HS),  dk_j += dz_j q_t / sqrt(HS)
        size_t q = t * 3 * C + h * HS;
        for (size_t j = 0; j <= t; j++) {
          size_t k = j * 3 * C + C + h * HS;
          for (size_t i = 0; i < HS; i++) {
            dqkv_b[q + i] += dz[j] / std::sqrt(Real(HS)) * qkv_b[k + i];
            dqkv_b[k + i] += dz[j] / std::sqrt(Real(HS)) * qkv_b[q + i];
          }
        }
      }
    }
}

}  // namespace reference
