// Every normalizer by itself, row by row: against independent formulas, central differences and published values, cut
// into parts and merged, in float and in packs.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/cpu/pack.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/normalizer.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/every_normalizer.h"

namespace {

using num::kPackWidth;
using num::Pack;
using Scores = std::vector<double>;

// double against double: rounding of 1e-16, sums of up to 64 terms.
constexpr double kDouble = 1e-12;
// Central differences with kStep: rounding of 1e-16 / 2e-5; step^4 f^(5) / 30 is less, near poles too.
constexpr double kStep = 2e-5, kGradient = 1e-8;
// float against double, each weight relative to the largest.
constexpr double kFloat = 1e-5;

// ---- What kind of normalizer it is ----

template <class N>
struct Inner {
  using type = N;
  static constexpr bool standardizes = false;
};
template <class N>
struct Inner<PreNorm<N>> {
  using type = N;
  static constexpr bool standardizes = true;
};

template <class N>
inline constexpr bool kStandardizes = Inner<N>::standardizes;

template <class N, class... Ms>
inline constexpr bool kIsOneOf = (std::is_same_v<typename Inner<N>::type, Ms> || ...);

template <class N>
inline constexpr bool kSelfAdjusts = kIsOneOf<N, SASoftmax, SASoftmaxProduct, SASoftmaxShift, SASoftmaxRange>;

// Weights in [0, 1] that sum to 1, whatever the scores.
template <class N>
inline constexpr bool kIsDistribution = kIsOneOf<N, Softmax, SSMax, SSMaxFixed, SSMaxBias, LearnedScale, SinSoftmax>;

// ---- Independent formulas, in double ----

constexpr double kPi = 3.14159265358979323846;
constexpr double kEps = 1e-6f;  // as the headers have it, rounded to float
constexpr double kSirenClamp = 1e-3f;

Scores softmax_of(const Scores& z, double c) {
  Scores a(z.size());
  double max = c * z[0], sum = 0;
  for (double x : z) max = std::max(max, c * x);
  for (double x : z) sum += std::exp(c * x - max);
  for (size_t j = 0; j < z.size(); j++) a[j] = std::exp(c * z[j] - max) / sum;
  return a;
}

// a_j = p_j (z_j - lo) / d
Scores adjusted(const Scores& z, double lo, double d) {
  Scores a = softmax_of(z, 1);
  for (size_t j = 0; j < z.size(); j++) a[j] *= (z[j] - lo) / d;
  return a;
}

Scores standardized(const Scores& z) {
  double n = double(z.size()), mean = std::accumulate(z.begin(), z.end(), 0.0) / n, var = 0;
  if (z.size() == 1) return z;
  for (double x : z) var += (x - mean) * (x - mean) / (n - 1);
  Scores u = z;
  for (double& x : u) x = (x - mean) / std::sqrt(var + 1e-5f);
  return u;
}

double phi_of(const std::string& name, double z) {
  if (name == "sinmax") return 1 + std::sin(10 * z);
  if (name == "sinmax_signed") return std::sin(z);
  if (name == "cosmax") return std::cos(z);
  if (name == "sin2max") return std::pow(std::sin(z), 2);
  if (name == "sin2max_shifted") return std::pow(std::sin(z + kPi / 4), 2);
  if (name == "sirenmax") return (1 + std::sin(z)) / (2 * std::max(1 - std::sin(z), kSirenClamp));
  if (name == "sin_softmax") return std::exp(std::sin(z));
  throw std::invalid_argument("the test has no formula for " + name);
}

Scores formula(const std::string& name, const Scores& z, const std::vector<double>& theta) {
  if (name.rfind("norm_", 0) == 0) return formula(name.substr(5), standardized(z), theta);
  double log_n = std::log(double(z.size()));
  double min = *std::min_element(z.begin(), z.end()), max = *std::max_element(z.begin(), z.end());
  if (name == "softmax") return softmax_of(z, 1);
  if (name == "ssmax") return softmax_of(z, theta[0] * log_n);
  if (name == "ssmax_fixed") return softmax_of(z, log_n);
  if (name == "ssmax_bias") return softmax_of(z, theta[0] * log_n + theta[1]);
  if (name == "learned_scale") return softmax_of(z, theta[0] * theta[2] + theta[1]);
  if (name == "sa_softmax") return adjusted(z, std::min(min, 0.0), std::max(max, 0.0) - std::min(min, 0.0) + kEps);
  if (name == "sa_softmax_product") return adjusted(z, 0, 1);
  if (name == "sa_softmax_shift") return adjusted(z, min, 1);
  if (name == "sa_softmax_range") return adjusted(z, min, max - min + kEps);

  Scores a(z.size());
  double sum = 0;
  for (double x : z) sum += phi_of(name, x);
  double eps = name == "sin_softmax" ? 0 : sum < 0 ? -kEps : kEps;
  for (size_t j = 0; j < z.size(); j++) a[j] = phi_of(name, z[j]) / (sum + eps);
  return a;
}

// ---- Rows ----

struct NamedRow {
  std::string name;
  Scores z;
};

std::vector<NamedRow> random_rows() {
  std::vector<NamedRow> rows;
  for (size_t n : {1, 2, 7, 64}) {
    std::string size = " n=" + std::to_string(n);
    rows.push_back({"sd 0.3" + size, random_vector("sd 0.3" + size, n, 0.3)});
    rows.push_back({"sd 1" + size, random_vector("sd 1" + size, n, 1)});
    rows.push_back({"sd 4" + size, random_vector("sd 4" + size, n, 4)});
    rows.push_back({"shifted" + size, random_vector("shifted" + size, n, 1, 2.5)});
  }
  return rows;
}

std::vector<NamedRow> hazard_rows() {
  std::vector<NamedRow> rows = {
      {"one key, positive", {0.7}},
      {"one key, negative", {-0.7}},
      {"one key, zero", {0.0}},
      {"all equal", Scores(7, 0.6)},
      {"all equal, negative", Scores(7, -0.6)},
      {"all zero", Scores(7, 0.0)},
      {"two zeros", Scores(2, 0.0)},
      {"min exactly 0", {0.0, 0.5, 1.25, 0.75}},
      {"max exactly 0", {-0.5, 0.0, -1.25, -0.75}},
      {"ties of min and max", {1.0, -0.5, 1.0, -0.5, 0.25}},
      {"all of one sign", {0.5, 1.5, 1.0, 2.5}},
      {"range 1e-4", {0.5, 0.50001, 0.50004, 0.5001}},
      {"at a pole of siren", {kPi / 2, 0.1, -0.2}},
  };
  NamedRow high{"near 100", random_vector("near 100", 33, 0.1, 100)};
  NamedRow wide{"sd 30", random_vector("sd 30", 64, 30)};
  rows.push_back(high);
  rows.push_back(wide);
  return rows;
}

std::vector<NamedRow> all_rows() {
  auto rows = random_rows();
  for (auto& row : hazard_rows()) rows.push_back(row);
  return rows;
}

// Learned numbers to test with: s = 0.43, b = 0.2, p_n = 1.7.
template <class N, class V = double>
std::vector<V> test_theta() {
  std::vector<V> theta = {V(0.43f), V(0.2f), V(1.7f)};
  theta.resize(kThetaWords<N>);
  return theta;
}

template <class N>
Scores weights_of(const Scores& z, const std::vector<double>& theta = test_theta<N>()) {
  Scores a(z.size());
  reference::normalize<N>(a.data(), z.data(), theta.data(), z.size());
  return a;
}

struct Gradients {
  Scores dz;
  std::vector<double> dtheta;
};

struct InFloat {
  Scores a, dz, dtheta;
};

template <class N>
Gradients gradients_of(const Scores& z, const Scores& g, const std::vector<double>& theta = test_theta<N>()) {
  Scores a(z.size());
  auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), z.size());
  Gradients result{Scores(z.size()), std::vector<double>(kThetaWords<N>)};
  reference::normalize_backward<N>(result.dz.data(), result.dtheta.data(), g.data(), a.data(), z.data(), row, z.size());
  return result;
}

