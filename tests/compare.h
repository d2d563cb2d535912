// What the tests of kernels and normalizers share: random inputs, the comparison of two arrays within a named
// tolerance, and central differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <ostream>
#include <string_view>
#include <vector>

#include "kernels/random.h"

// n normal numbers, rounded to float so that float and double code start from the same; another name, other numbers.
inline std::vector<double> random_vector(std::string_view name, size_t n, double sd = 1, double mean = 0) {
  Philox stream = {{2026, fnv1a(name)}};
  std::vector<double> result(n);
  for (size_t i = 0; i < n; i++) result[i] = float(mean + sd * standard_normal(stream, i));
  return result;
}

inline std::vector<float> to_float(const std::vector<double>& x) { return {x.begin(), x.end()}; }

// What the tests fill memory with that a kernel is to overwrite.
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> times_two(std::vector<float> x) {
  for (float& element : x) element *= 2;
  return x;
}

inline std::vector<float> joined(std::initializer_list<std::vector<float>> parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Bounds for the errors of a whole array `got` against `expected`.
struct Tolerance {
  double norm;     // |got - expected| / |expected|, Euclidean norms
  double largest;  // max |got - expected| / max |expected|

  constexpr Tolerance operator*(double factor) const { return {norm * factor, largest * factor}; }
};

// Rounding of fp32 in sums of up to some hundred terms that do not cancel: one rounding is 6e-8, and k of them in a row
// grow like sqrt(k).
inline constexpr Tolerance kFp32 = {1e-6, 4e-6};

// Central differences in double against a formula: rounding of 1e-16 / step, and step^4 times a fifth derivative of a
// few hundred.
inline constexpr Tolerance kDifferences = {1e-9, 1e-9};

// What a comparison found. True where both errors are within the tolerance.
struct Agreement {
  double norm, largest;
  double correlation;  // of the two arrays as vectors; near 1 with large errors means a wrong factor
  size_t worst;        // where the error is largest
  Tolerance tolerance;

  explicit operator bool() const { return norm <= tolerance.norm && largest <= tolerance.largest; }

  friend std::ostream& operator<<(std::ostream& out, const Agreement& c) {
    return out << "relative error " << c.norm << " in norm (allowed " << c.tolerance.norm << "), " << c.largest
               << " of the largest element (allowed " << c.tolerance.largest << "), at [" << c.worst
               << "]; correlation " << c.correlation;
  }
};

// Compares two arrays. Fails for another length and for anything that is not finite. Where all expected numbers are 0,
// so must be all others.
template <class Got, class Expected>
Agreement compare(const std::vector<Got>& got, const std::vector<Expected>& expected, Tolerance tolerance) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (got.size() != expected.size()) return {kInfinity, kInfinity, 0, 0, tolerance};
  double error = 0, norm = 0, got_norm = 0, product = 0, largest_error = 0, largest = 0;
  size_t worst = 0;
  for (size_t i = 0; i < got.size(); i++) {
    double x = got[i], y = expected[i], difference = std::fabs(x - y);
    if (!std::isfinite(x) || !std::isfinite(y)) return {kInfinity, kInfinity, 0, i, tolerance};
    if (difference > largest_error) worst = i;
    largest_error = std::max(largest_error, difference);
    largest = std::max(largest, std::fabs(y));
    error += difference * difference;
    norm += y * y;
    got_norm += x * x;
    product += x * y;
  }
  auto ratio = [](double a, double b) { return a == 0 ? 0 : a / b; };  // infinity where b = 0
  return {std::sqrt(ratio(error, norm)), ratio(largest_error, largest), ratio(product, std::sqrt(norm * got_norm)),
          worst, tolerance};
}

// df/dx at x by the central difference of 4th order: error step^4 f^(5) / 30 beside rounding of about 1e-16 f / step.
template <class F>
double central_difference(F f, double& x, double step) {
  double at = x;
  auto value = [&](double offset) {
    x = at + offset;
    return double(f());
  };
  double near = value(step) - value(-step), far = value(2 * step) - value(-2 * step);
  x = at;
  return (8 * near - far) / (12 * step);
}

// The gradient of f() with respect to every element of x, which f reads.
template <class F>
std::vector<double> central_differences(F f, std::vector<double>& x, double step = 1e-3) {
  std::vector<double> result(x.size());
  for (size_t i = 0; i < x.size(); i++) result[i] = central_difference(f, x[i], step);
  return result;
}

// For losses: sum_i x_i y_i, whose gradient with respect to x is y.
inline double inner_product(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); i++) sum += x[i] * y[i];
  return sum;
}

// The same bits, or both NaN: instruction sets differ in a NaN's bits.
inline bool same_number(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
