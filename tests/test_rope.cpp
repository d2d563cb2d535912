#include "kernels/rope.h"

#include <vector>

#include "kernels/reference/rope.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

constexpr double kTheta = 10000;

// The angles are made in double, so only cos, sin and a rotation are rounded.
constexpr Tolerance kRotation = {2e-7, 4e-7};

struct Shape {
  size_t B, T, C, NH;

  size_t size() const { return B * T * 3 * C; }
  DeviceVector<float> table() const {
    auto table = device_nan<float>(T * (C / NH / 2) * 2);
    rope_table(table.data(), T, C / NH, kTheta);
    return table;
  }
};

template <class Number>
std::vector<float> forward(const std::vector<Number>& x, const Shape& s) {
  auto qkv = device<S>(x);
  auto table = s.table();
  backend::rope_forward(qkv.data(), table.data(), s.B, s.T, s.C, s.NH);
  return host(qkv);
}

template <class Number>
std::vector<float> backward(const std::vector<Number>& dx, const Shape& s) {
  auto dqkv = device<S>(dx);
  auto table = s.table();
  backend::rope_backward(dqkv.data(), table.data(), s.B, s.T, s.C, s.NH);
  return host(dqkv);
}

}  // namespace

TEST_CASE("rope agrees with the reference", "[core][rope]") {
  for (Shape s : {Shape{1, 1, 2, 1}, {2, 33, 8, 4}, {1, 37, 24, 3}, {3, 5, 64, 1}, {1, 513, 16, 2}}) {
    INFO("B " << s.B << ", T " << s.T << ", C " << s.C << ", NH " << s.NH);
    auto qkv = random_stored("qkv", s.size()), dqkv = random_stored("dqkv", s.size());
    auto expected = qkv, gradient = dqkv;
    reference::rope_forward(expected.data(), kTheta, s.B, s.T, s.C, s.NH);
    reference::rope_backward(gradient.data(), kTheta, s.B, s.T, s.C, s.NH);
    CHECK(compare(forward(qkv, s), expected, stored(kRotation)));
    CHECK(compare(backward(dqkv, s), gradient, stored(kRotation)));
  }
}

TEST_CASE("the backward of the reference rope agrees with central differences", "[core][rope]") {
  Shape s{2, 3, 8, 2};
  auto qkv = random_vector("qkv", s.size()), dout = random_vector("dout", s.size());
  auto loss = [&] {
    auto out = qkv;
    reference::rope_forward(out.data(), kTheta, s.B, s.T, s.C, s.NH);
    return inner_product(out, dout);
  };
  auto gradient = dout;
  reference::rope_backward(gradient.data(), kTheta, s.B, s.T, s.C, s.NH);
  CHECK(compare(gradient, central_differences(loss, qkv), kDifferences));
}

TEST_CASE("rope leaves v and the first position alone, and its backward undoes it", "[core][rope]") {
  Shape s{2, 9, 24, 3};
  auto qkv = to_float(random_stored("qkv", s.size()));
  auto out = forward(qkv, s);
  for (size_t i = 0; i < s.size(); i++) {
    size_t t = i / (3 * s.C) % s.T, part = i % (3 * s.C) / s.C;
    if (t == 0 || part == 2) CHECK(out[i] == qkv[i]);
  }
  CHECK_FALSE(same_bits(out, qkv));
  CHECK(compare(backward(out, s), qkv, stored(kFp32, 2)));
}

TEST_CASE("after rope, the product of a query and a key depends on their distance alone", "[core][rope]") {
  Shape s{1, 40, 8, 1};
  auto one = random_stored("one", 3 * s.C);
  std::vector<double> qkv;
  for (size_t t = 0; t < s.T; t++) qkv.insert(qkv.end(), one.begin(), one.end());
  auto out = forward(qkv, s);
  auto product = [&](size_t t, size_t j) {
    double sum = 0;
    for (size_t c = 0; c < s.C; c++) sum += double(out[t * 3 * s.C + c]) * out[j * 3 * s.C + s.C + c];
    return sum;
  };
  CHECK(product(39, 34) == Approx(product(5, 0)).margin(1e-5 + 8 * kStoring));  // of 8 products near 1
  CHECK(std::fabs(product(39, 34) - product(39, 30)) > 0.01);
}

TEST_CASE("rope gives the same bits in any order of work", "[core][rope]") {
  for (Shape s : {Shape{3, 65, 24, 3}, {1, 3, 2, 1}, {5, 211, 30, 5}}) {
    auto qkv = to_float(random_vector("qkv", s.size()));
    CHECK(same_for_any_order([&] { return joined({forward(qkv, s), backward(qkv, s)}); }));
  }
}
