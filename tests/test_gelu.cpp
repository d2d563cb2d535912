#include "kernels/gelu.h"

#include <vector>

#include "kernels/reference/gelu.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

// One element: an exp and a division, 1 - s by subtraction.
constexpr Tolerance kGelu = {1e-6, 1e-6};

std::vector<float> forward(const std::vector<double>& x) {
  auto inp = device<S>(x), out = device_nan<S>(x.size());
  backend::gelu_forward(out.data(), inp.data(), x.size());
  return host(out);
}

std::vector<float> backward(const std::vector<double>& x, const std::vector<double>& dy) {
  auto inp = device<S>(x), dout = device<S>(dy), dinp = device_nan<S>(x.size());
  backend::gelu_backward(dinp.data(), dout.data(), inp.data(), x.size());
  return host(dinp);
}

}  // namespace

TEST_CASE("gelu agrees with the reference", "[core][gelu]") {
  for (size_t n : {1, 7, 50, 64, 5003}) {
    INFO("n " << n);
    auto x = random_stored("x", n, 2), dy = random_stored("dy", n);
    std::vector<double> out(n), dinp(n);
    reference::gelu_forward(out.data(), x.data(), n);
    reference::gelu_backward(dinp.data(), dy.data(), x.data(), n);
    CHECK(compare(forward(x), out, stored(kGelu)));
    CHECK(compare(backward(x, dy), dinp, stored(kGelu)));
  }
}

TEST_CASE("the backward of the reference gelu agrees with central differences", "[core][gelu]") {
  auto x = random_vector("x", 20, 2), dy = random_vector("dy", 20);
  std::vector<double> out(20), dinp(20);
  reference::gelu_backward(dinp.data(), dy.data(), x.data(), 20);
  auto loss = [&] {
    reference::gelu_forward(out.data(), x.data(), 20);
    return inner_product(out, dy);
  };
  CHECK(compare(dinp, central_differences(loss, x), kDifferences));
}

TEST_CASE("gelu is x, 0 and a straight line far from zero", "[core][gelu]") {
  CHECK(forward({0})[0] == 0);
  for (double x : {20.0, 1000.0}) {
    CHECK(forward({x})[0] == float(x));
    CHECK(forward({-x})[0] == Approx(0).margin(1e-6));
    CHECK(backward({x}, {3})[0] == 3);
    CHECK(backward({-x}, {3})[0] == Approx(0).margin(1e-6));
  }
}

TEST_CASE("gelu backward may write over dout", "[core][gelu]") {
  auto x = random_vector("x", 37), dy = random_vector("dy", 37);
  auto inp = device<S>(x), in_place = device<S>(dy);
  backend::gelu_backward(in_place.data(), in_place.data(), inp.data(), 37);
  CHECK(same_bits(host(in_place), backward(x, dy)));
}

TEST_CASE("gelu shows a NaN", "[core][gelu]") {
  CHECK(std::isnan(forward({kNaN})[0]));
  CHECK(std::isnan(backward({kNaN}, {1})[0]));
}

TEST_CASE("gelu gives the same bits in any order of work", "[core][gelu]") {
  for (size_t n : {7, 20011, 100003}) {
    auto x = random_vector("x", n), dy = random_vector("dy", n);
    CHECK(same_for_any_order([&] { return joined({forward(x), backward(x, dy)}); }));
  }
}
