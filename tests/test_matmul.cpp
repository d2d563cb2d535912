#include "kernels/matmul.h"

#include <type_traits>
#include <vector>

#include "kernels/reference/matmul.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

struct Shape {
  size_t BT, C, OC;
  WeightLayout layout;
};

std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << "BT " << s.BT << ", C " << s.C << ", OC " << s.OC
             << (s.layout == WeightLayout::kInOut ? ", weight (C,OC)" : ", weight (OC,C)");
}

// What a linear layer reads, and what its parameter gradients hold before.
struct Inputs {
  Shape shape;
  std::vector<double> inp, weight, bias, dout, dweight, dbias;

  explicit Inputs(const Shape& s)
      : shape(s),
        inp(random_vector("inp", s.BT * s.C)),
        weight(random_vector("weight", s.C * s.OC)),
        bias(random_vector("bias", s.OC)),
        dout(random_vector("dout", s.BT * s.OC)),
        dweight(random_vector("dweight", s.C * s.OC)),
        dbias(random_vector("dbias", s.OC)) {}
};

// Sums of thousands of terms, which the emulator of CUDA adds up one after the other: 1.2e-6 in norm for 4200.
constexpr Tolerance kLongSums = kFp32 * (backend::kOnHost ? 1 : 2);

struct Gradients {
  std::vector<float> dinp, dweight, dbias;
};

template <class P = ::P>
std::vector<float> forward(const Inputs& x, bool with_bias) {
  using S = backend::Storage<P>;
  const auto [BT, C, OC, layout] = x.shape;
  auto out = device_nan<S>(BT * OC), inp = device<S>(x.inp), weight = device<S>(x.weight);
  auto bias = device<float>(x.bias);
  backend::matmul_forward<P>(out.data(), inp.data(), weight.data(), with_bias ? bias.data() : nullptr, BT, C, OC,
                             layout);
  return host(out);
}

// `times` calls that add to what x.dweight and x.dbias hold.
template <class P = ::P>
Gradients backward(const Inputs& x, int times = 1) {
  using S = backend::Storage<P>;
  const auto [BT, C, OC, layout] = x.shape;
  auto dinp = device_nan<S>(BT * C), dout = device<S>(x.dout), inp = device<S>(x.inp), weight = device<S>(x.weight);
  auto dweight = device<float>(x.dweight), dbias = device<float>(x.dbias);
  for (int i = 0; i < times; i++)
    backend::matmul_backward<P>(dinp.data(), dweight.data(), dbias.data(), dout.data(), inp.data(), weight.data(), BT,
                                C, OC, layout);
  return {host(dinp), host(dweight), host(dbias)};
}

// Operands in bf16 are rounded as they are multiplied (CPU) or before (CUDA): `exact` holds what the kernel is given on
// the CPU, `x` what a product sees. The gradient of the bias adds up what is stored.
template <class P>
void check_against_reference(const Shape& shape, Tolerance tolerance) {
  INFO(shape << " in " << kPrecisionName<P>);
  const Inputs exact(shape);
  Inputs x(shape);
  for (std::vector<double>* operand : {&x.inp, &x.weight, &x.dout}) *operand = rounded_to<P>(*operand);
  const auto [BT, C, OC, layout] = shape;
  for (bool with_bias : {true, false}) {
    std::vector<double> out(BT * OC);
    reference::matmul_forward(out.data(), x.inp.data(), x.weight.data(), with_bias ? x.bias.data() : nullptr, BT, C, OC,
                              layout);
    CHECK(compare(forward<P>(exact, with_bias), out, stored(tolerance)));
  }
  std::vector<double> dinp(BT * C), dweight = x.dweight, dbias = x.dbias;
  reference::matmul_backward(dinp.data(), dweight.data(), dbias.data(), x.dout.data(), x.inp.data(), x.weight.data(),
                             BT, C, OC, layout);
  Gradients got = backward<P>(exact);
  CHECK(compare(got.dinp, dinp, stored(tolerance)));
  CHECK(compare(got.dweight, dweight, tolerance));
  dbias = x.dbias;
  for (size_t i = 0; i < BT; i++)
    for (size_t o = 0; o < OC; o++) dbias[o] += as_stored(exact.dout[i * OC + o]);
  CHECK(compare(got.dbias, dbias, tolerance));
}