// The same in float, with the functions that the kernels use.
template <class N>
InFloat gradients_in_float(const std::vector<float>& z, const std::vector<float>& g) {
  std::vector<float> a(z.size()), dz(z.size()), theta = test_theta<N, float>(), dtheta(kThetaWords<N>);
  auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), z.size());
  reference::normalize_backward<N>(dz.data(), dtheta.data(), g.data(), a.data(), z.data(), row, z.size());
  return {{a.begin(), a.end()}, {dz.begin(), dz.end()}, {dtheta.begin(), dtheta.end()}};
}

double largest(const Scores& x) {
  double most = 0;
  for (double element : x) most = std::max(most, std::fabs(element));
  return most;
}

// sum |phi| / |S| for ratio forms, and at least 1: by how much cancellation enlarges relative errors.
template <class N>
double condition(const Scores& z) {
  double sum = 0;
  for (double a : weights_of<N>(z)) sum += std::fabs(a);
  return std::max(1.0, sum);
}

// Of a ratio form: S = sum phi and sum |phi|.
struct Sums {
  double sum = 0, size = 0;

  // Whether S is rounding noise, or eps beside it: then so are the weights, in any precision.
  bool noise() const { return std::fabs(sum) < 1e-3 * size || std::fabs(sum) < 1e-5; }
};

