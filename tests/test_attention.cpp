// The attention kernel of every normalizer against the reference, and the reference against central differences.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/attention.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"
#include "tests/every_normalizer.h"

namespace {

// fp32 in the scores (sums over HS), the normalizer, and two more sums; times the condition of the normalizer.
constexpr Tolerance kAttention = {2e-6, 6e-6};
// The gradients of the learned scalars: sums over all rows whose terms cancel.
constexpr Tolerance kScalars = {1e-5, 1e-5};
// Beyond, the comparison would say nothing.
constexpr double kWorstCondition = 500;

// Head sizes that kernels treat differently: odd ones, and on CUDA those that have tiles.
std::vector<size_t> head_sizes() {
  return backend::kOnHost ? std::vector<size_t>{1, 3, 8, 13, 64, 80} : std::vector<size_t>{1, 5, 13, 32, 64, 128};
}
// T HS of a head; the emulator would take minutes for larger ones, of which test_cuda_backend.cpp has some.
constexpr size_t kLargestHead = backend::kOnHost ? 1 << 30 : 65 * 64;

struct Shape {
  size_t B, T, NH, HS;
  bool alibi = false;
  double mean = 0;  // of q, k and v: scores of both signs at 0, mostly positive ones at 0.5
};

std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << "B " << s.B << ", T " << s.T << ", NH " << s.NH << ", HS " << s.HS << (s.alibi ? ", ALiBi" : "");
}

// What attention reads, and what the gradients of the learned scalars hold before.
struct Inputs {
  size_t B, T, C, NH;
  std::vector<double> qkv, theta, slopes, dout, dtheta;

  Inputs(const Shape& s, int params)
      : B(s.B),
        T(s.T),
        C(s.NH * s.HS),
        NH(s.NH),
        qkv(random_stored("qkv", B * T * 3 * C, s.mean == 0 ? 1 : 0.5, s.mean)),
        theta(random_vector("theta", size_t(params) * NH, 0.1, 0.5)),
        dout(random_stored("dout", B * T * C)),
        dtheta(random_vector("dtheta", size_t(params) * NH)) {
    if (!s.alibi) return;
    for (size_t h = 1; h <= NH; h++) slopes.push_back(std::exp2(-8.0 * double(h) / double(NH)));
  }
};

struct Results {
  std::vector<double> out, dqkv, dtheta;
};

// The kernel's results; behind each of the first three lies a guard that must stay as it is.
struct KernelResults {
  std::vector<float> out, rows, dqkv, dtheta;
};

template <class N>
Results by_reference(const Inputs& x) {
  Results y{std::vector<double>(x.B * x.T * x.C), std::vector<double>(x.qkv.size()), x.dtheta};
  const double* slopes = x.slopes.empty() ? nullptr : x.slopes.data();
  reference::attention_forward<N>(y.out.data(), x.qkv.data(), x.theta.data(), slopes, x.B, x.T, x.C, x.NH);
  reference::attention_backward<N>(y.dqkv.data(), y.dtheta.data(), x.dout.data(), x.qkv.data(), x.theta.data(), slopes,
                                   x.B, x.T, x.C, x.NH);
  return y;
}

constexpr size_t kGuard = 16;
constexpr float kGuardValue = -12288;  // bf16 holds it

template <class T>
DeviceVector<T> guarded(size_t n) {
  auto x = device_nan<T>(n);
  x.resize(n + kGuard, round_to<T>(kGuardValue));
  return x;
}

template <class T>
std::vector<float> without_guard(const DeviceVector<T>& guarded) {
  auto x = host(guarded);
  for (size_t i = x.size() - kGuard; i < x.size(); i++) REQUIRE(x[i] == kGuardValue);
  x.resize(x.size() - kGuard);
  return x;
}

