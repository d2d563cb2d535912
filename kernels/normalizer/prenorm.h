// Pre-normalization (arXiv 2108.07153): another normalizer, applied to the row's scores after they are standardized.
//
//   u_j = (z_j - mean) r,   r = 1 / sqrt(var + 1e-5),   a = Inner(u)
//
// mean and var are taken over the visible keys of the row; var is the unbiased one (divided by n - 1), as in the
// authors' code. A row of one key has no variance and is left as it is. Scores arrive already scaled by 1/sqrt(HS), as
// in the authors' second module. A row of equal scores has u = 0 and slopes of up to 1/sqrt(1e-5) = 316.
//
// Backward, with du from Inner:   dz_j = r (du_j - mean(du) - u_j sum_k du_k u_k / (n - 1)).
//
// The sums run over z - shift, shift the row's first score: one pass, no cancellation when the scores are large and
// close together, and two parts of a row can be merged exactly. Squares are taken of (z - shift) 2^-44: so they do not
// overflow for scores up to 1e30, and keep their digits down to where 1e-5 hides them.
#pragma once

#include "kernels/normalizer/interface.h"

template <class Inner>
struct PreNorm : Normalizer {
  static constexpr int passes = Inner::passes + 1, back_passes = Inner::back_passes + 1, params = Inner::params;
  static constexpr bool length_scale = Inner::length_scale;

  template <class V>
  static HD V small(V x) {
    return x * V(0x1p-44f);
  }

  template <class V>
  struct Row {
    V count, shift, sum, squares;      // pass 0: sums of z - shift and of small(z - shift)^2 over `count` keys
    V mean, r, over_n, over_n_less_1;  // 1 / n and 1 / (n - 1); both 0 in a row of one key
    typename Inner::template Row<V> inner;
  };
  template <class V>
  struct Back {
    V sum, dot_u;  // sum_k du_k and sum_k du_k u_k
    typename Inner::template Back<V> inner;
  };

  template <class V>
  static HD Row<V> begin(V n, const V* theta) {
    return {V(0), V(0), V(0), V(0), V(0), V(1), V(0), V(0), Inner::begin(n, theta)};
  }
  template <class V>
  static HD V add(Row<V>& row, V z, V j, auto pass) {
    if constexpr (pass == 0) {
      row.shift = num::select(row.count == V(0), z, row.shift);
      V d = z - row.shift;
      row.count += V(1);
      row.sum += d;
      row.squares = num::fma(small(d), small(d), row.squares);
      return z;
    } else {
      return Inner::add(row.inner, (z - row.mean) * row.r, j, Pass<pass - 1>());
    }
  }
  template <class V>
  static HD void merge(Row<V>& row, const Row<V>& other, auto pass) {
    if constexpr (pass == 0) {  // (z - shift) = (z - other.shift) + d
      row.shift = num::select(row.count == V(0), other.shift, row.shift);
      V d = num::select(other.count == V(0), V(0), other.shift - row.shift);
      row.count += other.count;
      row.sum += other.sum + other.count * d;
      row.squares += other.squares + small(d) * (V(2) * small(other.sum) + other.count * small(d));
    } else {
      Inner::merge(row.inner, other.inner, Pass<pass - 1>());
    }
  }
  template <class V>
  static HD void end(Row<V>& row, auto pass) {
    if constexpr (pass == 0) {
      V over_n = V(1) / row.count;
      V over_n_less_1 = V(1) / num::max(row.count - V(1), V(1));
      V mean = row.sum * over_n;                                                           // of z - shift
      V var = num::max(row.squares - small(mean) * small(row.sum), V(0)) * over_n_less_1;  // of small(z)
      auto many = row.count > V(1);
      row.mean = num::select(many, row.shift + mean, V(0));
      row.r = num::select(many, small(V(1) / num::sqrt(var + small(small(V(1e-5f))))), V(1));
      row.over_n = num::select(many, over_n, V(0));
      row.over_n_less_1 = num::select(many, over_n_less_1, V(0));
    } else {
      Inner::end(row.inner, Pass<pass - 1>());
    }
  }
  template <class V>
  static HD V scale(const Row<V>& row) {
    return Inner::scale(row.inner);
  }

  template <class V>
  static HD Back<V> back_begin(const Row<V>& row, V dot) {
    return {V(0), V(0), Inner::back_begin(row.inner, dot)};
  }
  template <class V>
  static HD V back_add(const Row<V>& row, Back<V>& back, V z, V j, V g, auto pass) {
    V u = (z - row.mean) * row.r;
    if constexpr (pass < Inner::back_passes) {
      V du = Inner::back_add(row.inner, back.inner, u, j, g, pass);
      if constexpr (pass == Inner::back_passes - 1) {
        back.sum += du;
        back.dot_u = num::fma(du, u, back.dot_u);
      }
      return du;
    } else {
      return row.r * num::fma(-u, back.dot_u * row.over_n_less_1, g - back.sum * row.over_n);
    }
  }
  template <class V>
  static HD void back_merge(Back<V>& back, const Back<V>& other, auto pass) {
    if constexpr (pass < Inner::back_passes) Inner::back_merge(back.inner, other.inner, pass);
    if constexpr (pass == Inner::back_passes - 1) {
      back.sum += other.sum;
      back.dot_u += other.dot_u;
    }
  }
  template <class V>
  static HD void dparam(const Back<V>& back, V n, V* dtheta) {
    Inner::dparam(back.inner, n, dtheta);
  }
};
