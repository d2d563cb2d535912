// Intervals over seeds: published t values, and examples small enough to follow with a pencil.
#include <cmath>
#include <stdexcept>
#include <vector>

#include "tests/catch.h"
#include "train/statistics.h"

TEST_CASE("t quantiles agree with the printed tables", "[core][statistics]") {
  // Two-sided 95 %: any table of Student's t, column 0.975.
  const double table[][2] = {{1, 12.706}, {2, 4.303}, {3, 3.182}, {4, 2.776}, {9, 2.262}, {30, 2.042}, {120, 1.980}};
  for (const auto& [dof, value] : table) CHECK(t_quantile(dof) == Approx(value).margin(5e-4));
  CHECK(t_quantile(4, 0.99) == Approx(4.604).margin(5e-4));
  CHECK(t_quantile(1e7) == Approx(1.960).margin(5e-4));
}

TEST_CASE("mean, sd and interval of a sample", "[core][statistics]") {
  // Deviations -1, 0, 1: sd 1, standard error 1/sqrt(3), times 4.303.
  const Estimate three = estimate(std::vector<double>{1, 2, 3});
  CHECK(three.count == 3);
  CHECK(three.mean == Approx(2));
  CHECK(three.sd == Approx(1));
  CHECK(three.half_width == Approx(4.30265 / std::sqrt(3.0)).epsilon(1e-5));
  CHECK(three.has_interval());
}

TEST_CASE("a sample too small for an interval has none", "[core][statistics]") {
  const Estimate one = estimate(std::vector<double>{1.5});
  CHECK(one.mean == 1.5);
  CHECK_FALSE(one.has_interval());
  CHECK(std::isnan(one.sd));
  CHECK(std::isnan(one.half_width));
  const Estimate none = estimate({});
  CHECK(none.count == 0);
  CHECK(std::isnan(none.mean));
}

TEST_CASE("the spread of nearly equal losses does not cancel away", "[core][statistics]") {
  const double big = 1e6;
  const Estimate result = estimate(std::vector<double>{big + 0.001, big, big - 0.001});
  CHECK(result.sd == Approx(0.001).epsilon(1e-4));
}

TEST_CASE("pairing removes what the seeds share", "[core][statistics]") {
  // Differences -0.10, -0.12, -0.14, -0.12: mean -0.12, squares 4e-4 + 0 + 4e-4 + 0, sd sqrt(8e-4 / 3), times 3.18245
  // / 2.
  const std::vector<double> a{1.40, 1.58, 1.26, 1.48}, b{1.50, 1.70, 1.40, 1.60};
  const Estimate difference = paired_difference(a, b);
  CHECK(difference.count == 4);
  CHECK(difference.mean == Approx(-0.12));
  CHECK(difference.sd == Approx(std::sqrt(8e-4 / 3)));
  CHECK(difference.half_width == Approx(3.18245 * std::sqrt(8e-4 / 3) / 2).epsilon(1e-5));
  CHECK(difference.half_width < estimate(a).half_width / 4);  // the seeds differ far more than the pairs do
  CHECK_THROWS_AS(paired_difference(a, std::vector<double>{1}), std::invalid_argument);
}
