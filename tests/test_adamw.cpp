// AdamW, and the checks of whole tensors.
#include "kernels/adamw.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/check.h"
#include "kernels/reference/adamw.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

// Update number k (1, 2, ...) with a rate and a decay large enough to be seen.
AdamW step_number(int k, float grad_scale = 1) {
  const float beta1 = 0.9f, beta2 = 0.95f;
  return {0.01f, beta1, beta2, 1 - std::pow(beta1, float(k)), 1 - std::pow(beta2, float(k)), grad_scale};
}

// Parameters, their moments, and a gradient that differs from step to step.
template <class Real>
struct State {
  std::vector<Real> param, grad, m, v;

  explicit State(size_t n) : m(n), v(n) {
    auto start = random_vector("param", n);
    param.assign(start.begin(), start.end());
  }
  void set_gradient(int k) {
    auto g = random_vector("gradient " + std::to_string(k), param.size());
    grad.assign(g.begin(), g.end());
  }
};

constexpr float kDecay = 0.1f;

void update(State<float>& x, const AdamW& step, const std::vector<AdamWTensor>& tensors) {
  auto param = device<float>(x.param), grad = device<float>(x.grad), m = device<float>(x.m), v = device<float>(x.v);
  backend::adamw_update(param.data(), grad.data(), m.data(), v.data(), tensors, step);
  x.param = host(param);
  x.grad = host(grad);
  x.m = host(m);
  x.v = host(v);
}
void update(State<float>& x, const AdamW& step) { update(x, step, {{0, x.param.size(), kDecay}}); }

State<float> five_steps(size_t n) {
  State<float> x(n);
  for (int k = 1; k <= 5; k++) {
    x.set_gradient(k);
    update(x, step_number(k, 0.5f));
  }
  return x;
}

}  // namespace

TEST_CASE("adamw agrees with the reference over five updates", "[core][adamw]") {
  for (size_t n : {1, 7, 50, 64, 9001}) {
    INFO("n " << n);
    State<float> got = five_steps(n);
    State<double> expected(n);
    for (int k = 1; k <= 5; k++) {
      expected.set_gradient(k);
      reference::adamw_update(expected.param.data(), expected.grad.data(), expected.m.data(), expected.v.data(), n,
                              kDecay, step_number(k, 0.5f));
    }
    CHECK(compare(got.param, expected.param, kFp32));
    CHECK(compare(got.m, expected.m, kFp32));
    CHECK(compare(got.v, expected.v, kFp32));
    CHECK(got.grad == std::vector<float>(n, 0));
  }
}

TEST_CASE("the first update of adamw moves by lr against the gradient, and decays by lr decay", "[core][adamw]") {
  for (float scale : {1e-3f, 1.0f, 1e3f}) {
    State<float> x(1);
    x.param = {2};
    x.grad = {scale};
    update(x, step_number(1));
    CHECK(x.param[0] == Approx(2 * (1 - 0.01 * 0.1) - 0.01).epsilon(1e-5));
  }
}

TEST_CASE("adamw without a gradient decays only, and stays finite", "[core][adamw]") {
  State<float> x(3);
  x.param = {2, -1, 0};
  x.grad = {0, 0, 0};
  update(x, step_number(1));
  CHECK(x.param[0] == Approx(2 * 0.999));
  CHECK(x.param[1] == Approx(-0.999));
  CHECK(x.param[2] == 0);
}

TEST_CASE("adamw updates every tensor with its own decay, and nothing between them", "[core][adamw]") {
  // Short and long ones, gaps, and one that ends where a job does (16384).
  const std::vector<AdamWTensor> tensors = {
      {0, 5, 0}, {16, 7, 0.5f}, {32, 16352, 0.1f}, {16384, 3, 0}, {16400, 40007, 0.2f}};
  const size_t n = 60000;
  State<float> x(n);
  x.set_gradient(1);
  const State<float> before = x;
  update(x, step_number(1), tensors);

  State<float> one_by_one = before;
  for (const AdamWTensor& tensor : tensors) update(one_by_one, step_number(1), {tensor});
  CHECK(same_bits(joined({x.param, x.grad, x.m, x.v}),
                  joined({one_by_one.param, one_by_one.grad, one_by_one.m, one_by_one.v})));

  std::vector<bool> listed(n);
  for (const AdamWTensor& tensor : tensors) {
    State<double> expected(tensor.size);
    std::copy_n(before.param.begin() + tensor.offset, tensor.size, expected.param.begin());
    expected.grad.assign(before.grad.begin() + tensor.offset, before.grad.begin() + tensor.offset + tensor.size);
    reference::adamw_update(expected.param.data(), expected.grad.data(), expected.m.data(), expected.v.data(),
                            tensor.size, tensor.decay, step_number(1));
    auto got = x.param.begin() + tensor.offset;
    CHECK(compare(std::vector<float>(got, got + tensor.size), expected.param, kFp32));
    std::fill_n(listed.begin() + tensor.offset, tensor.size, true);
  }
  size_t wrong = 0;
  for (size_t i = 0; i < n; i++)
    if (listed[i])
      wrong += x.grad[i] != 0;
    else
      wrong += x.param[i] != before.param[i] || x.grad[i] != before.grad[i] || x.m[i] != 0 || x.v[i] != 0;
  CHECK(wrong == 0);

  backend::adamw_update(nullptr, nullptr, nullptr, nullptr, {}, step_number(1));  // no tensors
}

TEST_CASE("adamw gives the same bits in any order of work", "[core][adamw]") {
  for (size_t n : {7, 70001})
    CHECK(same_for_any_order([&] {
      State<float> x = five_steps(n);
      return joined({x.param, x.m, x.v});
    }));
}

TEST_CASE("sum_of_squares adds up in double, the same in any order of work", "[core][check]") {
  for (size_t n : {0, 1, 7, 50, 100003, 300007}) {
    INFO("n " << n);
    auto x = device<float>(random_vector("x", n));
    long double expected = 0;
    for (float element : x) expected += (long double)element * element;
    CHECK(backend::sum_of_squares(x.data(), n) == Approx(double(expected)).epsilon(1e-13));
    CHECK(same_for_any_order([&] { return bits_of({backend::sum_of_squares(x.data(), n)}); }));
  }
  DeviceVector<float> large(1000, 1e30f);  // the square of each is beyond float
  CHECK(backend::sum_of_squares(large.data(), 1000) == Approx(1e63).epsilon(1e-6));
  large[999] = kNaN;
  CHECK(std::isnan(backend::sum_of_squares(large.data(), 1000)));
  large[999] = -std::numeric_limits<float>::infinity();
  CHECK(std::isinf(backend::sum_of_squares(large.data(), 1000)));
}

TEST_CASE("first_nonfinite finds the first", "[core][check]") {
  DeviceVector<S> x(100003, round_to<S>(1));
  CHECK(backend::first_nonfinite(x.data(), x.size()) == x.size());
  CHECK(backend::first_nonfinite(x.data(), 0) == 0);
  for (float bad : {kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    auto y = x;
    y[70001] = round_to<S>(bad);
    CHECK(backend::first_nonfinite(y.data(), y.size()) == 70001);
    y[5] = round_to<S>(bad);
    CHECK(backend::first_nonfinite(y.data(), y.size()) == 5);
    CHECK(backend::first_nonfinite(y.data(), 5) == 5);
  }
}
