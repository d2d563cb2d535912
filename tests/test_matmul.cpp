#include "kernels/matmul.h"

#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/cpu/operand.h"
#include "kernels/normalizer/math.h"
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

template <class P = fp32>
std::vector<float> forward(const Inputs& x, bool with_bias) {
  const auto [BT, C, OC, layout] = x.shape;
  std::vector<float> out(BT * OC, kNaN);
  auto inp = to_float(x.inp), weight = to_float(x.weight), bias = to_float(x.bias);
  cpu::matmul_forward<P>(out.data(), inp.data(), weight.data(), with_bias ? bias.data() : nullptr, BT, C, OC, layout);
  return out;
}

// `times` calls that add to what x.dweight and x.dbias hold.
template <class P = fp32>
Gradients backward(const Inputs& x, int times = 1) {
  const auto [BT, C, OC, layout] = x.shape;
  Gradients d{std::vector<float>(BT * C, kNaN), to_float(x.dweight), to_float(x.dbias)};
  auto dout = to_float(x.dout), inp = to_float(x.inp), weight = to_float(x.weight);
  for (int i = 0; i < times; i++)
    cpu::matmul_backward<P>(d.dinp.data(), d.dweight.data(), d.dbias.data(), dout.data(), inp.data(), weight.data(), BT,
                            C, OC, layout);
  return d;
}

// As a product in bf16 sees it.
std::vector<double> rounded(std::vector<double> x) {
  for (double& number : x) {
    uint32_t bits = num::bits(float(number));
    bits += 0x7fff + (bits >> 16 & 1);
    number = num::from_bits(bits & 0xffff0000);
  }
  return x;
}

// The bias and its gradient are fp32 in any precision: `x` holds them as they are, `operands` as the product sees them.
template <class P>
void check_against_reference(const Shape& shape) {
  INFO(shape << " in " << kPrecisionName<P>);
  const Inputs exact(shape);
  Inputs x(shape);
  if (std::is_same_v<P, bf16>) {
    x.inp = rounded(x.inp);
    x.weight = rounded(x.weight);
    x.dout = rounded(x.dout);
  }
  const auto [BT, C, OC, layout] = shape;
  for (bool with_bias : {true, false}) {
    std::vector<double> out(BT * OC);
    reference::matmul_forward(out.data(), x.inp.data(), x.weight.data(), with_bias ? x.bias.data() : nullptr, BT, C, OC,
                              layout);
    CHECK(compare(forward<P>(exact, with_bias), out, kFp32));
  }
  std::vector<double> dinp(BT * C), dweight = x.dweight, dbias = x.dbias;
  reference::matmul_backward(dinp.data(), dweight.data(), dbias.data(), x.dout.data(), x.inp.data(), x.weight.data(),
                             BT, C, OC, layout);
  Gradients got = backward<P>(exact);
  CHECK(compare(got.dinp, dinp, kFp32));
  CHECK(compare(got.dweight, dweight, kFp32));
  dbias = x.dbias;
  for (size_t i = 0; i < BT; i++)
    for (size_t o = 0; o < OC; o++) dbias[o] += exact.dout[i * OC + o];
  CHECK(compare(got.dbias, dbias, kFp32));
}

void check_against_reference(const Shape& shape) {
  check_against_reference<fp32>(shape);
  check_against_reference<bf16>(shape);
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
  check_against_reference({3, 9001, 5, WeightLayout::kInOut});     // K in parts
  check_against_reference({1100, 4200, 3, WeightLayout::kInOut});  // M in parts
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

TEMPLATE_TEST_CASE("matmul gives the same bits for any number of threads", "[core][matmul]", fp32, bf16) {
  for (WeightLayout layout : {WeightLayout::kInOut, WeightLayout::kOutIn}) {
    Inputs x({131, 97, 203, layout});
    CHECK(same_for_any_threads([&] { return forward<TestType>(x, true); }));
    CHECK(same_for_any_threads([&] {
      Gradients d = backward<TestType>(x);
      return joined({d.dinp, d.dweight, d.dbias});
    }));
  }
}

namespace {

// Every kind of number: random bits, which reach subnormal numbers, infinities and NaN, and rounding's ties.
num::Pack random_words(uint64_t index, uint32_t stream) {
  num::Pack::Bits x;
  for (int lane = 0; lane < num::kPackWidth; lane++) {
    x[lane] = Philox{{stream, 2026}}(index * num::kPackWidth + lane)[0];
    if (index % 4 == 1) x[lane] = (x[lane] & 0xffff0000u) | 0x8000u;                      // half way between two bf16
    if (index % 4 == 2) x[lane] = (x[lane] & 0x80ffffffu) + (index << 16 & 0x7f000000u);  // small exponents
  }
  return num::from_bits(x);
}

bool same_words(num::Pack a, num::Pack b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

// Compares nothing but itself on processors without the instructions.
TEST_CASE("bf16 is rounded and multiplied as by the instructions", "[core][matmul]") {
  size_t different = 0;
  for (uint64_t i = 0; i < 100000; i++) {
    const num::Pack x = random_words(i, 1), y = random_words(i, 2);
    different += !same_words(cpu::pair_of_bf16(x, y), cpu::pair_of_bf16_generic(x, y));
    different += !same_words(cpu::successive_bf16(x, y), cpu::successive_bf16_generic(x, y));
  }
  CHECK(different == 0);
  for (uint64_t i = 0; i < 100000; i++) {  // finite operands, and sums of like size, small ones among them
    const num::Pack a = cpu::pair_of_bf16(num::from_bits(num::bits(random_words(i, 3)) & 0xbfffffffu),
                                          num::from_bits(num::bits(random_words(i, 4)) & 0xbfffffffu));
    const num::Pack b = cpu::pair_of_bf16(num::from_bits(num::bits(random_words(i, 5)) & 0xbfffffffu),
                                          num::from_bits(num::bits(random_words(i, 6)) & 0xbfffffffu));
    const num::Pack c = num::from_bits(num::bits(random_words(i, 7)) & 0xbfffffffu);
    different += !same_words(cpu::dot_bf16(a, b, c), cpu::dot_bf16_generic(a, b, c));
  }
  CHECK(different == 0);
}

TEST_CASE("rounding to bf16 goes to the nearest, ties to even, and keeps NaN and infinity", "[core][matmul]") {
  auto rounded = [](uint32_t x) {
    return num::bits(cpu::pair_of_bf16(num::from_bits(num::Pack::Bits{} + x), num::Pack(0)))[0];
  };
  CHECK(rounded(0x3f800000) == 0x3f80);  // 1
  CHECK(rounded(0x3f808000) == 0x3f80);  // a tie: to even, down
  CHECK(rounded(0x3f818000) == 0x3f82);  // a tie: to even, up
  CHECK(rounded(0x3f808001) == 0x3f81);
  CHECK(rounded(0x7f7fffff) == 0x7f80);  // the largest float becomes infinity
  CHECK(rounded(0xff800000) == 0xff80);
  CHECK(rounded(0x7f800001) == 0x7fc0);  // NaN
  CHECK(rounded(0x7fffffff) == 0x7fff);
  CHECK(rounded(0x807fffff) == 0x8000);  // subnormal
}
