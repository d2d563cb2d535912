// What a comparison over few seeds needs: a mean, its spread, and how far the mean may be off.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

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

// The q for which a t-distributed number with `dof` degrees of freedom lies in [-q, q] with probability `confidence`.
double t_quantile(double dof, double confidence = kConfidence);

// Mean, sd and t interval of independent values, such as one loss per seed. The interval is exact for normal values.
Estimate estimate(std::span<const double> values);

// The same of a[i] - b[i], where i counts what both have in common, such as the seed: what varies with it cancels.
// Equal lengths.
Estimate paired_difference(std::span<const double> a, std::span<const double> b);
