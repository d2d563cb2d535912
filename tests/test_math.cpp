// The functions of kernels/normalizer/math.h and kernels/portable_math.h, and the arithmetic of num::Pack.
#include "kernels/normalizer/math.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/pack.h"
#include "kernels/portable_math.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace {

using num::kPackWidth;
using num::Pack;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool kHasFma = true;
#else
constexpr bool kHasFma = false;
#endif

// The errors that the comment of math.h states, in units in the last place of the exact result.
constexpr double kExpUlp = 1.1, kExpUnitUlp = kHasFma ? 2.5 : 3.7, kLogUlp = 0.9, kSineUlp = 2.5;
constexpr double kSineError = 1.3e-7;  // absolute

// Every 503rd float, in [core]; every 53rd, in [full]. Both are primes, so all patterns of low bits occur.
constexpr uint32_t kCoarse = 503, kFine = 53;

// The distance of two neighbouring floats at x, 2^-23 of its power of two.
double ulp(double x) {
  int exponent;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

struct Errors {
  double ulps = 0, absolute = 0;
  size_t lanes_unequal = 0;  // where Pack and float differ in a bit
};

// The largest errors of `f`, which takes float or Pack, against `exact` over the floats between two of the same sign.
template <class F, class Exact>
Errors sweep(F f, Exact exact, float from, float to, uint32_t stride) {
  Errors worst;
  const uint64_t last = num::bits(to);
  for (uint64_t bits = num::bits(from); bits <= last;) {
    float x[kPackWidth], results[kPackWidth];
    for (float& lane : x) {
      lane = num::from_bits(uint32_t(std::min(bits, last)));
      bits += stride;
    }
    f(Pack::load(x)).store(results);
    for (int lane = 0; lane < kPackWidth; lane++) {
      float result = f(x[lane]);
      double expected = exact(double(x[lane])), error = std::fabs(result - expected);
      worst.ulps = std::max(worst.ulps, error / ulp(expected));
      worst.absolute = std::max(worst.absolute, error);
      worst.lanes_unequal += !same_number(result, results[lane]);
    }
  }
  return worst;
}

// One function, for float and Pack alike.
const auto kExp = [](auto x) { return num::exp(x); };
const auto kExpUnit = [](auto x) { return num::exp_unit(x); };
const auto kLog = [](auto x) { return num::log(x); };
const auto kSin = [](auto x) { return num::sin(x); };
const auto kCos = [](auto x) { return num::cos(x); };
const auto kExactExp = [](double x) { return std::exp(x); };
const auto kExactLog = [](double x) { return std::log(x); };
const auto kExactSin = [](double x) { return std::sin(x); };
const auto kExactCos = [](double x) { return std::cos(x); };

template <class F, class Exact>
void check_sweep(F f, Exact exact, float from, float to, uint32_t stride, double ulps, double absolute = kInfinity) {
  Errors worst = sweep(f, exact, from, to, stride);
  INFO("from " << from << " to " << to);
  CHECK(worst.ulps <= ulps);
  CHECK(worst.ulps > 0);
  CHECK(worst.absolute <= absolute);
  CHECK(worst.lanes_unequal == 0);
}

void check_exp(uint32_t stride) {
  check_sweep(kExp, kExactExp, 0.0f, 88.0f, stride, kExpUlp);
  check_sweep(kExp, kExactExp, -0.0f, -87.0f, stride, kExpUlp);
}
void check_exp_unit(uint32_t stride) {
  check_sweep(kExpUnit, kExactExp, 0.0f, 1.0f, stride, kExpUnitUlp);
  check_sweep(kExpUnit, kExactExp, -0.0f, -1.0f, stride, kExpUnitUlp);
}
void check_log(uint32_t stride) { check_sweep(kLog, kExactLog, FLT_MIN, FLT_MAX, stride, kLogUlp); }
void check_sin(uint32_t stride) {
  check_sweep(kSin, kExactSin, 0.0f, 1e4f, stride, kSineUlp, kSineError);
  check_sweep(kSin, kExactSin, -0.0f, -1e4f, stride, kSineUlp, kSineError);
}
void check_cos(uint32_t stride) {
  check_sweep(kCos, kExactCos, 0.0f, 1e4f, stride, kSineUlp, kSineError);
  check_sweep(kCos, kExactCos, -0.0f, -1e4f, stride, kSineUlp, kSineError);
}

// Checks that f gives the same bits for a Pack as for each of its lanes.
template <class F>
void check_lanes(F f, Pack a, Pack b, Pack c) {
  Pack all = f(a, b, c);
  for (int lane = 0; lane < kPackWidth; lane++) {
    INFO("lane " << lane << ": " << a.v[lane] << ", " << b.v[lane] << ", " << c.v[lane]);
    float one = f(a.v[lane], b.v[lane], c.v[lane]);
    CHECK(same_number(all.v[lane], one));
  }
}

}  // namespace

