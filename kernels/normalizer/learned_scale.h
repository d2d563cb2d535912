// Softmax whose sharpness is learned for every context size: the experiment that motivates SSMax (K. M. Nakanishi 2025,
// arXiv 2501.19399, section 2.1). There the learned p_n follow a_1 ln n + a_2.
//
//   learned_scale  a = softmax((s p_n + b) z)   s, b learned, one per layer and head; p_n learned, one for each number n
//                                               of visible keys, n = 1 .. T, the same in all layers and heads
//
// The paper's exact form is not known here: this one is SSMax with bias (ssmax.h) where p_n takes the place of ln n; one
// account of the paper has softmax(p_n z + b), in which b would cancel. It starts as plain softmax, s = 1, b = 0 and
// p_n = 1; neither of them has weight decay.
//
// p_n is known up to a factor and a constant alone: r p_n + c is the same model with s / r and b - c s / r. So what can
// be read are the shape of p_n, such as how well a_1 ln n + a_2 fits, and the sharpness s p_n + b of a head. p_1 means
// nothing: the first row has weight 1 whatever its score, so that the gradient of p_1 is 0 but for rounding. There is no
// p_n for n > T: the model is bound to the length it was trained for.
//
// Backward, with dc as in softmax.h:   ds = p_n dc,   db = dc,   dp_n = s dc.
#pragma once

#include "kernels/normalizer/softmax.h"

struct LengthSharpness {
  static constexpr int params = 2;
  template <class V>
  static HD V c(V, const V* theta) {
    return theta[0] * theta[2] + theta[1];
  }
};

struct LearnedScale : Exponential<LengthSharpness> {
  using Base = Exponential<LengthSharpness>;
  static constexpr bool length_scale = true;

  template <class V>
  struct Row : Base::Row<V> {
    V s, p;
  };
  template <class V>
  struct Back : Base::Back<V> {
    V s, p;
  };

  template <class V>
  static HD Row<V> begin(V n, const V* theta) {
    return {Base::begin(n, theta), theta[0], theta[2]};
  }
  template <class V>
  static HD Back<V> back_begin(const Row<V>& row, V dot) {
    return {Base::back_begin(row, dot), row.s, row.p};
  }
  template <class V>
  static HD void dparam(const Back<V>& back, V, V* dtheta) {
    dtheta[0] = back.p * back.dc;
    dtheta[1] = back.dc;
    dtheta[2] = back.s * back.dc;
  }
};
