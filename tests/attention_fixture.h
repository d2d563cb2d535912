// What the tests of attention share: inputs, the reference and the kernels run on them, and how well conditioned they are.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <ostream>
#include <utility>
#include <vector>

#include "kernels/attention.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/attention.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

struct AttentionShape {
  size_t B, T, NH, HS;
  bool alibi = false;
  double mean = 0;  // of q, k and v: scores of both signs at 0, mostly positive ones at 0.5
};

inline std::ostream& operator<<(std::ostream& out, const AttentionShape& s) {
  return out << "B " << s.B << ", T " << s.T << ", NH " << s.NH << ", HS " << s.HS << (s.alibi ? ", ALiBi" : "");
}

// What attention reads, and what the gradients of the learned numbers hold before.
struct AttentionInputs {
  size_t B, T, C, NH;
  std::vector<double> qkv, theta, length_scale, slopes, dout, dtheta, dlength_scale;

  AttentionInputs(const AttentionShape& s, int params, bool scales_lengths = false)
      : B(s.B),
        T(s.T),
        C(s.NH * s.HS),
        NH(s.NH),
        qkv(random_stored("qkv", B * T * 3 * C, s.mean == 0 ? 1 : 0.5, s.mean)),
        theta(random_vector("theta", size_t(params) * NH, 0.1, 0.5)),
        length_scale(random_vector("length_scale", scales_lengths ? T : 0, 0.3, 1)),
        dout(random_stored("dout", B * T * C)),
        dtheta(random_vector("dtheta", size_t(params) * NH)),
        dlength_scale(random_vector("dlength_scale", length_scale.size())) {
    if (!s.alibi) return;
    for (size_t h = 1; h <= NH; h++) slopes.push_back(std::exp2(-8.0 * double(h) / double(NH)));
  }
};

struct ExpectedAttention {
  std::vector<double> out, dqkv, dtheta, dlength_scale;
};

// The kernel's results; behind each of the first three lies a guard that must stay as it is.
struct Attended {
  std::vector<float> out, rows, dqkv, dtheta, dlength_scale;
};

template <class N>
ExpectedAttention by_reference(const AttentionInputs& x) {
  ExpectedAttention y{std::vector<double>(x.B * x.T * x.C), std::vector<double>(x.qkv.size()), x.dtheta,
                      x.dlength_scale};
  const double* slopes = x.slopes.empty() ? nullptr : x.slopes.data();
  reference::attention_forward<N>(y.out.data(), x.qkv.data(), x.theta.data(), x.length_scale.data(), slopes, x.B, x.T,
                                  x.C, x.NH);
  reference::attention_backward<N>(y.dqkv.data(), y.dtheta.data(), y.dlength_scale.data(), x.dout.data(), x.qkv.data(),
                                   x.theta.data(), x.length_scale.data(), slopes, x.B, x.T, x.C, x.NH);
  return y;
}

inline constexpr size_t kGuard = 16;
inline constexpr float kGuardValue = -12288;  // bf16 holds it

template <class T>
DeviceVector<T> guarded(size_t n) {
  auto x = device_nan<T>(n);
  x.resize(n + kGuard, round_to<T>(kGuardValue));
  return x;
}

template <class T>
std::vector<float> without_guard(const DeviceVector<T>& guarded) {
  auto x = host(guarded);
  for (size_t i = x.size() - kGuard; i < x.size(); i++) REQUIRE(x[i] == kGuardValue);
  x.resize(x.size() - kGuard);
  return x;
}

// The kernels of kernels/attention.h.
struct AttentionKernels {
  template <class N, class... Arguments>
  static void forward(Arguments... arguments) {
    backend::attention_forward<N>(arguments...);
  }
  template <class N, class... Arguments>
  static void backward(Arguments... arguments) {
    backend::attention_backward<N>(arguments...);
  }
};

// The backward runs `times` times.
template <class N, class Kernels = AttentionKernels>
Attended by_kernel(const AttentionInputs& x, int times = 1) {
  auto out = guarded<S>(x.B * x.T * x.C), dqkv = guarded<S>(x.qkv.size());
  auto rows = guarded<float>(backend::attention_row_floats(kRowWords<N>, x.B, x.T, x.NH));
  const auto qkv = device<S>(x.qkv), dout = device<S>(x.dout);
  const auto theta = device<float>(x.theta), length_scale = device<float>(x.length_scale),
             slopes = device<float>(x.slopes);
  auto dtheta = device<float>(x.dtheta), dlength_scale = device<float>(x.dlength_scale);
  Kernels::template forward<N>(out.data(), rows.data(), qkv.data(), data_or_null(theta), data_or_null(length_scale),
                               data_or_null(slopes), x.B, x.T, x.C, x.NH);
  for (int i = 0; i < times; i++)
    Kernels::template backward<N>(dqkv.data(), dtheta.data(), dlength_scale.data(), dout.data(),
                                  std::as_const(out).data(), std::as_const(rows).data(), qkv.data(),
                                  data_or_null(theta), data_or_null(slopes), x.B, x.T, x.C, x.NH);
  return {without_guard(out), without_guard(rows), without_guard(dqkv), host(dtheta), host(dlength_scale)};
}

// By how much the normalizer enlarges relative errors, at least 1: of the weights by sum |a|, which is sum |phi| / |S|
// for the ratio forms; of its gradient by the largest d dz_j / d dot, because the kernel knows dot = <dout, out> to 24
// bits.
template <class N>
double condition(const AttentionInputs& x) {
  double worst = 1;
  std::vector<double> z(x.T), a(x.T), dz(x.T);
  for (size_t b = 0; b < x.B; b++)
    for (size_t h = 0; h < x.NH; h++)
      for (size_t t = 0; t < x.T; t++) {
        reference::attention_scores(z.data(), x.qkv.data() + b * x.T * 3 * x.C, x.slopes.empty() ? 0 : x.slopes[h], t,
                                    h, x.C, x.C / x.NH);
        auto theta = reference::theta_of_row<N>(x.theta.data(), x.length_scale.data(), t, h, x.NH);
        auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), t + 1);
        auto back = N::back_begin(row, 1.0);
        std::fill(dz.begin(), dz.end(), 0.0);
        for_each_pass<N::back_passes>([&](auto pass) {
          for (size_t j = 0; j <= t; j++) dz[j] = N::back_add(row, back, z[j], double(j), dz[j], pass);
        });
        double sum = 0;
        for (size_t j = 0; j <= t; j++) {
          sum += std::fabs(a[j]);
          worst = std::max(worst, std::fabs(dz[j]));
        }
        worst = std::max(worst, sum);
      }
  return worst;
}