TEST_CASE("exp, log, sin and cos are as exact as math.h says, for float and Pack alike", "[core][math]") {
  SECTION("exp") { check_exp(kCoarse); }
  SECTION("exp_unit") { check_exp_unit(kCoarse); }
  SECTION("log") { check_log(kCoarse); }
  SECTION("sin") { check_sin(kCoarse); }
  SECTION("cos") { check_cos(kCoarse); }
  SECTION("where there are most zeros and poles of the error: all floats in a small interval") {
    check_sweep(kExp, kExactExp, 0.99f, 1.01f, 1, kExpUlp);
    check_sweep(kLog, kExactLog, 0.99f, 1.01f, 1, kLogUlp);
    check_sweep(kSin, kExactSin, 3.14f, 3.15f, 1, kSineUlp, kSineError);
    check_sweep(kCos, kExactCos, 1.57f, 1.58f, 1, kSineUlp, kSineError);
  }
}

TEST_CASE("exp, log, sin and cos are as exact as math.h says, on a finer grid", "[full][math]") {
  check_exp(kFine);
  check_exp_unit(kFine);
  check_log(kFine);
  check_sin(kFine);
  check_cos(kFine);
}

TEST_CASE("the portable functions in double agree with the C library's", "[core][math]") {
  double log_error = 0, exp2_error = 0, pow_error = 0, angle_error = 0;
  auto relative = [](double got, double expected) { return std::fabs(got - expected) / std::fabs(expected); };
  for (int i = 1; i <= 20000; i++) {
    const double x = std::pow(1.0017, i - 10000), y = (i - 10000) / 97.0;  // 4e-8 .. 2e7, -103 .. 103
    log_error = std::max(log_error, relative(portable::log(x), std::log(x)));
    exp2_error = std::max(exp2_error, relative(portable::exp2(y), std::exp2(y)));
    pow_error = std::max(pow_error, relative(portable::pow(10000, -i / 20000.0), std::pow(10000, -i / 20000.0)));
    const auto [cosine, sine] = portable::cosine_sine(y);
    const double turn = y - std::floor(y), radians = 6.283185307179586 * turn;  // the same angle, exactly
    angle_error = std::max({angle_error, std::fabs(cosine - std::cos(radians)), std::fabs(sine - std::sin(radians))});
  }
  CHECK(log_error < 1e-15);
  CHECK(exp2_error < 1e-15);
  CHECK(pow_error < 1e-14);
  CHECK(angle_error < 1e-15);

  CHECK(portable::log(1) == 0);
  CHECK(portable::exp2(-8) == 0.00390625);
  CHECK(portable::exp2(0) == 1);
  for (int quarter = 0; quarter < 8; quarter++) {
    const auto [cosine, sine] = portable::cosine_sine(quarter / 4.0);
    CHECK(cosine == std::array{1, 0, -1, 0}[quarter % 4]);
    CHECK(sine == std::array{0, 1, 0, -1}[quarter % 4]);
  }
}

TEST_CASE("a sweep notices a function that is wrong", "[core][math]") {
  auto wrong = [](auto x) { return num::exp(x) * decltype(x)(1.000001f); };
  CHECK(sweep(wrong, kExactExp, 0.0f, 88.0f, 10007).ulps > 2 * kExpUlp);
}

TEST_CASE("what math.h promises at the ends of the domains", "[core][math]") {
  CHECK(num::exp(0.0f) == 1);
  CHECK(num::exp(1000.0f) == num::exp(88.0f));
  CHECK(num::exp(kInfinity) == num::exp(88.0f));
  CHECK(num::exp(-1000.0f) == num::exp(-87.0f));
  CHECK(num::exp(-kInfinity) == num::exp(-87.0f));
  CHECK(num::log(1.0f) == 0);
  CHECK(num::log(kInfinity) == kInfinity);
  CHECK(num::sin(0.0f) == 0);
  CHECK(num::cos(0.0f) == 1);
}

TEST_CASE("NaN goes in, NaN comes out", "[core][math]") {
  auto all_nan = [](Pack x) {
    bool all = true;
    for (int lane = 0; lane < kPackWidth; lane++) all = all && std::isnan(x.v[lane]);
    return all;
  };
  for (float nan : {kNaN, -kNaN}) {
    CHECK(std::isnan(num::exp(nan)));
    CHECK(std::isnan(num::exp_unit(nan)));
    CHECK(std::isnan(num::log(nan)));
    CHECK(std::isnan(num::sin(nan)));
    CHECK(std::isnan(num::cos(nan)));
    CHECK(std::isnan(num::sqrt(nan)));
    CHECK(std::isnan(num::fma(nan, 0.0f, 1.0f)));
    CHECK(all_nan(num::exp(Pack(nan))));
    CHECK(all_nan(num::exp_unit(Pack(nan))));
    CHECK(all_nan(num::log(Pack(nan))));
    CHECK(all_nan(num::sin(Pack(nan))));
    CHECK(all_nan(num::cos(Pack(nan))));
    CHECK(all_nan(num::sqrt(Pack(nan))));
    CHECK(all_nan(num::fma(Pack(nan), Pack(0), Pack(1))));
    CHECK(std::isnan(num::exp(double(nan))));
  }
  CHECK(std::isnan(num::sin(kInfinity)));
  CHECK(std::isnan(num::cos(-kInfinity)));
}

