// The few functions that a training run needs in double: for initial weights, angles and learning rates. C libraries,
// and even one of them on two processors, differ in the last bits of theirs; these are made of operations that IEEE 754
// rounds the same everywhere. Relative error about 1e-15 (cosine and sine: absolute).
#pragma once

#include <cmath>
#include <cstdint>

namespace portable {

// For x > 0, normal. x = 2^k m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...).
inline double log(double x) {
  int k;
  double m = std::frexp(x, &k);  // in [1/2, 1)
  if (m < 0.7071067811865476) {
    m *= 2;
    k--;
  }
  const double s = (m - 1) / (m + 1), square = s * s;  // square < 0.03
  double sum = 0;
  for (int odd = 23; odd >= 1; odd -= 2) sum = sum * square + 1.0 / odd;
  return k * 0.6931471805599453 + 2 * s * sum;
}

// 2^x for |x| < 1000. x = k + r with |r| <= 1/2; 2^r = e^(r ln 2) = 1 + r ln 2 (1 + r ln 2 / 2 (1 + ...)).
inline double exp2(double x) {
  const double k = std::floor(x + 0.5), r = (x - k) * 0.6931471805599453;
  double sum = 1;
  for (int n = 14; n >= 1; n--) sum = 1 + r * (1.0 / n) * sum;
  return std::ldexp(sum, int(k));
}

// base^x for base > 0.
inline double pow(double base, double x) { return exp2(x * (log(base) / 0.6931471805599453)); }

// The cosine and the sine of an angle given in turns: 2 pi turns radians.
struct CosineSine {
  double cosine, sine;
};
inline CosineSine cosine_sine(double turns) {
  const double quarter = std::floor(4 * turns + 0.5);  // 4 turns = quarter + a number in [-1/2, 1/2]
  const double a = (4 * turns - quarter) * 1.5707963267948966, square = a * a;  // |a| <= pi / 4
  double cosine = 1, sine = 1;
  for (int n = 16; n >= 2; n -= 2) {
    cosine = 1 - square * (1.0 / (n * (n - 1))) * cosine;
    sine = 1 - square * (1.0 / (n * (n + 1))) * sine;
  }
  sine *= a;
  switch (int64_t(quarter) & 3) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

}  // namespace portable