// The backward runs `times` times.
template <class N>
KernelResults by_kernel(const Inputs& x, int times = 1) {
  auto out = guarded<S>(x.B * x.T * x.C), dqkv = guarded<S>(x.qkv.size());
  auto rows = guarded<float>(backend::attention_row_floats(kRowWords<N>, x.B, x.T, x.NH));
  auto qkv = device<S>(x.qkv), dout = device<S>(x.dout);
  auto theta = device<float>(x.theta), slopes = device<float>(x.slopes), dtheta = device<float>(x.dtheta);
  backend::attention_forward<N>(out.data(), rows.data(), qkv.data(), data_or_null(theta), data_or_null(slopes), x.B,
                                x.T, x.C, x.NH);
  for (int i = 0; i < times; i++)
    backend::attention_backward<N>(dqkv.data(), dtheta.data(), dout.data(), out.data(), rows.data(), qkv.data(),
                                   data_or_null(theta), data_or_null(slopes), x.B, x.T, x.C, x.NH);
  return {without_guard(out), without_guard(rows), without_guard(dqkv), host(dtheta)};
}

// By how much the normalizer enlarges relative errors, at least 1: of the weights by sum |a|, which is sum |phi| / |S|
// for the ratio forms; of its gradient by the largest d dz_j / d dot, because the kernel knows dot = <dout, out> to 24
// bits.
template <class N>
double condition(const Inputs& x) {
  double worst = 1;
  std::vector<double> z(x.T), a(x.T), dz(x.T);
  for (size_t b = 0; b < x.B; b++)
    for (size_t h = 0; h < x.NH; h++)
      for (size_t t = 0; t < x.T; t++) {
        reference::attention_scores(z.data(), x.qkv.data() + b * x.T * 3 * x.C, x.slopes.empty() ? 0 : x.slopes[h], t,
                                    h, x.C, x.C / x.NH);
        auto theta = reference::theta_of_head<N>(x.theta.data(), h, x.NH);
        auto row = reference::normalize<N>(a.data(), z.data(), theta.data(), t + 1);
        auto back = N::back_begin(row, 1.0);
        std::fill(dz.begin(), dz.end(), 0.0);
        for_each_pass<N::back_passes>([&](auto pass) {
          for (size_t j = 0; j <= t; j++) dz[j] = N::back_add(row, back, z[j], double(j), dz[j], pass);
        });
        double sum = 0;
        for (size_t j = 0; j <= t; j++) {
          sum += std::fabs(a[j]);
          worst = std::max(worst, std::fabs(dz[j]));
        }
        worst = std::max(worst, sum);
      }
  return worst;
}

void check_results(const KernelResults& got, const Results& expected, double condition) {
  CHECK(compare(got.out, expected.out, kAttention * condition));
  CHECK(compare(got.dqkv, expected.dqkv, kAttention * condition));
  CHECK(compare(got.dtheta, expected.dtheta, kScalars * condition));
}

template <class N>
void check_against_reference(const Shape& shape) {
  INFO(shape);
  Inputs x(shape, N::params);
  double worst = condition<N>(x);
  CAPTURE(worst);
  REQUIRE(worst <= kWorstCondition);
  check_results(by_kernel<N>(x), by_reference<N>(x), worst);
}

// The losses are sums of out * dout.
template <class N>
void check_differences(const Shape& shape) {
  INFO(shape);
  Inputs x(shape, N::params);
  x.dtheta.assign(x.dtheta.size(), 0);
  Results y = by_reference<N>(x);
  auto loss = [&] {
    std::vector<double> out(y.out.size());
    reference::attention_forward<N>(out.data(), x.qkv.data(), x.theta.data(),
                                    x.slopes.empty() ? nullptr : x.slopes.data(), x.B, x.T, x.C, x.NH);
    return inner_product(out, x.dout);
  };
  const double step = 2e-5;  // small, because of the poles of the ratio forms: rounding is 1e-11
  Tolerance tolerance = Tolerance{1e-8, 1e-8} * condition<N>(x);
  CHECK(compare(y.dqkv, central_differences(loss, x.qkv, step), tolerance));
  CHECK(compare(y.dtheta, central_differences(loss, x.theta, step), tolerance));
}

