// The helpers of tests/compare.h: a comparison that lets everything through would make every other test worthless.
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace {
constexpr Tolerance kLoose = {1e-3, 1e-2};
}  // namespace

TEST_CASE("a comparison passes what is within the tolerance", "[core][helpers]") {
  auto x = random_vector("x", 100);
  CHECK(compare(x, x, {0, 0}));
  CHECK(compare(to_float(x), x, {0, 0}));
  auto close = x;
  for (double& element : close) element *= 1 + 9e-4;
  CHECK(compare(close, x, kLoose));
  CHECK(compare(std::vector<double>(3), std::vector<double>(3), {0, 0}));
  CHECK(compare(std::vector<double>(), std::vector<double>(), {0, 0}));
}

TEST_CASE("a comparison reports what is wrong", "[core][helpers]") {
  auto x = random_vector("x", 100);
  auto wrong = x;

  SECTION("a factor") {
    for (double& element : wrong) element *= 1.01;
    Agreement found = compare(wrong, x, kLoose);
    CHECK_FALSE(found);
    CHECK(found.norm == Approx(0.01));
    CHECK(found.correlation == Approx(1));
  }
  SECTION("a sign") {
    for (double& element : wrong) element = -element;
    CHECK_FALSE(compare(wrong, x, kLoose));
    CHECK(compare(wrong, x, kLoose).correlation == Approx(-1));
  }
  SECTION("one element") {
    wrong[17] += 0.1;
    Agreement found = compare(wrong, x, {1, 1e-2});
    CHECK_FALSE(found);
    CHECK(found.worst == 17);
  }
  SECTION("many small errors") {
    for (double& element : wrong) element += 5e-3;
    CHECK_FALSE(compare(wrong, x, {1e-3, 1}));
  }
  SECTION("NaN and infinity") {
    wrong[3] = kNaN;
    CHECK_FALSE(compare(wrong, x, {1e9, 1e9}));
    CHECK_FALSE(compare(wrong, wrong, {1e9, 1e9}));
    wrong[3] = 1 / 0.0;
    CHECK_FALSE(compare(wrong, x, {1e9, 1e9}));
  }
  SECTION("a length") {
    wrong.pop_back();
    CHECK_FALSE(compare(wrong, x, {1e9, 1e9}));
  }
  SECTION("something where there should be zeros") {
    CHECK_FALSE(compare(x, std::vector<double>(100), {1e9, 1e9}));
    CHECK_FALSE(compare(std::vector<double>(100), x, kLoose));
  }
}

TEST_CASE("central differences are of fourth order and leave their argument alone", "[core][helpers]") {
  std::vector<double> x = {0.3, -1.2};
  auto f = [&] { return std::exp(x[0]) * std::sin(x[1]); };
  std::vector<double> exact = {std::exp(0.3) * std::sin(-1.2), std::exp(0.3) * std::cos(-1.2)};
  CHECK(compare(central_differences(f, x, 1e-3), exact, {1e-11, 1e-11}));
  double coarse = std::fabs(central_differences(f, x, 0.2)[0] - exact[0]);
  double fine = std::fabs(central_differences(f, x, 0.1)[0] - exact[0]);
  CHECK(coarse / fine == Approx(16).epsilon(0.05));
  CHECK(x == std::vector<double>{0.3, -1.2});
}

TEST_CASE("random vectors are reproducible, differ by name, and are normal", "[core][helpers]") {
  auto x = random_vector("x", 10000, 2, 5);
  CHECK(x == random_vector("x", 10000, 2, 5));
  CHECK(x != random_vector("y", 10000, 2, 5));
  double mean = 0, var = 0;
  for (double element : x) mean += element / 10000;
  for (double element : x) var += (element - mean) * (element - mean) / 10000;
  CHECK(mean == Approx(5).margin(0.1));
  CHECK(std::sqrt(var) == Approx(2).margin(0.1));
}

TEST_CASE("a result that depends on the order of work is noticed", "[core][helpers]") {
  CHECK(same_for_any_order([] { return std::vector<float>{1, 2, 3}; }));
  int calls = 0;
  CHECK_FALSE(same_for_any_order([&] { return std::vector<float>{float(calls++)}; }));
}
