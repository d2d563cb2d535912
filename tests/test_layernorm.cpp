#include "kernels/layernorm.h"

#include <vector>

#include "kernels/reference/layernorm.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

// What a layer normalization reads, and what its gradients hold before.
struct Inputs {
  size_t BT, C;
  std::vector<double> inp, weight, bias, dout, dinp, dweight, dbias;

  Inputs(size_t BT, size_t C)
      : BT(BT),
        C(C),
        inp(random_stored("inp", BT * C, 2, 0.5)),
        weight(random_vector("weight", C)),
        bias(random_vector("bias", C)),
        dout(random_stored("dout", BT * C)),
        dinp(random_stored("dinp", BT * C)),
        dweight(random_vector("dweight", C)),
        dbias(random_vector("dbias", C)) {}
};

template <class Real>
struct Outputs {
  std::vector<Real> out, mean, rstd, dinp, dweight, dbias;
};

Outputs<double> by_reference(const Inputs& x) {
  Outputs<double> y{std::vector<double>(x.BT * x.C),
                    std::vector<double>(x.BT),
                    std::vector<double>(x.BT),
                    x.dinp,
                    x.dweight,
                    x.dbias};
  reference::layernorm_forward(y.out.data(), y.mean.data(), y.rstd.data(), x.inp.data(), x.weight.data(), x.bias.data(),
                               x.BT, x.C);
  reference::layernorm_backward(y.dinp.data(), y.dweight.data(), y.dbias.data(), y.dinp.data(), x.dout.data(),
                                x.inp.data(), x.weight.data(), y.mean.data(), y.rstd.data(), x.BT, x.C);
  return y;
}

// The kernel; its backward `times` times.
Outputs<float> by_kernel(const Inputs& x, int times = 1) {
  auto out = device_nan<S>(x.BT * x.C), dinp = device<S>(x.dinp), inp = device<S>(x.inp), dout = device<S>(x.dout);
  auto mean = device_nan<float>(x.BT), rstd = device_nan<float>(x.BT);
  auto weight = device<float>(x.weight), bias = device<float>(x.bias);
  auto dweight = device<float>(x.dweight), dbias = device<float>(x.dbias);
  backend::layernorm_forward(out.data(), mean.data(), rstd.data(), inp.data(), weight.data(), bias.data(), x.BT, x.C);
  for (int i = 0; i < times; i++)
    backend::layernorm_backward(dinp.data(), dweight.data(), dbias.data(), dinp.data(), dout.data(), inp.data(),
                                weight.data(), mean.data(), rstd.data(), x.BT, x.C);
  return {host(out), host(mean), host(rstd), host(dinp), host(dweight), host(dbias)};
}

// x - mean loses a digit where C is small and the row's elements lie close together.
constexpr Tolerance kLayerNorm = {3e-6, 1e-5};

}  // namespace

TEST_CASE("layernorm agrees with the reference", "[core][layernorm]") {
  for (size_t BT : {1, 7, 50, 1100})
    for (size_t C : {5, 7, 31, 64, 131}) {
      INFO("BT " << BT << ", C " << C);
      Inputs x(BT, C);
      auto got = by_kernel(x);
      auto expected = by_reference(x);
      CHECK(compare(got.out, expected.out, stored(kLayerNorm)));
      CHECK(compare(got.mean, expected.mean, kLayerNorm));
      CHECK(compare(got.rstd, expected.rstd, kLayerNorm));
      CHECK(compare(got.dinp, expected.dinp, stored(kLayerNorm)));
      CHECK(compare(got.dweight, expected.dweight, kLayerNorm));
      CHECK(compare(got.dbias, expected.dbias, kLayerNorm));
    }
}

TEST_CASE("layernorm of one channel, and of equal channels, is its bias", "[core][layernorm]") {
  Inputs one(5, 1), equal(3, 7);
  CHECK(by_kernel(one).out == std::vector<float>(5, as_stored(float(one.bias[0]))));
  equal.inp.assign(3 * 7, 4);
  equal.dinp.assign(3 * 7, 0);
  auto got = by_kernel(equal);
  for (size_t i = 0; i < 3 * 7; i++) CHECK(got.out[i] == as_stored(float(equal.bias[i % 7])));
  CHECK(compare(got.dinp, by_reference(equal).dinp, stored(kLayerNorm)));
}

TEST_CASE("layernorm keeps its digits far from zero", "[core][layernorm]") {
  Inputs x(7, 64);
  const double far = kStoredExactly ? 1000 : 10;  // where inp itself has 3e-5, or 3e-2, of its deviation
  for (double& element : x.inp) element = as_stored(element / 2 + far);
  CHECK(compare(by_kernel(x).out, by_reference(x).out, stored({1e-4, 3e-4})));
}

