// Scalable-Softmax (SSMax), K. M. Nakanishi 2025, arXiv 2501.19399: softmax whose sharpness grows with the logarithm of
// the number n of keys that the query may see, so that attention does not fade as the context grows.
//
//   ssmax        a = softmax(s ln(n) z)         s learned, one per layer and head (the paper's equation for attention)
//   ssmax_fixed  a = softmax(ln(n) z)           the paper's "without the scaling parameter"
//   ssmax_bias   a = softmax((s ln(n) + b) z)   the paper's "with bias"; b multiplies z, an added constant would cancel
//
// n is t + 1 under the causal mask, never the length of the sequence: with a constant n, s would be a plain temperature
// that the query projection could absorb. The first row has n = 1, c = 0, weight 1 and no gradient. Where c z is added
// to a position bias, the bias is in z and is scaled too. A negative s turns the order of the scores round; nothing
// forbids it. The initial s is not in the paper; attnorm starts it where the mean of s ln(n) over the training length
// is 1.
#pragma once

#include "kernels/normalizer/softmax.h"

struct LogN {
  static constexpr int params = 1;
  template <class V>
  static HD V c(V n, const V* theta) {
    return theta[0] * num::log(n);
  }
  template <class V>
  static HD void dtheta(V dc, V n, V* dtheta) {
    dtheta[0] = num::log(n) * dc;
  }
};

struct LogNFixed : One {
  template <class V>
  static HD V c(V n, const V*) {
    return num::log(n);
  }
};

struct LogNBias {
  static constexpr int params = 2;
  template <class V>
  static HD V c(V n, const V* theta) {
    return theta[0] * num::log(n) + theta[1];
  }
  template <class V>
  static HD void dtheta(V dc, V n, V* dtheta) {
    dtheta[0] = num::log(n) * dc;
    dtheta[1] = dc;
  }
};

using SSMax = Exponential<LogN>;
using SSMaxFixed = Exponential<LogNFixed>;
using SSMaxBias = Exponential<LogNBias>;