void check_against_reference(const Shape& shape, Tolerance tolerance = kFp32) {
  check_against_reference<P>(shape, tolerance);
  if (backend::kOnHost) check_against_reference<bf16>(shape, tolerance);  // stored in fp32 all the same
}

}  // namespace

TEST_CASE("matmul agrees with the reference", "[core][matmul]") {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn})
    for (size_t BT : {1, 7, 50})
      for (size_t C : {1, 13, 64})
        for (size_t OC : {1, 7, 50}) check_against_reference({BT, C, OC, layout});
}

TEST_CASE("matmul agrees with the reference where it takes several blocks", "[core][matmul]") {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn}) {
    check_against_reference({197, 31, 389, layout});  // more than one block of rows and of columns
    check_against_reference({37, 523, 33, layout});   // more than one piece of the inner dimension
    check_against_reference({523, 33, 37, layout});   // the same for dW
  }
}

TEST_CASE("matmul agrees with the reference where it packs A part by part", "[full][matmul]") {
  check_against_reference({3, 9001, 5, WeightLayout::kInOut}, kLongSums);     // K in parts
  check_against_reference({1100, 4200, 3, WeightLayout::kInOut}, kLongSums);  // M in parts
}

TEST_CASE("the backward of the reference matmul agrees with central differences", "[core][matmul]") {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn}) {
    Inputs x({3, 5, 4, layout});
    const auto [BT, C, OC, unused] = x.shape;
    auto loss = [&, BT = BT, C = C, OC = OC] {
      std::vector<double> out(BT * OC);
      reference::matmul_forward(out.data(), x.inp.data(), x.weight.data(), x.bias.data(), BT, C, OC, layout);
      return inner_product(out, x.dout);
    };
    std::vector<double> dinp(BT * C), dweight(C * OC), dbias(OC);
    reference::matmul_backward(dinp.data(), dweight.data(), dbias.data(), x.dout.data(), x.inp.data(), x.weight.data(),
                               BT, C, OC, layout);
    CHECK(compare(dinp, central_differences(loss, x.inp), kDifferences));
    CHECK(compare(dweight, central_differences(loss, x.weight), kDifferences));
    CHECK(compare(dbias, central_differences(loss, x.bias), kDifferences));
  }
}

TEST_CASE("matmul backward twice doubles the parameter gradients only", "[core][matmul]") {
  Inputs x({7, 13, 50, WeightLayout::kInOut});
  x.dweight.assign(x.dweight.size(), 0);
  x.dbias.assign(x.dbias.size(), 0);
  Gradients once = backward(x), twice = backward(x, 2);
  CHECK(same_bits(twice.dinp, once.dinp));
  CHECK(compare(twice.dweight, times_two(once.dweight), kFp32));
  CHECK(compare(twice.dbias, times_two(once.dbias), kFp32));
}

TEST_CASE("matmul skips the gradients that nobody wants", "[core][matmul]") {
  Inputs x({7, 13, 50, WeightLayout::kOutIn});
  auto dout = device<S>(x.dout), inp = device<S>(x.inp), weight = device<S>(x.weight);
  auto dweight = device<float>(x.dweight);
  backend::matmul_backward<P>(nullptr, dweight.data(), nullptr, dout.data(), inp.data(), weight.data(), 7, 13, 50,
                              WeightLayout::kOutIn);
  CHECK(same_bits(host(dweight), backward(x).dweight));
}

TEMPLATE_TEST_CASE("matmul gives the same bits in any order of work", "[core][matmul]", fp32, bf16) {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn})
    for (Shape shape : {Shape{131, 97, 203, layout}, {3, 5, 7, layout}, {1, 1, 1, layout}, {37, 523, 33, layout}}) {
      INFO(shape);
      Inputs x(shape);
      CHECK(same_for_any_order([&] { return forward<TestType>(x, true); }));
      CHECK(same_for_any_order([&] {
        Gradients d = backward<TestType>(x);
        return joined({d.dinp, d.dweight, d.dbias});
      }));
    }
}