template <class N>
inline constexpr bool kHasEps = kIsOneOf<N, Sinmax, SinmaxSigned, Cosmax, Sin2max, Sin2maxShifted, Sirenmax>;

Sums sums_of(const std::string& name, const Scores& z) {
  if (name.rfind("norm_", 0) == 0) return sums_of(name.substr(5), standardized(z));
  Sums sums;
  for (double x : z) {
    sums.sum += phi_of(name, x);
    sums.size += std::fabs(phi_of(name, x));
  }
  return sums;
}

template <class N>
bool sum_is_noise(const std::string& name, const Scores& z) {
  return kHasEps<N> && sums_of(name, z).noise();
}

// ---- Where the formula has a kink, and no difference quotient may be taken ----

// Whether min or max may move to another key, or a score may pass the clip at 0, within `reach` of the scores.
bool near_kink_of_range(Scores z, double reach) {
  std::sort(z.begin(), z.end());
  size_t n = z.size();
  bool tie = n > 1 && (z[1] - z[0] < 2 * reach || z[n - 1] - z[n - 2] < 2 * reach);
  return tie || std::fabs(z[0]) < reach || std::fabs(z[n - 1]) < reach;
}

// Whether siren's clamp may begin or end to hold for some key.
bool near_kink_of_siren(const Scores& z, double reach) {
  for (double x : z)
    if (std::fabs(1 - std::sin(x) - kSirenClamp) < reach * (std::fabs(std::cos(x)) + reach)) return true;
  return false;
}

template <class N>
bool near_kink(const Scores& z) {
  const double reach = 2 * kStep;
  if (kSelfAdjusts<N>) return near_kink_of_range(z, reach);
  if (!kIsOneOf<N, Sirenmax>) return false;
  if (!kStandardizes<N>) return near_kink_of_siren(z, reach);
  Scores u = standardized(z);  // du/dz <= r, and the mean moves with it
  double r = z.size() > 1 ? std::fabs(u[0] - u[1]) / std::max(std::fabs(z[0] - z[1]), 1e-300) : 1;
  return near_kink_of_siren(u, 2 * r * reach);
}

// ---- The checks ----

// Not templates, so that they are compiled once: absolute errors, and numbers that are numbers.
void check_within(const Scores& got, const Scores& expected, double bound) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); i++) {
    INFO("element " << i << ": " << got[i] << " against " << expected[i]);
    CHECK(std::fabs(got[i] - expected[i]) <= bound);
  }
}

void check_finite(const Scores& x) {
  for (double element : x) CHECK(std::isfinite(element));
}

void check_relative(const Scores& got, const Scores& expected, double bound) {
  CHECK(compare(got, expected, {bound, bound}));
}

template <class N>
void check_formula(const std::string& name) {
  for (const auto& [row, z] : all_rows()) {
    if (sum_is_noise<N>(name, z)) continue;
    INFO(row);
    check_relative(weights_of<N>(z), formula(name, z, test_theta<N>()), kDouble * condition<N>(z));
  }
}

