// Statistics over seeds: published values, and examples small enough to follow with a pencil.
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

TEST_CASE("the interval of a standard deviation agrees with the printed factors", "[core][statistics]") {
  // n, and the limits of a 95 % interval in units of the sd: sqrt((n - 1) / chi-squared quantile). Printed quantiles, for
  // n = 8: 16.013 and 1.690; for n = 2: 5.024 and 0.000982; for n = 30: 45.722 and 16.047.
  const double table[][3] = {{2, 0.446, 31.91}, {5, 0.599, 2.874}, {8, 0.661, 2.035}, {30, 0.796, 1.344}};
  for (const auto& [n, low, high] : table) {
    Estimate sample;
    sample.count = std::size_t(n);
    sample.sd = 10;
    CHECK(sd_interval(sample).low == Approx(10 * low).margin(0.006));
    CHECK(sd_interval(sample).high == Approx(10 * high).margin(0.006));
  }
  CHECK(std::isnan(sd_interval(estimate(std::vector<double>{1})).low));
  CHECK(std::isnan(sd_interval(estimate(std::vector<double>{1})).high));
}

TEST_CASE("the p value of a paired difference is that of the sleep data", "[core][statistics]") {
  // Student 1908, hours of sleep gained with two drugs; R's help page of t.test prints t = -4.0621, p = 0.002833, and the
  // interval -2.4598858 to -0.7001142.
  const std::vector<double> one{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
  const std::vector<double> two{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const Estimate difference = paired_difference(one, two);
  CHECK(p_value(difference) == Approx(0.002833).margin(5e-7));
  CHECK(p_value(paired_difference(two, one)) == p_value(difference));
  CHECK(difference.mean - difference.half_width == Approx(-2.4598858).margin(5e-8));
  CHECK(difference.mean + difference.half_width == Approx(-0.7001142).margin(5e-8));

  CHECK(p_value(estimate(std::vector<double>{0, 0, 0})) == 1);
  CHECK(p_value(estimate(std::vector<double>{0.5, 0.5})) == 0);
  CHECK(p_value(estimate(std::vector<double>{-1, 1})) == 1);
  CHECK(std::isnan(p_value(estimate(std::vector<double>{1, NAN}))));
  CHECK(std::isnan(p_value(estimate(std::vector<double>{0.5}))));
}

TEST_CASE("Holm's correction steps down from the smallest p value", "[core][statistics]") {
  // Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04, below the one before: 0.06.
  const std::vector<double> adjusted = holm({0.01, 0.04, 0.03, 0.005});
  const double expected[] = {0.03, 0.06, 0.06, 0.02};
  for (int i = 0; i < 4; i++) CHECK(adjusted[i] == Approx(expected[i]));
  CHECK(holm({0.3, 0.9, 0.6}) == std::vector<double>{3 * 0.3, 1, 1});
  CHECK(holm({0.04}) == std::vector<double>{0.04});
  CHECK(holm({}).empty());
  const std::vector<double> without = holm({0.02, std::nan(""), 0.01});  // of two
  CHECK((without[0] == 0.02 && std::isnan(without[1]) && without[2] == 0.02));
}

namespace {

// paired_power by its definition: the normal probability that |difference| exceeds the critical value times the sd found,
// averaged over the density of that sd, by Simpson's rule.
double power_by_integration(double noncentrality, double dof, double critical) {
  auto normal = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  const double constant = std::log(2.0) + dof / 2 * std::log(dof / 2) - std::lgamma(dof / 2);
  auto integrand = [&](double s) {
    const double density = std::pow(s, dof - 1) * std::exp(constant - dof * s * s / 2);
    return density * (normal(noncentrality - critical * s) + normal(-noncentrality - critical * s));
  };
  constexpr int kSteps = 4000;
  const double width = 8.0 / kSteps;  // the density beyond 8 is nothing
  double sum = integrand(0) + integrand(8);
  for (int i = 1; i < kSteps; i++) sum += (i % 2 ? 4 : 2) * integrand(i * width);
  return sum * width / 3;
}

}  // namespace

TEST_CASE("the power of a paired comparison agrees with the printed tables", "[core][statistics]") {
  // Cohen's small, medium and large effects, two-sided at 5 %: the pairs that his tables and G*Power give for 80 %.
  const double table[][2] = {{0.2, 199}, {0.5, 34}, {0.8, 15}};
  for (const auto& [effect, n] : table) {
    CHECK(paired_power(effect, 1, std::size_t(n)) >= 0.8);
    CHECK(paired_power(effect, 1, std::size_t(n) - 1) < 0.8);
    CHECK(smallest_difference(1, std::size_t(n)) <= effect);
    CHECK(smallest_difference(1, std::size_t(n) - 1) > effect);
  }
  CHECK(paired_power(0.5, 1, 34) == Approx(0.8078).margin(5e-5));
  CHECK(paired_power(-1, 2, 34) == Approx(paired_power(0.5, 1, 34)));
  CHECK(paired_power(0, 1, 8) == Approx(0.05));  // chance alone

  for (int n : {2, 3, 5, 8, 12}) {
    INFO(n);
    const double smallest = smallest_difference(0.004, n);
    CHECK(paired_power(smallest, 0.004, n) == Approx(0.8).epsilon(1e-6));
    const double noncentrality = smallest / (0.004 / std::sqrt(double(n)));
    CHECK(power_by_integration(noncentrality, n - 1, t_quantile(n - 1)) == Approx(0.8).epsilon(1e-6));
  }
  CHECK(smallest_difference(0, 5) == 0);
  CHECK(paired_power(0.1, 0, 5) == 1);
  CHECK(paired_power(0, 0, 5) == 0);
  CHECK(std::isnan(paired_power(1, 1, 1)));
  CHECK(std::isnan(smallest_difference(1, 1)));
}

TEST_CASE("a line fits as in Anscombe's first example", "[core][statistics]") {
  // Anscombe 1973: y = 3.00 + 0.500 x, R^2 = 0.667; to more digits as R fits it.
  const std::vector<double> x{10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5};
  const std::vector<double> y{8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68};
  const Line line = fit_line(x, y);
  CHECK(line.slope == Approx(0.5000909).margin(5e-8));
  CHECK(line.intercept == Approx(3.0000909).margin(5e-8));
  CHECK(line.r_squared == Approx(0.6665425).margin(5e-8));

  const Line exact = fit_line(std::vector<double>{1, 2}, std::vector<double>{5, 3});
  CHECK((exact.slope == -2 && exact.intercept == 7 && exact.r_squared == 1));
  CHECK(std::isnan(fit_line(std::vector<double>{1}, std::vector<double>{5}).slope));
  CHECK_THROWS_AS(fit_line(x, std::vector<double>{1}), std::invalid_argument);
}
