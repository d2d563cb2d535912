// Softmax with a temperature, the family every other header here can be read against.
//
//   a_j = exp(c z_j - m) / sum_k exp(c z_k - m),   m = max_k c z_k,   c = 1 for plain softmax
//
// Weights are in [0, 1] and sum to 1. Equal scores, all zero or not, give 1/n; n = 1 gives 1 and no gradient.
// Subtracting m keeps exp from overflowing; it changes nothing else, so no gradient flows through it.
//
// Backward, with g_j = dL/da_j and dot = sum_k a_k g_k:   e_j = a_j (g_j - dot),   dz_j = c e_j,   dc = sum_j e_j z_j.
#pragma once

#include "kernels/normalizer/interface.h"

// Sharpness::c(n, theta) is the factor c of a row of n keys; Sharpness::dtheta turns dc into gradients of theta.
template <class Sharpness>
struct Exponential : Normalizer {
  static constexpr int passes = 2, back_passes = 1, params = Sharpness::params;

  template <class V>
  struct Row {
    V c, max, sum;  // sum becomes its inverse at the end
  };
  template <class V>
  struct Back {
    V dot, dc;
  };

  template <class V>
  static HD Row<V> begin(V n, const V* theta) {
    return {Sharpness::c(n, theta), V(-3e38f), V(0)};
  }
  template <class V>
  static HD V add(Row<V>& row, V z, V, auto pass) {
    if constexpr (pass == 0) {
      row.max = num::max(row.max, row.c * z);
      return z;
    } else {
      V e = num::exp(row.c * z - row.max);
      row.sum += e;
      return e;
    }
  }
  template <class V>
  static HD void merge(Row<V>& row, const Row<V>& other, auto pass) {
    if constexpr (pass == 0)
      row.max = num::max(row.max, other.max);
    else
      row.sum += other.sum;
  }
  template <class V>
  static HD void end(Row<V>& row, auto pass) {
    if constexpr (pass == 1) row.sum = V(1) / row.sum;
  }
  template <class V>
  static HD V scale(const Row<V>& row) {
    return row.sum;
  }

  template <class V>
  static HD Back<V> back_begin(const Row<V>&, V dot) {
    return {dot, V(0)};
  }
  template <class V>
  static HD V back_add(const Row<V>& row, Back<V>& back, V z, V, V g, auto) {
    V e = num::exp(row.c * z - row.max) * row.sum * (g - back.dot);
    if constexpr (params > 0) back.dc += e * z;
    return row.c * e;
  }
  template <class V>
  static HD void back_merge(Back<V>& back, const Back<V>& other, auto) {
    back.dc += other.dc;
  }
  template <class V>
  static HD void dparam(const Back<V>& back, V n, V* dtheta) {
    Sharpness::dtheta(back.dc, n, dtheta);
  }
};

struct One {
  static constexpr int params = 0;
  template <class V>
  static HD V c(V, const V*) {
    return V(1);
  }
  template <class V>
  static HD void dtheta(V, V, V*) {}
};

using Softmax = Exponential<One>;