// Nothing but numbers comes out of any row, noise or not, forward or backward, in double or in float.
template <class N>
void check_all_finite() {
  for (const auto& [row, z] : all_rows()) {
    INFO(row);
    Scores g = random_vector("g " + row, z.size());
    auto [dz, dtheta] = gradients_of<N>(z, g);
    check_finite(weights_of<N>(z));
    check_finite(dz);
    check_finite(dtheta);
    auto single = gradients_in_float<N>(to_float(z), to_float(g));
    check_finite(single.a);
    check_finite(single.dz);
    check_finite(single.dtheta);
  }
}

// L = sum_j a_j g_j: its gradient by back_add and dparam against central differences. The error is measured against the
// largest of dz and g, times the condition of the row.
template <class N>
void check_gradient(const std::string& name) {
  int checked = 0;
  for (auto [row, z] : random_rows()) {
    if (near_kink<N>(z) || sum_is_noise<N>(name, z)) continue;
    checked++;
    INFO(row);
    Scores g = random_vector("g " + row, z.size());
    auto theta = test_theta<N>();
    auto loss = [&, &z = z] { return inner_product(weights_of<N>(z, theta), g); };
    auto [dz, dtheta] = gradients_of<N>(z, g, theta);
    Scores expected = central_differences(loss, z, kStep);
    double bound = kGradient * condition<N>(z) * std::max(largest(expected), largest(g));
    check_within(dz, expected, bound);
    check_within(dtheta, central_differences(loss, theta, kStep), bound * std::max(1.0, largest(z)));
  }
  CHECK(checked >= 10);  // of 16
}

// Cuts the row into parts, one after the other or interleaved, each of which starts from `begin`; they are merged, the
// interleaved ones last to first, in every pass.
template <class N>
void check_merge(const std::string& name, size_t parts, bool interleaved) {
  for (const NamedRow& entry : all_rows()) {
    const Scores& z = entry.z;
    if (sum_is_noise<N>(name, z)) continue;
    size_t n = z.size();
    INFO(entry.name << " in " << parts << (interleaved ? " interleaved" : "") << " parts");
    Scores g = random_vector("g " + entry.name, n), a(n), dz = g;
    auto theta = test_theta<N>();
    auto keys_of = [&](size_t part) {  // none for some where n < parts
      std::vector<size_t> keys;
      for (size_t j = 0; j < n; j++)
        if ((interleaved ? parts - 1 - j % parts : j * parts / n) == part) keys.push_back(j);
      return keys;
    };

    auto row = N::begin(double(n), theta.data());
    for_each_pass<N::passes>([&](auto pass) {
      auto whole = row;
      for (size_t part = 0; part < parts; part++) {
        auto piece = row;
        for (size_t j : keys_of(part)) a[j] = N::add(piece, z[j], double(j), pass);
        if (part == 0)
          whole = piece;
        else
          N::merge(whole, piece, pass);
      }
      N::end(whole, pass);
      row = whole;
    });
    double dot = 0;
    for (size_t j = 0; j < n; j++) dot += (a[j] *= N::scale(row)) * g[j];

    auto back = N::back_begin(row, dot);
    for_each_pass<N::back_passes>([&](auto pass) {
      auto whole = back;
      for (size_t part = 0; part < parts; part++) {
        auto piece = back;
        for (size_t j : keys_of(part)) dz[j] = N::back_add(row, piece, z[j], double(j), dz[j], pass);
        if (part == 0)
          whole = piece;
        else
          N::back_merge(whole, piece, pass);
      }
      back = whole;
    });
    std::vector<double> dtheta(kThetaWords<N>);
    N::dparam(back, double(n), dtheta.data());

    auto expected = gradients_of<N>(z, g);
    double bound = 1e-9 * condition<N>(z), slack = bound * std::max(largest(expected.dz), largest(g));
    check_relative(a, weights_of<N>(z), bound);
    check_within(dz, expected.dz, slack);
    check_within(dtheta, expected.dtheta, slack * std::max(1.0, largest(z)));
  }
}