template <class N>
void check_twice(const Shape& shape) {
  Inputs x(shape, N::params);
  x.dtheta.assign(x.dtheta.size(), 0);
  auto once = by_kernel<N>(x), twice = by_kernel<N>(x, 2);
  CHECK(same_bits(twice.dqkv, once.dqkv));
  CHECK(same_bits(twice.dtheta, times_two(once.dtheta)));
}

template <class N>
void check_order(const Shape& shape) {
  Inputs x(shape, N::params);
  CHECK(same_for_any_order([&] {
    auto y = by_kernel<N>(x);
    return joined({y.out, y.dqkv, y.dtheta});
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

TEST_CASE("attention backward twice doubles the gradients of the learned scalars only", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) { check_twice<N>({2, 37, 2, 5, true, 0.5}); });
}

TEST_CASE("attention gives the same bits in any order of work", "[core][attention]") {
  const size_t longest = backend::kOnHost ? 437 : 70;  // as for kLargestHead
  for_every_normalizer([&]<class N>(const std::string&) {
    check_order<N>({2, std::min(longest / 2, size_t(67)), 3, 8, false, 0.5});
  });
  for (size_t HS : head_sizes()) {  // one head and many blocks of queries: the CPU's backward adds up to 7 parts
    check_order<Softmax>({1, longest, 1, HS});
    check_order<SSMaxBias>({1, std::min(longest, size_t(203)), 2, HS, true});
    check_order<SASoftmax>({2, std::min(longest, size_t(131)), 1, HS});
    check_order<PreNorm<SinSoftmax>>({1, std::min(longest, size_t(333)), 3, HS});
  }
}

TEST_CASE("attention gives every head of a large batch what it gives the head alone", "[core][attention]") {
  const size_t B = 33, T = 130, C = 5;  // as many heads as make the backward work on whole heads
  Inputs all({B, T, 1, C}, 0);
  Inputs one({1, T, 1, C}, 0);
  if (backend::kOnHost) {
    REQUIRE(backend::attention_shared_floats(B, T, 1, C) == 0);
    REQUIRE(backend::attention_shared_floats(1, T, 1, C) > 0);
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
                  std::vector<double>(alone.dqkv.begin(), alone.dqkv.end()), kFp32));
  }
}

TEST_CASE("no query sees a later position", "[core][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    const size_t T = 45, changed = 20;  // within a block of queries
    Inputs x({1, T, 2, 4, false, 0.5}, N::params);
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
    Inputs x({1, 9, 1, 4}, N::params);
    x.qkv[4 * 3 * x.C + x.C] = kNaN;  // in the key of position 4
    auto out = by_kernel<N>(x).out;
    for (size_t t = 4; t < 9; t++) CHECK(std::isnan(out[t * x.C]));
  });
}

TEST_CASE("softmax attention to equal keys is the mean of the values", "[core][attention]") {
  Inputs x({1, 35, 1, 3}, 0);
  for (size_t t = 0; t < 35; t++)
    for (size_t c = 0; c < 3; c++) x.qkv[t * 9 + 3 + c] = 1;
  auto out = by_kernel<Softmax>(x).out;
  for (size_t t = 0; t < 35; t++) {
    double mean = 0;
    for (size_t j = 0; j <= t; j++) mean += x.qkv[j * 9 + 6] / double(t + 1);
    CHECK(out[t * 3] == Approx(mean).margin(1e-6));
  }
}

TEST_CASE("attention over a long sequence agrees with the reference", backend::kOnHost ? "[full][attention]" : "[.]") {
  for_every_normalizer([]<class N>(const std::string& name) {
    if (name != "sinmax_signed" && name != "cosmax" && name != "sirenmax")  // ill-conditioned somewhere
      check_against_reference<N>({1, 333, 2, 13, true, 0.5});
  });
}
