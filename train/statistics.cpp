#include "train/statistics.h"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// paired_power of a difference that is `noncentrality` standard errors.
double power_at(double noncentrality, double dof, double alpha) {
  const boost::math::non_central_t distribution(dof, noncentrality);
  const double critical = t_quantile(dof, 1 - alpha);
  return cdf(complement(distribution, critical)) + cdf(distribution, -critical);
}

}  // namespace

double t_quantile(double dof, double confidence) {
  return boost::math::quantile(boost::math::students_t(dof), 0.5 + confidence / 2);
}

Estimate estimate(std::span<const double> values) {
  Estimate result;
  result.count = values.size();
  if (values.empty()) return result;
  const double n = static_cast<double>(values.size());
  double sum = 0;
  for (double value : values) sum += value;
  result.mean = sum / n;
  if (values.size() < 2) return result;
  double squares = 0;  // about the mean: sum of squares minus square of the sum would cancel
  for (double value : values) squares += (value - result.mean) * (value - result.mean);
  result.sd = std::sqrt(squares / (n - 1));
  result.half_width = t_quantile(n - 1) * result.sd / std::sqrt(n);
  return result;
}

Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) throw std::invalid_argument("paired_difference: samples of different lengths");
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); i++) differences[i] = a[i] - b[i];
  return estimate(differences);
}

Interval sd_interval(const Estimate& sample) {
  if (sample.count < 2) return {};
  const double dof = static_cast<double>(sample.count - 1);
  const boost::math::chi_squared distribution(dof);
  auto bound = [&](double probability) { return sample.sd * std::sqrt(dof / quantile(distribution, probability)); };
  return {bound(0.5 + kConfidence / 2), bound(0.5 - kConfidence / 2)};
}

double p_value(const Estimate& difference) {
  if (difference.count < 2 || !std::isfinite(difference.mean) || !std::isfinite(difference.sd)) return kNaN;
  if (difference.sd == 0) return difference.mean == 0;
  const double n = static_cast<double>(difference.count);
  const double t = std::abs(difference.mean) / (difference.sd / std::sqrt(n));
  return 2 * cdf(complement(boost::math::students_t(n - 1), t));
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_values.size(); i++)
    if (!std::isnan(p_values[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size(), kNaN);
  double largest = 0;
  for (std::size_t k = 0; k < order.size(); k++) {
    largest = std::max(largest, static_cast<double>(order.size() - k) * p_values[order[k]]);
    adjusted[order[k]] = std::min(largest, 1.0);
  }
  return adjusted;
}

double paired_power(double difference, double sd, std::size_t n, double alpha) {
  if (n < 2) return kNaN;
  if (sd == 0) return difference != 0;
  const double size = static_cast<double>(n);
  return power_at(std::abs(difference) / (sd / std::sqrt(size)), size - 1, alpha);
}

double smallest_difference(double sd, std::size_t n, double power, double alpha) {
  if (n < 2) return kNaN;
  const double size = static_cast<double>(n);
  double low = 0, high = 1;  // noncentralities with less and with at least that power
  while (power_at(high, size - 1, alpha) < power) low = high, high *= 2;
  while (high - low > 1e-9 * high) {
    const double middle = (low + high) / 2;
    (power_at(middle, size - 1, alpha) < power ? low : high) = middle;
  }
  return high * sd / std::sqrt(size);
}

Line fit_line(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) throw std::invalid_argument("fit_line: samples of different lengths");
  const double n = static_cast<double>(x.size());
  const double x_mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
  const double y_mean = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, xy = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); i++) {
    xx += (x[i] - x_mean) * (x[i] - x_mean);
    xy += (x[i] - x_mean) * (y[i] - y_mean);
    yy += (y[i] - y_mean) * (y[i] - y_mean);
  }
  const double slope = xy / xx;
  return {slope, y_mean - slope * x_mean, xy * xy / (xx * yy)};
}