// weight<N> and dscore<N>, which CUDA will use, against the passes as they are written.
template <class N>
void check_derived() {
  for (const NamedRow& entry : random_rows()) {
    const Scores& z = entry.z;
    size_t n = z.size();
    INFO(entry.name);
    Scores a(n), g = random_vector("g " + entry.name, n), derived_a(n), derived_dz(n);
    auto theta = test_theta<N>();
    auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), n);
    auto back = N::back_begin(row, inner_product(a, g));
    for_each_pass<N::back_passes - 1>([&](auto pass) {  // the sums of all passes but the last, each from the original g
      auto start = back;
      for (size_t j = 0; j < n; j++) {
        double through = g[j];
        if constexpr (pass > 0) through = dscore<N, pass - 1>(row, start, z[j], double(j), g[j]);
        N::back_add(row, back, z[j], double(j), through, pass);
      }
    });
    for (size_t j = 0; j < n; j++) {
      derived_a[j] = weight<N>(row, z[j], double(j));
      derived_dz[j] = dscore<N, N::back_passes - 1>(row, back, z[j], double(j), g[j]);
    }
    check_relative(derived_a, a, kDouble);
    check_relative(derived_dz, gradients_of<N>(z, g).dz, kDouble);
  }
}

// The float code, with its own exp and sin, against double.
template <class N>
void check_float(const std::string& name) {
  for (const auto& [row, z] : random_rows()) {
    if (near_kink<N>(z) || sum_is_noise<N>(name, z)) continue;
    INFO(row);
    Scores g = random_vector("g " + row, z.size());
    auto single = gradients_in_float<N>(to_float(z), to_float(g));
    auto exact = gradients_of<N>(z, g);
    double bound = kFloat * condition<N>(z);
    if (kIsOneOf<N, Sirenmax>) bound *= 10;  // 1 - sin z loses digits beside the pole
    check_relative(single.a, weights_of<N>(z), bound);
    check_within(single.dz, exact.dz, bound * std::max(largest(exact.dz), largest(g)));
    check_within(single.dtheta, exact.dtheta, bound * std::max(1.0, largest(z)) * largest(g));
  }
}

// ---- Packs ----

template <class State>
State select_words(Pack::Mask mask, const State& a, const State& b) {
  constexpr size_t words = sizeof(State) / sizeof(Pack);
  Pack x[words], y[words];
  std::memcpy(x, &a, sizeof x);
  std::memcpy(y, &b, sizeof y);
  for (size_t w = 0; w < words; w++) x[w] = num::select(mask, x[w], y[w]);
  State result = a;
  std::memcpy(&result, x, sizeof x);
  return result;
}

// Lane l is a row of its own of n0 + l keys; keys that a lane does not have leave its state alone.
template <class N>
void check_pack(size_t n0) {
  const size_t T = n0 + kPackWidth - 1;
  std::vector<std::vector<float>> z(kPackWidth), g(kPackWidth);
  for (int lane = 0; lane < kPackWidth; lane++) {
    std::string name = "lane " + std::to_string(lane) + " of " + std::to_string(n0);
    z[lane] = to_float(random_vector("z " + name, T, 1.5));
    g[lane] = to_float(random_vector("g " + name, T));
  }
  auto column = [](const std::vector<std::vector<float>>& rows, size_t j) {
    Pack p;
    for (int lane = 0; lane < kPackWidth; lane++) p.v[lane] = rows[lane][j];
    return p;
  };
  const Pack n = Pack::iota() + Pack(float(n0));
  auto scalars = test_theta<N, float>();
  std::vector<Pack> theta;
  for (float s : scalars) theta.push_back(Pack(s));

  std::vector<Pack> a(T), dz(T), dtheta(kThetaWords<N>);
  auto row = N::begin(n, theta.data());
  for_each_pass<N::passes>([&](auto pass) {
    for (size_t j = 0; j < T; j++) {
      auto with = row;
      a[j] = N::add(with, column(z, j), Pack(float(j)), pass);
      row = select_words(n > Pack(float(j)), with, row);
    }
    N::end(row, pass);
  });
  Pack dot(0);
  for (size_t j = 0; j < T; j++) {
    a[j] = num::select(n > Pack(float(j)), a[j] * N::scale(row), Pack(0));
    dot += num::select(n > Pack(float(j)), a[j] * column(g, j), Pack(0));
  }
  auto back = N::back_begin(row, dot);
  for_each_pass<N::back_passes>([&](auto pass) {
    for (size_t j = 0; j < T; j++) {
      auto with = back;
      dz[j] = N::back_add(row, with, column(z, j), Pack(float(j)), pass == 0 ? column(g, j) : dz[j], pass);
      back = select_words(n > Pack(float(j)), with, back);
    }
  });
  N::dparam(back, n, dtheta.data());

  for (int lane = 0; lane < kPackWidth; lane++) {
    const size_t keys = n0 + lane;
    INFO("lane " << lane << " of " << keys << " keys");
    std::vector<float> one_a(keys), one_dz(keys), one_dtheta(kThetaWords<N>);
    auto one = reference::normalize<N>(one_a.data(), z[lane].data(), scalars.data(), keys);
    reference::normalize_backward<N>(one_dz.data(), one_dtheta.data(), g[lane].data(), one_a.data(), z[lane].data(),
                                     one, keys);
    size_t unequal = 0;
    for (size_t j = 0; j < keys; j++)
      unequal += !same_number(one_a[j], a[j].v[lane]) + !same_number(one_dz[j], dz[j].v[lane]);
    for (int p = 0; p < kThetaWords<N>; p++) unequal += !same_number(one_dtheta[p], dtheta[p].v[lane]);
    CHECK(unequal == 0);
  }
}