TEST_CASE("sin and cos of huge numbers stay within [-1, 1]", "[core][math]") {
  for (float x = 1e6f; x < 1e38f; x *= 1.37f)
    for (float y : {x, -x})
      for (float result : {num::sin(y), num::cos(y), num::sin(Pack(y)).v[0], num::cos(Pack(y)).v[0]}) {
        INFO(y);
        CHECK(std::fabs(result) <= 1.000001f);
      }
}

TEST_CASE("the lanes of a Pack behave as floats", "[core][math]") {
  for (float shift : {0.0f, 0.1f, -7.3f, 1e6f}) {
    Pack a = Pack::iota() - Pack(shift), b = Pack(0.37f) * Pack::iota() + Pack(shift), c = Pack(5) - Pack::iota();
    check_lanes([](auto x, auto y, auto) { return x + y; }, a, b, c);
    check_lanes([](auto x, auto y, auto) { return x - y; }, a, b, c);
    check_lanes([](auto x, auto y, auto) { return x * y; }, a, b, c);
    check_lanes([](auto x, auto y, auto) { return x / y; }, a, b, c);
    check_lanes([](auto x, auto, auto) { return -x; }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::fma(x, y, z); }, a, b, c);
    check_lanes([](auto x, auto y, auto) { return num::min(x, y); }, a, b, c);
    check_lanes([](auto x, auto y, auto) { return num::max(x, y); }, a, b, c);
    check_lanes([](auto x, auto, auto) { return num::sqrt(x * x); }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::select(x < y, y, z); }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::select(x > y, y, z); }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::select(x <= z, x, y); }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::select(x >= z, x, y); }, a, b, c);
    check_lanes([](auto x, auto y, auto z) { return num::select(x == z, x, y); }, a, b, c);
    check_lanes(
        [](auto x, auto y, auto z) {
          x += y;
          x -= z;
          x *= y;
          return x;
        },
        a, b, c);
  }
}

TEST_CASE("min and max take the first of two equal numbers and keep a NaN that comes first", "[core][math]") {
  CHECK(std::signbit(num::min(-0.0f, 0.0f)));
  CHECK_FALSE(std::signbit(num::max(0.0f, -0.0f)));
  CHECK(std::isnan(num::max(kNaN, 1.0f)));
  CHECK(std::isnan(num::min(kNaN, 1.0f)));
  CHECK(num::min(2.0, 3.0) == 2.0);
  CHECK(num::max(2.0, 3.0) == 3.0);
}

TEST_CASE("fma, select and sqrt give what they say", "[core][math]") {
  CHECK(num::fma(2.0f, 3.0f, 4.0f) == 10);
  CHECK(num::fma(2.0, 3.0, 4.0) == 10);
#ifdef __FMA__  // 1 + 2^-23 squared: the product's last bit survives only where it is not rounded
  CHECK(num::fma(1 + 0x1p-23f, 1 + 0x1p-23f, -1 - 0x1p-22f) == 0x1p-46f);
#endif
  CHECK(num::select(true, 1.0f, 2.0f) == 1);
  CHECK(num::select(false, 1.0f, 2.0f) == 2);
  CHECK(num::sqrt(9.0f) == 3);
  CHECK(num::sqrt(2.0) == std::sqrt(2.0));
}

TEST_CASE("iota, sum, load and store of a Pack", "[core][math]") {
  CHECK(Pack::iota().v[0] == 0);
  CHECK(Pack::iota().v[kPackWidth - 1] == kPackWidth - 1);
  CHECK(Pack::iota().sum() == kPackWidth * (kPackWidth - 1) / 2);
  CHECK(std::signbit((Pack(-0.0f)).v[0]));

  float from[kPackWidth + 1], to[kPackWidth + 1] = {};
  for (int i = 0; i <= kPackWidth; i++) from[i] = float(i * i);
  Pack::load(from + 1).store(to + 1);  // at an address that is not aligned
  for (int i = 1; i <= kPackWidth; i++) CHECK(to[i] == from[i]);
  CHECK(to[0] == 0);
}

TEST_CASE("a Pack of fewer lanes touches no memory beyond them", "[core][math]") {
  float from[kPackWidth], to[kPackWidth] = {};
  for (int i = 0; i < kPackWidth; i++) from[i] = float(i + 1);
  Pack three = Pack::load(from, 3);
  CHECK(three.sum() == 6);
  CHECK(num::first(Pack(2), 3).sum() == 6);
  Pack(7).store(to, 3);
  for (int i = 0; i < kPackWidth; i++) CHECK(to[i] == (i < 3 ? 7 : 0));

  std::vector<size_t> seen;
  num::for_each_pack(2 * kPackWidth + 1, [&](size_t i, size_t lanes) {
    seen.push_back(i);
    seen.push_back(lanes);
  });
  const size_t W = kPackWidth;
  CHECK(seen == std::vector<size_t>{0, W, W, W, 2 * W, 1});
}
