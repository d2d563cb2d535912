// One row of attention under any normalizer N, as its interface asks to be called (kernels/normalizer/interface.h).
#pragma once

#include <cstddef>

#include "kernels/normalizer/normalizer.h"

namespace reference {

// Overwrites the weights a (n) of the scores z (n); theta: the kThetaWords<N> learned numbers of the row. Returns the
// finished row, from which the backward starts.
template <class N, class Real>
typename N::template Row<Real> normalize(Real* a, const Real* z, const Real* theta, size_t n) {
  auto row = N::begin(Real(n), theta);
  for_each_pass<N::passes>([&](auto pass) {
    for (size_t j = 0; j < n; j++) a[j] = N::add(row, z[j], Real(j), pass);
    N::end(row, pass);
  });
  for (size_t j = 0; j < n; j++) a[j] *= N::scale(row);
  return row;
}

// Overwrites dz (n) with dL/dz from g (n) = dL/da, and dtheta (kThetaWords<N>) with this row's part of dL/dtheta. dz may be
// g itself.
template <class N, class Real>
void normalize_backward(Real* dz, Real* dtheta, const Real* g, const Real* a, const Real* z,
                        const typename N::template Row<Real>& row, size_t n) {
  Real dot = 0;
  for (size_t j = 0; j < n; j++) dot += a[j] * g[j];
  auto back = N::back_begin(row, dot);
  for_each_pass<N::back_passes>([&](auto pass) {  // each pass receives what the one before returned, the first g
    for (size_t j = 0; j < n; j++) dz[j] = N::back_add(row, back, z[j], Real(j), pass == 0 ? g[j] : dz[j], pass);
  });
  N::dparam(back, Real(n), dtheta);
}

}  // namespace reference
