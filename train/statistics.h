// What comparisons over few seeds need: a mean, its spread and how far both may be off; how likely a difference is chance,
// alone and among several; and how large one must be to be found. Values are taken to be independent and normal. The
// distributions are Boost.Math's.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

inline constexpr double kConfidence = 0.95;  // of every interval; two-sided

// A sample of `count` values. A figure that the sample is too small for is NaN: mean of 0 values, the others of fewer
// than 2.
struct Estimate {
  std::size_t count = 0;
  double mean = std::numeric_limits<double>::quiet_NaN();
  double sd = std::numeric_limits<double>::quiet_NaN();          // with n - 1
  double half_width = std::numeric_limits<double>::quiet_NaN();  // the t interval is mean +- half_width

  bool has_interval() const { return count >= 2; }
};

struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN(), high = std::numeric_limits<double>::quiet_NaN();
};

// The q for which a t-distributed number with `dof` degrees of freedom lies in [-q, q] with probability `confidence`.
double t_quantile(double dof, double confidence = kConfidence);

// Mean, sd and t interval of independent values, such as one loss per seed. The interval is exact for normal values.
Estimate estimate(std::span<const double> values);

// The same of a[i] - b[i], where i counts what both have in common, such as the seed: what varies with it cancels.
// Equal lengths.
Estimate paired_difference(std::span<const double> a, std::span<const double> b);

// The interval of the sample's sd s, by the chi-squared distribution with n - 1 degrees of freedom, whose quantiles are q:
//   s sqrt((n - 1) / q(0.975))  to  s sqrt((n - 1) / q(0.025))
// It is far from symmetric for few values. NaN for fewer than 2. Source: NIST/SEMATECH e-Handbook, 7.2.3.1.
Interval sd_interval(const Estimate& sample);

// Of a paired difference, two-sided: how often t = mean / (sd / sqrt(n)) is as far from 0 as here, or farther, if the true
// difference is 0. Where all differences are equal it is 1 if they are 0, else 0. NaN for fewer than 2.
double p_value(const Estimate& difference);

// Holm's step-down correction of p values for being one of m: of the i-th smallest (i = 1..m), the largest of
// (m - k + 1) p_k for k <= i, at most 1. Where those below alpha are called resolved, the chance that any of them is
// chance is at most alpha, however they depend on each other. In the order given; a NaN stays one and is not counted.
// Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
std::vector<double> holm(const std::vector<double>& p_values);

// The chance that n pairs, whose differences have the standard deviation sd, give a p value below alpha if the true
// difference is `difference`: with c the two-sided t quantile, P(|T| > c) for T of the noncentral t distribution with
// n - 1 degrees of freedom and noncentrality difference / (sd / sqrt(n)). With sd = 0, 1 where there is a difference.
// NaN for n < 2. Source: Cohen 1988, "Statistical Power Analysis", chapter 2.
double paired_power(double difference, double sd, std::size_t n, double alpha = 1 - kConfidence);

// The reverse: the smallest true difference that is found with that power. NaN for n < 2.
double smallest_difference(double sd, std::size_t n, double power = 0.8, double alpha = 1 - kConfidence);

// y = slope x + intercept with the least sum of squares, and the share of y's variance that it explains, R^2.
struct Line {
  double slope, intercept, r_squared;
};

// Equal lengths. NaN where the x are all equal, which fewer than 2 are; R^2 is NaN too where the y are.
Line fit_line(std::span<const double> x, std::span<const double> y);
