// The attention kernel of every normalizer against the reference, and the reference against central differences.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "tests/any_order.h"
#include "tests/attention_fixture.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"
#include "tests/every_normalizer.h"

namespace {

// fp32 in the scores (sums over HS), the normalizer, and two more sums; times the condition of the normalizer. In bf16 it
// is the backward's dot = <dout, out> that the condition enlarges, because out is stored in bf16; and tiles round weights
// and dz before they store what they add up to.
constexpr Tolerance kAttention = kStoredExactly ? Tolerance{2e-6, 6e-6} : Tolerance{1e-3, 5e-3};
// The gradients of the learned scalars: sums over all rows whose terms cancel. They pass through nothing that is stored in
// bf16, but through sums of tensor cores, which need not round to nearest as the emulator does.
// On a GPU a score of a head of 128 is one sum; where terms cancel to a tenth, as for one b of learned_scale at T = 7,
// its rounding comes to 1.8e-5.
constexpr Tolerance kScalars = !kStoredExactly    ? Tolerance{1e-4, 1e-4}
                               : backend::kOnHost ? Tolerance{1e-5, 1e-5}
                                                  : Tolerance{2.5e-5, 2.5e-5};
// Beyond, the comparison would say nothing.
constexpr double kWorstCondition = 500;

// Head sizes that kernels treat differently: odd ones, and on CUDA those that have tiles.
std::vector<size_t> head_sizes() {
  return backend::kOnHost ? std::vector<size_t>{1, 3, 8, 13, 64, 80} : std::vector<size_t>{1, 5, 13, 32, 64, 128};
}
// T HS of a head; the emulator would take minutes for larger ones, of which test_cuda_backend.cpp has some.
constexpr size_t kLargestHead = backend::kOnHost ? 1 << 30 : 65 * 64;

void check_results(const Attended& got, const ExpectedAttention& expected, double condition) {
  CHECK(compare(got.out, expected.out, stored(kAttention * condition, 2)));
  CHECK(compare(got.dqkv, expected.dqkv, stored(kAttention * condition, 3)));
  CHECK(compare(got.dtheta, expected.dtheta, kScalars * condition));
  CHECK(compare(got.dlength_scale, expected.dlength_scale, kScalars * condition));
}

template <class N>
void check_against_reference(const AttentionShape& shape) {
  INFO(shape);
  AttentionInputs x(shape, N::params, N::length_scale);
  double worst = condition<N>(x);
  CAPTURE(worst);
  REQUIRE(worst <= kWorstCondition);
  check_results(by_kernel<N>(x), by_reference<N>(x), worst);
}

// The losses are sums of out * dout.
template <class N>
void check_differences(const AttentionShape& shape) {
  INFO(shape);
  AttentionInputs x(shape, N::params, N::length_scale);
  x.dtheta.assign(x.dtheta.size(), 0);
  x.dlength_scale.assign(x.dlength_scale.size(), 0);
  ExpectedAttention y = by_reference<N>(x);
  auto loss = [&] {
    std::vector<double> out(y.out.size());
    reference::attention_forward<N>(out.data(), x.qkv.data(), x.theta.data(), x.length_scale.data(),
                                    x.slopes.empty() ? nullptr : x.slopes.data(), x.B, x.T, x.C, x.NH);
    return inner_product(out, x.dout);
  };
  const double step = 2e-5;  // small, because of the poles of the ratio forms: rounding is 1e-11
  Tolerance tolerance = Tolerance{1e-8, 1e-8} * condition<N>(x);
  CHECK(compare(y.dqkv, central_differences(loss, x.qkv, step), tolerance));
  CHECK(compare(y.dtheta, central_differences(loss, x.theta, step), tolerance));
  CHECK(compare(y.dlength_scale, central_differences(loss, x.length_scale, step), tolerance));
}

template <class N>
void check_twice(const AttentionShape& shape) {
  AttentionInputs x(shape, N::params, N::length_scale);
  x.dtheta.assign(x.dtheta.size(), 0);
  x.dlength_scale.assign(x.dlength_scale.size(), 0);
  auto once = by_kernel<N>(x), twice = by_kernel<N>(x, 2);
  CHECK(same_bits(twice.dqkv, once.dqkv));
  CHECK(same_bits(twice.dtheta, times_two(once.dtheta)));
  CHECK(same_bits(twice.dlength_scale, times_two(once.dlength_scale)));
}

template <class N>
void check_order(const AttentionShape& shape) {
  AttentionInputs x(shape, N::params, N::length_scale);
  CHECK(same_for_any_order([&] {
    auto y = by_kernel<N>(x);
    return joined({y.out, y.dqkv, y.dtheta, y.dlength_scale});
  }));
}

}  // namespace

TEST_CASE("attention agrees with the reference for every normalizer", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    check_against_reference<N>({2, 43, 3, 8, false, 0.5});
    check_against_reference<N>({1, 37, 2, 6, true});
  });
}

TEST_CASE("attention agrees with the reference in every shape", "[core][attention]") {
  for (bool alibi : {false, true})
    for (size_t HS : head_sizes())
      for (size_t T : {1, 2, 7, 16, 33, 64, 65, 130}) {
        if (T * HS > kLargestHead) continue;
        check_against_reference<Softmax>({1, T, 1, HS, alibi});
        check_against_reference<SSMaxBias>({2, T, 2, HS, alibi});
        check_against_reference<LearnedScale>({2, T, 2, HS, alibi});
        check_against_reference<PreNorm<SinSoftmax>>({1, T, 3, HS, alibi});
        check_against_reference<SASoftmaxShift>({3, T, 1, HS, alibi});
      }
}

