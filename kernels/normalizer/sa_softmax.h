// Self-Adjust Softmax (SA-Softmax), Zheng et al. 2025, arXiv 2502.18277: softmax times a factor that grows with the
// score itself, so that the gradient survives where softmax saturates (p -> 1).
//
//   a_j = f_j p_j,   p = softmax(z),   f_j = (z_j - lo) / D
//
//   sa_softmax          lo = min(z_min, 0), hi = max(z_max, 0), D = hi - lo + 1e-6   the paper's normalized variant
//   sa_softmax_product  lo = 0,     D = 1                                            z_j p_j, the abstract's first form
//   sa_softmax_shift    lo = z_min, D = 1
//   sa_softmax_range    lo = z_min, D = z_max - z_min + 1e-6
//
// The paper does not name the small number in D; the authors' related code uses 1e-10 to 1e-7, attnorm 1e-6, which fp32
// resolves beside scores near 1.
//
// Hazards. Rows do not sum to 1: they sum to something in [0, 1] (product, shift: any number; product: also negative
// weights). The first row has one key: sa_softmax gives it weight 1 if its score is positive and 0 if it is negative,
// so the first token's output is switched by a sign; shift and range give it 0. When all scores of a row are nearly
// equal, D is nearly 1e-6 and gradients are up to a million times larger than softmax's. That is the formula.
//
// Backward, with g_j = dL/da_j, dot = sum_k a_k g_k, G = sum_k p_k g_k; gradients flow through z_min and z_max, to the
// first key that attains them, and through the clip at 0 where z_min <= 0 and z_max >= 0:
//   D dz_j = p_j (g_j (z_j - lo) - D dot) + p_j g_j  +  [j = argmin] (dot - G)  -  [j = argmax] dot
// (shift: [j = argmin] (-G) alone.) The sum is formed first and divided by D last: dividing each term by a D of 1e-6
// leaves rounding noise of 6 % of |g| where the terms cancel.
#pragma once

#include "kernels/normalizer/interface.h"

enum class SelfAdjustKind { kClipped, kProduct, kShift, kRange };

template <SelfAdjustKind kind>
struct SelfAdjust : Normalizer {
  static constexpr bool kUsesMin = kind != SelfAdjustKind::kProduct;
  static constexpr bool kUsesRange = kind == SelfAdjustKind::kClipped || kind == SelfAdjustKind::kRange;
  static constexpr int passes = 2, back_passes = kUsesMin ? 2 : 1;

  template <class V>
  struct Row {
    V max, min, argmax, argmin;  // after pass 0: an argument is -1 where no gradient flows to it
    V lo, d, sum;                // sum becomes its inverse at the end
  };
  template <class V>
  struct Back {
    V dot, g;  // g = sum_k p_k g_k
  };

  template <class V>
  static HD Row<V> begin(V, const V*) {
    return {V(-3e38f), V(3e38f), V(-1), V(-1), V(0), V(1), V(0)};
  }
  template <class V>
  static HD V add(Row<V>& row, V z, V j, auto pass) {
    if constexpr (pass == 0) {
      if constexpr (kUsesRange) row.argmax = num::select(z > row.max, j, row.argmax);
      row.max = num::max(row.max, z);
      if constexpr (kUsesMin) {
        row.argmin = num::select(z < row.min, j, row.argmin);
        row.min = num::min(row.min, z);
      }
      return z;
    } else {
      V e = num::exp(z - row.max);
      row.sum += e;
      return (z - row.lo) * e;
    }
  }
  template <class V>
  static HD void merge(Row<V>& row, const Row<V>& other, auto pass) {
    if constexpr (pass == 0) {
      const V first_max = num::select(row.max > other.max, row.argmax, num::min(row.argmax, other.argmax));
      const V first_min = num::select(row.min < other.min, row.argmin, num::min(row.argmin, other.argmin));
      row.argmax = num::select(other.max > row.max, other.argmax, first_max);
      row.argmin = num::select(other.min < row.min, other.argmin, first_min);
      row.max = num::max(row.max, other.max);
      row.min = num::min(row.min, other.min);
    } else {
      row.sum += other.sum;
    }
  }
  template <class V>
  static HD void end(Row<V>& row, auto pass) {
    if constexpr (pass == 0) {
      V hi = row.max;
      if constexpr (kUsesMin) row.lo = row.min;
      if constexpr (kind == SelfAdjustKind::kClipped) {
        row.lo = num::min(row.min, V(0));
        hi = num::max(row.max, V(0));
        row.argmin = num::select(row.min <= V(0), row.argmin, V(-1));
        row.argmax = num::select(row.max >= V(0), row.argmax, V(-1));
      }
      if constexpr (kUsesRange) row.d = hi - row.lo + V(1e-6f);
    } else {
      row.sum = V(1) / row.sum;
    }
  }
  template <class V>
  static HD V scale(const Row<V>& row) {
    if constexpr (kUsesRange)
      return row.sum / row.d;
    else
      return row.sum;
  }

  template <class V>
  static HD Back<V> back_begin(const Row<V>&, V dot) {
    return {dot, V(0)};
  }
  template <class V>
  static HD V back_add(const Row<V>& row, Back<V>& back, V z, V j, V g, auto pass) {
    if constexpr (pass == 0) {
      V p = num::exp(z - row.max) * row.sum;
      back.g += p * g;
      return p * ((z - row.lo) * g - row.d * back.dot + g);
    } else {
      V at_min = kUsesRange ? back.dot - back.g : -back.g;
      g += num::select(j == row.argmin, at_min, V(0));
      if constexpr (!kUsesRange) return g;
      g -= num::select(j == row.argmax, back.dot, V(0));
      return g * (V(1) / row.d);  // the compiler divides once per row
    }
  }
  template <class V>
  static HD void back_merge(Back<V>& back, const Back<V>& other, auto pass) {
    if constexpr (pass == 0) back.g += other.g;
  }
};

using SASoftmax = SelfAdjust<SelfAdjustKind::kClipped>;
using SASoftmaxProduct = SelfAdjust<SelfAdjustKind::kProduct>;
using SASoftmaxShift = SelfAdjust<SelfAdjustKind::kShift>;
using SASoftmaxRange = SelfAdjust<SelfAdjustKind::kRange>;