struct LacksScale : Softmax {
  template <class V>
  static void scale(const Row<V>&, int) {}
};

}  // namespace

TEST_CASE("weights follow the formula", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string& name) { check_formula<N>(name); });
}

TEST_CASE("gradients agree with central differences", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string& name) { check_gradient<N>(name); });
}

TEST_CASE("no row gives NaN or infinity", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string&) { check_all_finite<N>(); });
}

TEST_CASE("a NaN among the scores is seen in the weights and the gradient", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string&) {
    for (size_t at : {0, 3, 6}) {
      Scores z = random_vector("with a NaN", 7), g = random_vector("g with a NaN", 7);
      z[at] = std::numeric_limits<double>::quiet_NaN();
      auto any_nan = [](const Scores& x) { return std::any_of(x.begin(), x.end(), [](double e) { return e != e; }); };
      CHECK(any_nan(weights_of<N>(z)));
      CHECK(any_nan(gradients_of<N>(z, g).dz));
    }
  });
}

TEST_CASE("a row cut into parts and merged is the whole row", "[core][normalizers]") {
  for (size_t parts : {2, 3, 5})
    for (bool interleaved : {false, true})
      for_every_normalizer([&]<class N>(const std::string& name) { check_merge<N>(name, parts, interleaved); });
}

TEST_CASE("weight and dscore give what the passes give", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string&) { check_derived<N>(); });
}

TEST_CASE("float agrees with double", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string& name) { check_float<N>(name); });
}

TEST_CASE("each lane of a pack is a row of its own, bit for bit", "[core][normalizers]") {
  for (size_t n0 : {1, 20}) for_every_normalizer([&]<class N>(const std::string&) { check_pack<N>(n0); });
}

TEST_CASE("weights sum to 1 where that is promised", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string& name) {
    for (const auto& [row, z] : all_rows()) {
      if (sum_is_noise<N>(name, z)) continue;
      INFO(row);
      Scores a = weights_of<N>(z);
      double sum = std::accumulate(a.begin(), a.end(), 0.0);
      if (kIsDistribution<N>) {
        CHECK(sum == Approx(1).epsilon(kDouble));
        for (double weight : a) CHECK((weight >= 0 && weight <= 1));
      } else if (kIsOneOf<N, SASoftmax, SASoftmaxRange>) {
        CHECK((sum >= 0 && sum <= 1));
      } else if (kHasEps<N>) {  // S / (S + eps)
        auto [phi_sum, size] = sums_of(name, z);
        CHECK(std::fabs(sum - 1) <= (kEps + kDouble * size) / std::fabs(phi_sum));
      }
    }
  });
}

TEST_CASE("SSMax and softmax give the values of the SSMax paper's Figure 1", "[core][normalizers]") {
  const double softmax[] = {0.9428, 0.5999, 0.1293, 0.0146, 0.0015};
  const double ssmax[] = {0.9401, 0.9951, 0.9996, 1.0000, 1.0000};
  size_t n = 10;
  for (int i = 0; i < 5; i++, n *= 10) {
    INFO("n = " << n);
    Scores z(n, -2);
    z[n / 3] = 3;
    CHECK(weights_of<Softmax>(z)[n / 3] == Approx(softmax[i]).margin(0.00005));
    CHECK(weights_of<SSMax>(z, {0.43})[n / 3] == Approx(ssmax[i]).margin(0.00005));
  }
}

