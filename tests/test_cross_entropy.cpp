#include "kernels/cross_entropy.h"

#include <vector>

#include "kernels/reference/cross_entropy.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

struct Inputs {
  size_t BT, V;
  std::vector<double> logits;
  DeviceVector<int32_t> targets;

  Inputs(size_t BT, size_t V, double sd = 2, double mean = 0)
      : BT(BT), V(V), logits(random_stored("logits", BT * V, sd, mean)), targets(BT) {
    for (size_t i = 0; i < BT; i++) targets[i] = int32_t(i * 31 % V);
    targets[0] = int32_t(V - 1);
  }
};

template <class Real>
struct Outputs {
  std::vector<Real> losses, dlogits;
};

// In training.
Outputs<float> by_kernel(const Inputs& x, float scale) {
  auto losses = device_nan<float>(x.BT);
  auto logits = device<S>(x.logits);
  backend::cross_entropy_forward_backward(losses.data(), logits.data(), x.targets.data(), scale, x.BT, x.V);
  return {host(losses), host(logits)};
}

Outputs<double> by_reference(const Inputs& x, double scale) {
  Outputs<double> y{std::vector<double>(x.BT), x.logits};
  reference::cross_entropy_forward_backward(y.losses.data(), y.dlogits.data(), x.targets.data(), scale, x.BT, x.V);
  return y;
}

// In evaluation.
std::vector<float> losses_by_kernel(const Inputs& x) {
  auto losses = device_nan<float>(x.BT);
  auto logits = device<S>(x.logits);
  backend::cross_entropy_forward(losses.data(), logits.data(), x.targets.data(), x.BT, x.V);
  return host(losses);
}

}  // namespace

TEST_CASE("cross entropy agrees with the reference", "[core][cross_entropy]") {
  for (size_t BT : {1, 7, 50})
    for (size_t V : {1, 2, 7, 50, 257, 1009}) {
      INFO("BT " << BT << ", V " << V);
      Inputs x(BT, V);
      auto got = by_kernel(x, 0.125f);
      auto expected = by_reference(x, 0.125);
      CHECK(compare(got.losses, expected.losses, kFp32));
      CHECK(compare(got.dlogits, expected.dlogits, stored(kFp32)));
    }
}

TEST_CASE("the loss is the same bits with a gradient and without", "[core][cross_entropy]") {
  for (size_t V : {1, 7, 257, 1009}) {
    INFO("V " << V);
    Inputs x(19, V);
    CHECK(same_bits(losses_by_kernel(x), by_kernel(x, 0.5f).losses));
  }
}

TEST_CASE("cross entropy neither overflows nor loses a sure thing", "[core][cross_entropy]") {
  for (double shift : {-500.0, 500.0}) {
    Inputs x(7, 50, 2, shift);
    CHECK(compare(by_kernel(x, 1).losses, by_reference(x, 1).losses, {1e-5, 1e-5}));  // logits near 500 have 3e-5
  }
  Inputs sure(1, 50);
  sure.logits[49] = 60;  // the target
  auto got = by_kernel(sure, 1);
  CHECK(got.losses[0] == Approx(0).margin(1e-6));
  CHECK(got.dlogits[49] == Approx(0).margin(1e-6));
  sure.logits[0] = 160;
  CHECK(by_kernel(sure, 1).losses[0] == 100);
}

TEST_CASE("equal logits cost ln V", "[core][cross_entropy]") {
  Inputs x(3, 257, 0, 0.7);
  for (float loss : by_kernel(x, 1).losses) CHECK(loss == Approx(std::log(257.0)).epsilon(1e-6));
}

TEST_CASE("a NaN or an infinity among the logits is seen in the loss", "[core][cross_entropy]") {
  for (size_t at : {0, 3, 49})
    for (float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
      Inputs x(2, 50);
      x.logits[at] = bad;
      CHECK_FALSE(std::isfinite(losses_by_kernel(x)[0]));
      CHECK_FALSE(std::isfinite(by_kernel(x, 1).losses[0]));
      CHECK(std::isfinite(by_kernel(x, 1).losses[1]));
    }
}

TEST_CASE("the backward of the reference cross entropy agrees with central differences", "[core][cross_entropy]") {
  Inputs x(3, 7);
  std::vector<double> expected = central_differences(
      [&] {
        double sum = 0;
        for (double loss : by_reference(x, 1).losses) sum += 0.25 * loss;
        return sum;
      },
      x.logits);
  CHECK(compare(by_reference(x, 0.25).dlogits, expected, kDifferences));
}

TEST_CASE("cross entropy gives the same bits in any order of work", "[core][cross_entropy]") {
  for (Inputs x : {Inputs(131, 257), Inputs(3, 7), Inputs(1, 1009)})
    CHECK(same_for_any_order([&] {
      auto y = by_kernel(x, 0.5f);
      return joined({y.losses, y.dlogits, losses_by_kernel(x)});
    }));
}