TEST_CASE("the backward of the reference layernorm agrees with central differences", "[core][layernorm]") {
  Inputs x(3, 7);
  x.dinp.assign(3 * 7, 0);
  x.dweight.assign(7, 0);
  x.dbias.assign(7, 0);
  auto gradients = by_reference(x);
  auto loss = [&] { return inner_product(by_reference(x).out, x.dout); };
  CHECK(compare(gradients.dinp, central_differences(loss, x.inp), kDifferences));
  CHECK(compare(gradients.dweight, central_differences(loss, x.weight), kDifferences));
  CHECK(compare(gradients.dbias, central_differences(loss, x.bias), kDifferences));
}

TEST_CASE("residual and layernorm in one visit are the two in a row, also in place", "[core][layernorm]") {
  for (size_t BT : {1, 7, 50})
    for (size_t C : {5, 64, 131}) {
      INFO("BT " << BT << ", C " << C);
      Inputs x(BT, C);
      const auto a = device<S>(x.inp), b = device<S>(x.dout);
      const auto weight = device<float>(x.weight), bias = device<float>(x.bias);
      std::vector<float> expected_sum(BT * C);
      for (size_t i = 0; i < BT * C; i++) expected_sum[i] = as_stored(to_float(a[i]) + to_float(b[i]));
      x.inp.assign(expected_sum.begin(), expected_sum.end());
      const auto expected = by_kernel(x, 0);

      // `sum` may be the stream or the branch
      auto apart = device_nan<S>(BT * C), over_a = a, over_b = b;
      auto run = [&](DeviceVector<S>& sum, const DeviceVector<S>& stream, const DeviceVector<S>& branch) {
        auto out = device_nan<S>(BT * C);
        auto mean = device_nan<float>(BT), rstd = device_nan<float>(BT);
        backend::residual_layernorm_forward(out.data(), mean.data(), rstd.data(), sum.data(), stream.data(),
                                            branch.data(), weight.data(), bias.data(), BT, C);
        return same_bits(host(sum), expected_sum) && same_bits(host(out), expected.out) &&
               same_bits(host(mean), expected.mean) && same_bits(host(rstd), expected.rstd);
      };
      CHECK(run(apart, a, b));
      CHECK(run(over_a, over_a, b));
      CHECK(run(over_b, a, over_b));
    }
}

TEST_CASE("layernorm backward adds to the gradient of the residual, if there is one", "[core][layernorm]") {
  Inputs x(37, 67);
  const auto in_place = by_kernel(x);
  const auto inp = device<S>(x.inp), dout = device<S>(x.dout);
  const auto weight = device<float>(x.weight);
  const auto mean = device<float>(in_place.mean), rstd = device<float>(in_place.rstd);
  auto run = [&](const S* dresidual) {
    auto dinp = device_nan<S>(x.inp.size());
    DeviceVector<float> dweight(x.C), dbias(x.C);
    backend::layernorm_backward(dinp.data(), dweight.data(), dbias.data(), dresidual, dout.data(), inp.data(),
                                weight.data(), mean.data(), rstd.data(), x.BT, x.C);
    return host(dinp);
  };
  const auto dresidual = device<S>(x.dinp);
  CHECK(same_bits(run(dresidual.data()), in_place.dinp));
  const DeviceVector<S> zeros(x.inp.size());
  CHECK(run(nullptr) == run(zeros.data()));
}

TEST_CASE("layernorm backward twice doubles all of its gradients: the stream's accumulates too", "[core][layernorm]") {
  Inputs x(7, 31);
  x.dinp.assign(x.dinp.size(), 0);
  x.dweight.assign(x.dweight.size(), 0);
  x.dbias.assign(x.dbias.size(), 0);
  auto once = by_kernel(x), twice = by_kernel(x, 2);
  CHECK(compare(twice.dinp, times_two(once.dinp), stored(kFp32, 2)));
  CHECK(compare(twice.dweight, times_two(once.dweight), kFp32));
  CHECK(compare(twice.dbias, times_two(once.dbias), kFp32));
}

TEST_CASE("layernorm gives the same bits in any order of work", "[core][layernorm]") {
  for (auto [BT, C] : {std::pair<size_t, size_t>{130, 67}, {2051, 67}, {3, 5}, {1, 769}}) {  // rows a job: 16, 33, all
    Inputs x(BT, C);
    CHECK(same_for_any_order([&] {
      auto y = by_kernel(x);
      return joined({y.out, y.mean, y.rstd, y.dinp, y.dweight, y.dbias});
    }));
  }
}