TEST_CASE("the backward of the reference attention agrees with central differences", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    check_differences<N>({1, 6, 2, 3, false, 0.5});
    check_differences<N>({2, 5, 1, 2, true, 0.5});
  });
}

TEST_CASE("attention backward twice doubles the gradients of what is learned only", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) { check_twice<N>({2, 37, 2, 5, true, 0.5}); });
}

TEST_CASE("attention gives the same bits in any order of work", "[core][attention]") {
  const size_t longest = backend::kOnHost ? 437 : 70;  // as for kLargestHead
  for_every_normalizer([&]<class N>(const std::string&) {
    check_order<N>({2, std::min(longest / 2, size_t(67)), 3, 8, false, 0.5});
  });
  check_order<SSMaxBias>({1, 3, 1, 5, true});  // less work than threads
  for (size_t HS : head_sizes()) {  // one head and many blocks of queries: the CPU's backward adds up to 7 parts
    check_order<Softmax>({1, longest, 1, HS});
    check_order<SSMaxBias>({1, std::min(longest, size_t(203)), 2, HS, true});
    check_order<LearnedScale>({2, std::min(longest, size_t(203)), 2, HS});
    check_order<SASoftmax>({2, std::min(longest, size_t(131)), 1, HS});
    check_order<PreNorm<SinSoftmax>>({1, std::min(longest, size_t(333)), 3, HS});
  }
}

TEST_CASE("attention gives every head of a large batch what it gives the head alone", "[core][attention]") {
  const size_t B = 33, T = 130, C = 5;  // as many heads as make the backward work on whole heads
  AttentionInputs all({B, T, 1, C}, 0);
  AttentionInputs one({1, T, 1, C}, 0);
  if (backend::kOnHost) {
    REQUIRE(backend::attention_shared_floats(B, T, 1, C, false) == 0);
    REQUIRE(backend::attention_shared_floats(1, T, 1, C, false) > 0);
  }
  const auto y = by_kernel<Softmax>(all);
  for (size_t b : {size_t(0), B - 1}) {
    std::copy_n(all.qkv.begin() + long(b * T * 3 * C), T * 3 * C, one.qkv.begin());
    std::copy_n(all.dout.begin() + long(b * T * C), T * C, one.dout.begin());
    const auto alone = by_kernel<Softmax>(one);
    const auto from = y.dqkv.begin() + long(b * T * 3 * C);
    CHECK(same_bits(alone.out,
                    std::vector<float>(y.out.begin() + long(b * T * C), y.out.begin() + long((b + 1) * T * C))));
    CHECK(compare(std::vector<float>(from, from + long(T * 3 * C)),
                  std::vector<double>(alone.dqkv.begin(), alone.dqkv.end()), stored(kFp32)));
  }
}

TEST_CASE("no query sees a later position", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    const size_t T = 45, changed = 20;  // within a block of queries
    AttentionInputs x({1, T, 2, 4, false, 0.5}, N::params, N::length_scale);
    auto before = by_kernel<N>(x);
    for (size_t i = changed * 3 * x.C; i < x.qkv.size(); i++) x.qkv[i] += 7;
    for (size_t i = 0; i < changed * x.C; i++) x.dout[i] = 0;
    auto after = by_kernel<N>(x);
    CHECK(std::equal(after.out.begin(), after.out.begin() + changed * x.C, before.out.begin()));
    CHECK_FALSE(std::equal(after.out.begin() + changed * x.C, after.out.end(), before.out.begin() + changed * x.C));

    for (double& d : x.dout) d = 0;  // a loss of one early query alone: later positions have no gradient
    for (size_t c = 0; c < x.C; c++) x.dout[changed * x.C + c] = 1;
    auto dqkv = by_kernel<N>(x).dqkv;
    for (size_t i = (changed + 1) * 3 * x.C; i < dqkv.size(); i++) REQUIRE(dqkv[i] == 0);
    CHECK(std::any_of(dqkv.begin(), dqkv.end(), [](float d) { return d != 0; }));
  });
}

TEST_CASE("attention shows a NaN to the queries that see it", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    AttentionInputs x({1, 9, 1, 4}, N::params, N::length_scale);
    x.qkv[4 * 3 * x.C + x.C] = kNaN;  // in the key of position 4
    auto out = by_kernel<N>(x).out;
    for (size_t t = 4; t < 9; t++) CHECK(std::isnan(out[t * x.C]));
  });
}

TEST_CASE("softmax attention to equal keys is the mean of the values", "[core][attention]") {
  AttentionInputs x({1, 35, 1, 3}, 0);
  for (size_t t = 0; t < 35; t++)
    for (size_t c = 0; c < 3; c++) x.qkv[t * 9 + 3 + c] = 1;
  auto out = by_kernel<Softmax>(x).out;
  for (size_t t = 0; t < 35; t++) {
    double mean = 0;
    for (size_t j = 0; j <= t; j++) mean += x.qkv[j * 9 + 6] / double(t + 1);
    CHECK(out[t * 3] == Approx(mean).margin(1e-6 + kStoring));
  }
}

TEST_CASE("attention over a long sequence agrees with the reference", backend::kOnHost ? "[full][attention]" : "[.]") {
  for_every_normalizer([]<class N>(const std::string& name) {
    if (name != "sinmax_signed" && name != "cosmax" && name != "sirenmax")  // ill-conditioned somewhere
      check_against_reference<N>({1, 333, 2, 13, true, 0.5});
  });
}
