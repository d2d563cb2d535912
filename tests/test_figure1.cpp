// Figures 1 and 3 of the SSMax paper: their numbers against those worked out for the paper's settings.
#include <cmath>
#include <vector>

#include "tests/catch.h"
#include "train/experiments/figure1/figure1.h"

namespace {

double weight_of(const std::vector<WeightRow>& rows, double s, size_t n, double z_max) {
  for (const WeightRow& row : rows)
    if (row.s == s && row.n == n && std::abs(row.z_max - z_max) < 1e-9) return row.weight;
  return NAN;
}

}  // namespace

TEST_CASE("Figure 1 has the weights of one +3 among -2", "[core][experiments]") {
  const std::vector<WeightRow> rows = figure1_rows();
  // e^3 / (e^3 + (n - 1) e^-2), and the same with n^(0.43 z)
  const double table[][3] = {{10, 0.9428, 0.9401},
                             {100, 0.5999, 0.9951},
                             {1000, 0.1293, 0.9996},
                             {10000, 0.0146, 1.0000},
                             {100000, 0.0015, 1.0000}};
  for (const auto& [n, softmax, ssmax] : table) {
    INFO(n);
    CHECK(weight_of(rows, 0, size_t(n), 3) == Approx(softmax).margin(5e-5));
    CHECK(weight_of(rows, 0.43, size_t(n), 3) == Approx(ssmax).margin(5e-5));
  }
  for (const WeightRow& row : rows) {
    const double n = double(row.n), power = row.s == 0 ? 5 : row.s * 5 * std::log(n);
    CHECK(row.weight == Approx(1 / (1 + (n - 1) * std::exp(-power))).epsilon(1e-10));
  }
  CHECK(rows.size() == 2 * 33);
}

TEST_CASE("Figure 3 has softmax's threshold rise with n, and SSMax's stay", "[core][experiments]") {
  const std::vector<WeightRow> rows = figure3_rows();
  // n = 10: scores 0, 1/8, ..., 1, and 4.
  double sum = 0, powers = 0;
  for (int i = 0; i <= 8; i++) sum += std::exp(i / 8.0), powers += std::pow(10, 0.43 * i / 8.0);
  CHECK(weight_of(rows, 0, 10, 4) == Approx(std::exp(4) / (std::exp(4) + sum)));
  CHECK(weight_of(rows, 0.43, 10, 4) == Approx(std::pow(10, 1.72) / (std::pow(10, 1.72) + powers)));
  CHECK(weight_of(rows, 0, 10, 0) == Approx(1 / (1 + sum)));

  // Half of the weight: e^z = sum of the others, about (n - 1)(e - 1); with n^s for e.
  for (size_t n : {10, 100, 1000, 10000}) {
    INFO(n);
    CHECK(half_weight_score(rows, 0, n) == Approx(std::log((n - 1) * (std::exp(1) - 1))).epsilon(0.01));
    for (double s : {0.43, 1.0}) {
      const double power = s * std::log(n);
      CHECK(half_weight_score(rows, s, n) ==
            Approx(std::log((n - 1) * (std::exp(power) - 1) / power) / power).epsilon(0.02));
    }
  }
  CHECK(std::isnan(half_weight_score(rows, 0, 11)));
}