TEST_CASE("norm_ leaves a row of one key as it is", "[core][normalizers]") {
  for_every_normalizer([]<class N>(const std::string&) {
    if constexpr (kStandardizes<N>) {
      using Plain = typename Inner<N>::type;
      for (double z : {0.7, -0.7, 3.0}) {
        CHECK(weights_of<N>({z}) == weights_of<Plain>({z}));
        CHECK(gradients_of<N>({z}, {2}).dz == gradients_of<Plain>({z}, {2}).dz);
      }
    }
  });
}

TEST_CASE("scores all equal or all zero", "[core][normalizers]") {
  const Scores equal(7, 0.6), zero(7, 0.0), seventh(7, 1.0 / 7), none(7, 0.0);
  for_every_normalizer([&]<class N>(const std::string&) {
    if (kIsDistribution<N>) {
      CHECK(compare(weights_of<N>(equal), seventh, {kDouble, kDouble}));
      CHECK(compare(weights_of<N>(zero), seventh, {kDouble, kDouble}));
    }
  });
  for (const Scores& z : {equal, zero}) {
    CHECK(weights_of<SASoftmaxShift>(z) == none);
    CHECK(weights_of<SASoftmaxRange>(z) == none);
  }
  CHECK(weights_of<SASoftmax>(zero) == none);
  CHECK(weights_of<SinmaxSigned>(zero) == none);
  CHECK(weights_of<Sin2max>(zero) == none);
}

TEST_CASE("the first row of SA-Softmax is switched by the sign of its only score", "[core][normalizers]") {
  CHECK(weights_of<SASoftmax>({0.5})[0] == Approx(1).epsilon(1e-5));
  CHECK(weights_of<SASoftmax>({-0.5})[0] == 0);
  CHECK(weights_of<SASoftmax>({0})[0] == 0);
  CHECK(gradients_of<SASoftmax>({0}, {3}).dz[0] == 0);
  CHECK(weights_of<SASoftmaxRange>({0.5})[0] == 0);
  CHECK(gradients_of<SASoftmaxRange>({0.5}, {3}).dz[0] == 0);
}

TEST_CASE("gradients follow the first of equal extremes, and the clip at 0 where an extreme is 0",
          "[core][normalizers]") {
  const double kTiny = 1e-9;  // decides the tie, moves the gradient by about as much
  for_every_normalizer([&]<class N>(const std::string&) {
    if (!kSelfAdjusts<N>) return;
    Scores g = random_vector("g of ties", 5);
    Scores z = {1.0, -0.5, 1.0, -0.5, 0.25}, decided = z;
    decided[0] += kTiny;
    decided[1] -= kTiny;
    CHECK(compare(gradients_of<N>(z, g).dz, gradients_of<N>(decided, g).dz, {1e-7, 1e-7}));

    g.resize(4);
    CHECK(compare(gradients_of<N>({0, 0.5, 1.25, 0.75}, g).dz, gradients_of<N>({-kTiny, 0.5, 1.25, 0.75}, g).dz,
                  {1e-7, 1e-7}));
    CHECK(compare(gradients_of<N>({-0.5, 0, -1.25, -0.75}, g).dz, gradients_of<N>({-0.5, kTiny, -1.25, -0.75}, g).dz,
                  {1e-7, 1e-7}));
  });
}

TEST_CASE("no gradient flows through siren's clamp", "[core][normalizers]") {
  Scores z = {kPi / 2 - 0.01, 0.3}, g = {1, -1};  // 1 - sin z = 5e-5
  double sum = phi_of("sirenmax", z[0]) + phi_of("sirenmax", z[1]);
  double slope = std::cos(z[0]) / (2 * kSirenClamp);
  double dot = inner_product(weights_of<Sirenmax>(z), g);
  CHECK(gradients_of<Sirenmax>(z, g).dz[0] == Approx(slope / sum * (g[0] - dot)).epsilon(1e-6));
}

TEST_CASE("a normalizer that lacks a function is recognized", "[core][normalizers]") {
  STATIC_REQUIRE(NormalizerFor<Softmax>);
  STATIC_REQUIRE_FALSE(NormalizerFor<LacksScale>);
}
