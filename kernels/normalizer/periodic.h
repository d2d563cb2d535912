// The periodic alternatives of softmax, Wang, Liu and Liu 2021, arXiv 2108.07153: a bounded, periodic phi in the place
// of exp.
//
//   a_j = phi(z_j) / (S + sign(S) eps),   S = sum_k phi(z_k),   sign(0) = +1
//
//   sinmax           phi = 1 + sin(10 z)        what the authors' demo runs
//   sinmax_signed    phi = sin z                what the formula says
//   cosmax           phi = cos z
//   sin2max          phi = sin^2 z
//   sin2max_shifted  phi = sin^2(z + pi/4) = (1 + sin 2z) / 2
//   sirenmax         phi = (1 + sin z) / (2 max(1 - sin z, 1e-3))
//   sin_softmax      phi = exp(sin z), which is softmax(sin z); phi lies in [1/e, e], so no maximum is subtracted
//
// The authors have no eps and no clamp; attnorm adds eps = 1e-6 (0 for sin_softmax, where S > n/e) and clamps siren's
// pole at z = pi/2 + 2 pi k. The authors attend without a mask; under the causal mask a masked key has weight 0.
//
// Hazards. sinmax_signed and cosmax have signed weights and an S that may vanish, where weights reach |phi| / 1e-6;
// sin2max is 0/0 at z = 0, so at a fresh initialization its weights are noise; fp32 loses digits in proportion to
// sum |phi| / |S|. A row whose phi are all 0 has weights 0 (sinmax_signed, sin2max at z = 0), not 1/n.
//
// Backward, with g_j = dL/da_j and dot = sum_k a_k g_k:   dz_j = phi'(z_j) / (S + sign(S) eps) (g_j - dot).
// No factor a_j stands in front, so the gradient does not vanish where the weight is small; it vanishes where phi'
// does.
#pragma once

#include "kernels/normalizer/interface.h"

// Phi::value(z), Phi::slope(z) = phi'(z), Phi::eps.
template <class Phi>
struct Ratio : Normalizer {
  static constexpr int passes = 1, back_passes = 1;

  template <class V>
  struct Row {
    V sum;  // becomes its inverse at the end
  };
  template <class V>
  struct Back {
    V dot;
  };

  template <class V>
  static HD Row<V> begin(V, const V*) {
    return {V(0)};
  }
  template <class V>
  static HD V add(Row<V>& row, V z, V, auto) {
    V phi = Phi::value(z);
    row.sum += phi;
    return phi;
  }
  template <class V>
  static HD void merge(Row<V>& row, const Row<V>& other, auto) {
    row.sum += other.sum;
  }
  template <class V>
  static HD void end(Row<V>& row, auto) {
    row.sum = V(1) / (row.sum + num::select(row.sum < V(0), V(-Phi::eps), V(Phi::eps)));
  }
  template <class V>
  static HD V scale(const Row<V>& row) {
    return row.sum;
  }

  template <class V>
  static HD Back<V> back_begin(const Row<V>&, V dot) {
    return {dot};
  }
  template <class V>
  static HD V back_add(const Row<V>& row, Back<V>& back, V z, V, V g, auto) {
    return Phi::slope(z) * row.sum * (g - back.dot);
  }
};

struct WithEps {
  static constexpr float eps = 1e-6f;
};

struct OnePlusSin10 : WithEps {
  template <class V>
  static HD V value(V z) {
    return V(1) + num::sin(V(10) * z);
  }
  template <class V>
  static HD V slope(V z) {
    return V(10) * num::cos(V(10) * z);
  }
};

struct Sin : WithEps {
  template <class V>
  static HD V value(V z) {
    return num::sin(z);
  }
  template <class V>
  static HD V slope(V z) {
    return num::cos(z);
  }
};

struct Cos : WithEps {
  template <class V>
  static HD V value(V z) {
    return num::cos(z);
  }
  template <class V>
  static HD V slope(V z) {
    return -num::sin(z);
  }
};

struct Sin2 : WithEps {
  template <class V>
  static HD V value(V z) {
    V sine = num::sin(z);
    return sine * sine;
  }
  template <class V>
  static HD V slope(V z) {
    return num::sin(V(2) * z);
  }
};

struct Sin2Shifted : WithEps {
  template <class V>
  static HD V value(V z) {
    return V(0.5f) + V(0.5f) * num::sin(V(2) * z);
  }
  template <class V>
  static HD V slope(V z) {
    return num::cos(V(2) * z);
  }
};

struct Siren : WithEps {
  template <class V>
  static HD V value(V z) {
    V sine = num::sin(z);
    return (V(1) + sine) * V(0.5f) * inverse_gap(V(1) - sine);
  }
  // cos z / (1 - sin z)^2; where the clamp holds only the numerator moves.
  template <class V>
  static HD V slope(V z) {
    V gap = V(1) - num::sin(z), inverse = inverse_gap(gap);
    V clamped = V(0.5f / 1e-3f);
    return num::cos(z) * num::select(gap > V(1e-3f), inverse * inverse, clamped);
  }

 private:
  template <class V>
  static HD V inverse_gap(V gap) {
    return V(1) / num::max(gap, V(1e-3f));
  }
};

struct ExpSin {
  static constexpr float eps = 0;
  template <class V>
  static HD V value(V z) {
    return num::exp_unit(num::sin(z));
  }
  template <class V>
  static HD V slope(V z) {
    return value(z) * num::cos(z);
  }
};

using Sinmax = Ratio<OnePlusSin10>;
using SinmaxSigned = Ratio<Sin>;
using Cosmax = Ratio<Cos>;
using Sin2max = Ratio<Sin2>;
using Sin2maxShifted = Ratio<Sin2Shifted>;
using Sirenmax = Ratio<Siren>;
using SinSoftmax = Ratio<ExpSin>;
