#include "train/statistics.h"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <stdexcept>
#include <vector>

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
