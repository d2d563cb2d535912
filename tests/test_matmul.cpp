#include "kernels/matmul.h"

#include <vector>

#include "kernels/reference/matmul.h"
#include "tests/catch.h"
#include "tests/compare.h"

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

struct Gradients {
  std::vector<float> dinp, dweight, dbias;
};

std::vector<float> forward(const Inputs& x, bool with_bias) {
  const auto [BT, C, OC, layout] = x.shape;
  std::vector<float> out(BT * OC, kNaN);
  auto inp = to_float(x.inp), weight = to_float(x.weight), bias = to_float(x.bias);
  cpu::matmul_forward(out.data(), inp.data(), weight.data(), with_bias ? bias.data() : nullptr, BT, C, OC, layout);
  return out;
}

// `times` calls that add to what x.dweight and x.dbias hold.
Gradients backward(const Inputs& x, int times = 1) {
  const auto [BT, C, OC, layout] = x.shape;
  Gradients d{std::vector<float>(BT * C, kNaN), to_float(x.dweight), to_float(x.dbias)};
  auto dout = to_float(x.dout), inp = to_float(x.inp), weight = to_float(x.weight);
  for (int i = 0; i < times; i++)
    cpu::matmul_backward(d.dinp.data(), d.dweight.data(), d.dbias.data(), dout.data(), inp.data(), weight.data(), BT, C,
                         OC, layout);
  return d;
}

void check_against_reference(const Shape& shape) {
  INFO(shape);
  Inputs x(shape);
  const auto [BT, C, OC, layout] = shape;
  for (bool with_bias : {true, false}) {
    std::vector<double> out(BT * OC);
    reference::matmul_forward(out.data(), x.inp.data(), x.weight.data(), with_bias ? x.bias.data() : nullptr, BT, C, OC,
                              layout);
    CHECK(compare(forward(x, with_bias), out, kFp32));
  }
  std::vector<double> dinp(BT * C), dweight = x.dweight, dbias = x.dbias;
  reference::matmul_backward(dinp.data(), dweight.data(), dbias.data(), x.dout.data(), x.inp.data(), x.weight.data(),
                             BT, C, OC, layout);
  Gradients got = backward(x);
  CHECK(compare(got.dinp, dinp, kFp32));
  CHECK(compare(got.dweight, dweight, kFp32));
  CHECK(compare(got.dbias, dbias, kFp32));
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
  auto dout = to_float(x.dout), inp = to_float(x.inp), weight = to_float(x.weight), dweight = to_float(x.dweight);
  cpu::matmul_backward(nullptr, dweight.data(), nullptr, dout.data(), inp.data(), weight.data(), 7, 13, 50,
                       WeightLayout::kOutIn);
  CHECK(same_bits(dweight, backward(x).dweight));
}

TEST_CASE("matmul gives the same bits for any number of threads", "[core][matmul]") {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn}) {
    Inputs x({131, 97, 203, layout});
    CHECK(same_for_any_threads([&] { return forward(x, true); }));
    CHECK(same_for_any_threads([&] {
      Gradients d = backward(x);
      return joined({d.dinp, d.dweight, d.dbias});
    }));
  }
}
