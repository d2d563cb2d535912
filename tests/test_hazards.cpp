// Every normalizer where formulas break: equal scores, no scores but zeros, one key, poles, sums that vanish, huge and tiny
// scores. No NaN and no infinity may come out that the formula does not have, evaluated in double with its eps: not from
// the float code, and not from attention, forward or backward.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/normalizer.h"
#include "tests/attention_fixture.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/every_normalizer.h"

namespace {

constexpr double kPi = 3.14159265358979323846;
// What fp32 holds with some room for the sums of a row.
constexpr double kRepresentable = 1e36;

struct HazardRow {
  std::string name;
  std::vector<double> z;
};

// Of n keys each; pi/2 is a pole of sirenmax, pi/4 a zero of sin2max_shifted's slope, and so on.
std::vector<HazardRow> hazard_rows(size_t n) {
  std::vector<HazardRow> rows;
  auto add = [&](const std::string& name, auto score) {
    std::vector<double> z(n);
    for (size_t j = 0; j < n; j++) z[j] = float(score(j));
    rows.push_back({name + ", n = " + std::to_string(n), z});
  };
  for (double x : {0.0, 1e-40, double(FLT_MIN), 1e-20, 0.6, kPi / 4, kPi / 2, kPi, 3 * kPi / 2, 100.0, 1e4, 1e7, 1e18,
                   1e20, 1e30}) {
    auto text = [](double number) {
      std::ostringstream stream;
      stream << number;
      return stream.str();
    };
    const std::string value = text(x);
    for (double sign : {1.0, -1.0}) {
      const double y = sign * x;
      add("all " + text(y), [&](size_t) { return y; });
      add("one " + text(y) + " and zeros", [&](size_t j) { return j == n / 2 ? y : 0; });
      add("zero among " + text(y), [&](size_t j) { return j == n / 2 ? 0 : y; });
      add("rising to " + text(y), [&](size_t j) { return y * double(j + 1) / double(n); });
    }
    add("+-" + value, [&](size_t j) { return j % 2 == 0 ? x : -x; });
    const auto noise = random_vector(value, n);
    add("sd " + value, [&](size_t j) { return x * noise[j]; });
    add("near " + value, [&](size_t j) { return x * (1 + 1e-6 * noise[j]); });
  }
  return rows;
}

// s and b of the SSMax family, and p_n.
template <class N, class V>
std::vector<V> some_theta() {
  std::vector<V> theta = {V(0.43f), V(0.2f), V(1.7f)};
  theta.resize(kThetaWords<N>);
  return theta;
}

struct RowResult {
  std::vector<double> a, dz, dtheta;
};

template <class N, class V>
RowResult result_of(const std::vector<double>& z_double, const std::vector<double>& g_double) {
  const size_t n = z_double.size();
  const std::vector<V> z(z_double.begin(), z_double.end()), g(g_double.begin(), g_double.end());
  std::vector<V> a(n), dz(n), dtheta(kThetaWords<N>), theta = some_theta<N, V>();
  const auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), n);
  reference::normalize_backward<N>(dz.data(), dtheta.data(), g.data(), a.data(), z.data(), row, n);
  return {{a.begin(), a.end()}, {dz.begin(), dz.end()}, {dtheta.begin(), dtheta.end()}};
}

template <class Number>
bool all_finite(const std::vector<Number>& x) {
  return std::all_of(x.begin(), x.end(), [](Number element) { return std::isfinite(element); });
}

// Whether fp32 can hold these numbers.
bool representable(const std::vector<double>& x) {
  return std::all_of(x.begin(), x.end(), [](double element) { return std::fabs(element) < kRepresentable; });
}

}  // namespace

TEST_CASE("no hazard makes a NaN or an infinity that the formula does not have", "[core][hazards]") {
  for_every_normalizer([]<class N>(const std::string&) {
    for (size_t n : {1, 2, 3, 7, 64})
      for (const auto& [name, z] : hazard_rows(n)) {
        const auto g = random_vector("g " + name, n);
        const auto exact = result_of<N, double>(z, g), single = result_of<N, float>(z, g);
        INFO(name);
        CHECK(representable(exact.a));
        CHECK(all_finite(single.a));
        if (representable(exact.dz)) CHECK(all_finite(single.dz));
        if (representable(exact.dtheta)) CHECK(all_finite(single.dtheta));
      }
  });
}

TEST_CASE("standardized scores do not depend on their size", "[core][hazards]") {
  for (size_t n : {2, 7, 64, 1000}) {
    const auto z = random_vector("z", n), g = random_vector("g", n);
    auto at_size = [&](double factor) {  // a power of two; 1e-5 is nothing beside the variance
      std::vector<double> scaled = z;
      for (double& x : scaled) x *= factor;
      RowResult result = result_of<named::norm_softmax, float>(scaled, g);
      for (double& x : result.dz) x *= factor;
      return result;
    };
    const RowResult usual = at_size(0x1p14);
    for (double factor : {0x1p40, 0x1p62, 0x1p65, 0x1p99}) {
      INFO(n << " scores of size " << factor);
      CHECK(at_size(factor).a == usual.a);
      CHECK(at_size(factor).dz == usual.dz);
    }
  }
}

// With queries (1, 0, 0, ...) and keys (z sqrt(HS), 0, 0, ...) the scores of query t are the first t + 1 numbers of a row, and
// each row is a sequence of its own.
TEST_CASE("attention makes none either", "[core][hazards]") {
  const size_t T = backend::kOnHost ? 64 : 33;
  auto rows = hazard_rows(T);
  for (size_t HS : {1, 64}) {
    if (!backend::kOnHost) {  // the emulator is slow
      std::vector<HazardRow> some;
      for (size_t i = HS == 1 ? 0 : 3; i < rows.size(); i += 11) some.push_back(rows[i]);
      rows = some;
    }
    for_every_normalizer([&]<class N>(const std::string&) {
      AttentionInputs x({rows.size(), T, 1, HS}, N::params, N::length_scale);
      for (size_t b = 0; b < rows.size(); b++)
        for (size_t t = 0; t < T; t++) {
          double* q = x.qkv.data() + (b * T + t) * 3 * HS;
          std::fill(q, q + 2 * HS, 0.0);
          q[0] = 1;
          q[HS] = as_stored(rows[b].z[t] * std::sqrt(double(HS)));
        }
      const auto got = by_kernel<N>(x);
      auto part = [](const auto& all, size_t b, size_t size) {
        return std::vector(all.begin() + long(b * size), all.begin() + long((b + 1) * size));
      };
      // dz is up to 1e12 where a sum vanishes, and in these it grows with z; the terms of dq are dz k
      const bool grows = std::is_same_v<N, SASoftmaxProduct> || std::is_same_v<N, SASoftmaxShift>;
      const double largest = grows ? 1e18 : 1e21;
      for (size_t b = 0; b < rows.size(); b++) {
        INFO(rows[b].name << ", HS = " << HS);
        CHECK(all_finite(part(got.out, b, T * HS)));
        const bool small =
            std::all_of(rows[b].z.begin(), rows[b].z.end(), [&](double z) { return std::fabs(z) <= largest; });
        if (small) CHECK(all_finite(part(got.dqkv, b, T * 3 * HS)));
      }
    });
  }
}
