// What a normalizer is: row reductions followed by a pointwise map, and the same for its gradient.
//
// It turns the scores z_0 .. z_{n-1} of one query (scaled by 1/sqrt(HS), position bias added) over the n keys that the
// query may see into weights a_j; the attention output is sum_j a_j v_j. Masked keys are never handed to it.
//
//   struct X : Normalizer {
//     static constexpr int passes;        // sweeps over the row's keys; the last one returns the weights
//     static constexpr int back_passes;   // sweeps of the gradient; the last one returns dz
//     static constexpr int params;        // learned scalars per layer and head, 0 unless said
//     static constexpr bool length_scale; // one learned number more for each n, the same for all layers and heads:
//                                         // theta[params] is that of this row's n; false unless said
//     template <class V> struct Row  { V ...; };       // what the forward reduces; nothing but V
//     template <class V> struct Back { V dot, ...; };  // what the backward reduces; nothing but V
//
//     // every sum at its identity; theta has kThetaWords numbers
//     Row<V> begin(V n, const V* theta)
//     // takes key j; in the last pass returns its weight, but for `scale`
//     V add(Row<V>&, V z, V j, auto pass)
//     // joins the sums of two parts of the row, which may lie in any order and be interleaved: of equals the smaller j
//     // is the first
//     void merge(Row<V>&, const Row<V>& other, auto pass)
//     // all keys of the pass are in
//     void end(Row<V>&, auto pass)
//     // a_j = what the last add returned * scale
//     V scale(const Row<V>&)
//
//     // dot = sum_j a_j g_j, which the kernel knows as <dout, out>
//     Back<V> back_begin(const Row<V>&, V dot)
//     // g = dL/da_j in pass 0, then what the pass before returned; the last returns dz_j
//     V back_add(const Row<V>&, Back<V>&, V z, V j, V g, auto pass)
//     void back_merge(Back<V>&, const Back<V>& other, auto pass)
//     // overwrites dtheta (kThetaWords) with this row's part of dL/dtheta
//     void dparam(const Back<V>&, V n, V* dtheta)
//   };
//
// All are `template <class V> static HD`. V is double, float, or num::Pack, where each lane is another query; so there
// is no `if` on a value (num::select), and constants are V(10): a bare 10.0 would be double arithmetic on a GPU. n and
// j are V too: in a pack they differ per lane. A pass touches only its own members, so `part = row; add...; merge` is
// right wherever a row is cut. Row and Back hold V alone, so that saving, loading and selecting them is a loop over
// words.
#pragma once

#include "kernels/normalizer/math.h"

// A pass number as a type: `if constexpr (pass == 0)`. (nvcc refuses std::integral_constant's conversion in device
// code.)
template <int P>
struct Pass {
  HD constexpr operator int() const { return P; }
};

// Calls f(Pass<0>()), f(Pass<1>()), ... f(Pass<count - 1>()).
template <int count, int P = 0, class F>
HD void for_each_pass(F&& f) {
  if constexpr (P < count) {
    f(Pass<P>());
    for_each_pass<count, P + 1>(f);
  }
}

struct Normalizer {
  static constexpr int params = 0;
  static constexpr bool length_scale = false;
  template <class Back>
  static HD void back_merge(Back&, const Back&, auto) {}
  template <class Back, class V>
  static HD void dparam(const Back&, V, V*) {}
};

// Learned numbers that a row reads: its head's, and its length's.
template <class N>
inline constexpr int kThetaWords = N::params + N::length_scale;
