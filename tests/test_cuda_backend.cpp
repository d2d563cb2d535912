// What is CUDA's own: rounding to bf16, memory, tiled attention beside plain, vectors beside single numbers, and the same
// numbers from a GPU as from the CPU.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/runtime.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/embedding.h"
#include "kernels/rope.h"
#include "tests/any_order.h"
#include "tests/attention_fixture.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"
#include "tests/every_normalizer.h"

// --- rounding to bf16 ------------------------------------------------------------------------------------------------

namespace {

float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

std::vector<uint16_t> rounded_by_kernel(const DeviceVector<float>& x) {
  DeviceVector<bf16> rounded(x.size());
  cuda::round_parameters(rounded.data(), x.data(), x.size());
  wait_for_kernels();
  std::vector<uint16_t> bits;
  for (bf16 number : rounded) bits.push_back(number.bits);
  return bits;
}

}  // namespace

TEST_CASE("kernels round to bf16 to the nearest, ties to even, and keep NaN and infinity", "[core][cuda]") {
  const std::vector<std::pair<uint32_t, uint16_t>> cases = {
      {0x3f800000, 0x3f80},                                               // 1
      {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},   // ties: down, up; above a tie
      {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},   // the largest float, infinities
      {0x7f800001, 0x7fff}, {0xffc00000, 0x7fff},                         // NaN
      {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x807fffff, 0x8080}};  // zeros, and the largest subnormal number
  DeviceVector<float> x;
  for (const auto& [bits, expected] : cases) x.push_back(float_of(bits));
  const auto rounded = rounded_by_kernel(x);
  for (size_t i = 0; i < cases.size(); i++) {
    INFO("0x" << std::hex << cases[i].first);
    CHECK(rounded[i] == cases[i].second);
  }
}

TEST_CASE("kernels round to bf16 as the host does, in every length", "[core][cuda]") {
  const Philox stream{{3, 2026}};
  for (size_t n : {1, 5, 7, 8, 64, 20011}) {
    DeviceVector<float> x(n);
    for (size_t i = 0; i < n; i++) x[i] = float_of(stream(i)[0] & (i % 3 == 0 ? 0xffff8000u : 0xffffffffu));
    const auto rounded = rounded_by_kernel(x);
    size_t different = 0;
    for (size_t i = 0; i < n; i++) different += rounded[i] != round_to<bf16>(x[i]).bits;
    CHECK(different == 0);
  }
}

TEST_CASE("adamw writes the rounded copy of what it updates, and of nothing else", "[core][cuda][adamw]") {
  const size_t n = 5000;
  const std::vector<AdamWTensor> tensors = {{0, 5, 0}, {16, 7, 0.5f}, {32, 4000, 0.1f}};
  const AdamW step = {0.01f, 0.9f, 0.95f, 0.1f, 0.05f, 1};
  const auto start = device<float>(random_vector("param", n));
  auto param = start, grad = device<float>(random_vector("grad", n)), alone = start, grad_alone = grad;
  DeviceVector<float> m(n), v(n), m_alone(n), v_alone(n);
  DeviceVector<bf16> copy(n, bf16{0x1234});
  cuda::adamw_update(param.data(), grad.data(), m.data(), v.data(), tensors, step, copy.data());
  cuda::adamw_update(alone.data(), grad_alone.data(), m_alone.data(), v_alone.data(), tensors, step);
  CHECK(same_bits(host(param), host(alone)));
  CHECK_FALSE(same_bits(host(param), host(start)));
  size_t wrong = 0;
  for (size_t i = 0; i < n; i++) {
    const bool listed = std::any_of(tensors.begin(), tensors.end(), [&](const AdamWTensor& tensor) {
      return i >= tensor.offset && i < tensor.offset + tensor.size;
    });
    wrong += copy[i].bits != (listed ? round_to<bf16>(param[i]).bits : 0x1234);
  }
  CHECK(wrong == 0);
}

// --- memory ----------------------------------------------------------------------------------------------------------

TEST_CASE("memory of the GPU is zero, moves, and comes back as it was written", "[core][cuda]") {
  CHECK(cuda::Memory().data() == nullptr);
  CHECK(cuda::Memory(0).size() == 0);
  cuda::Memory memory(1000);
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % 256 == 0);
  std::vector<float> room;
  auto content = [&] {
    const float* x = cuda::to_host(room, memory.data(), memory.size());
    return std::vector<float>(x, x + memory.size());
  };
  CHECK(content() == std::vector<float>(1000));
  const auto x = to_float(random_vector("x", 1000)), y = to_float(random_vector("y", 300));
  memory.fill([&](float* to) { std::copy(x.begin(), x.end(), to); });
  CHECK(same_bits(content(), x));

  const float* where = memory.data();
  cuda::Memory moved = std::move(memory);
  memory = std::move(moved);
  CHECK(memory.data() == where);
  CHECK(same_bits(content(), x));

  cuda::overwrite(memory.data() + 100, y.data(), y.size());
  auto expected = x;
  std::copy(y.begin(), y.end(), expected.begin() + 100);
  CHECK(same_bits(content(), expected));

  const auto stored = device<bf16>(x);
  const float* widened = cuda::to_host(room, stored.data(), stored.size());
  CHECK(same_bits({widened, widened + 1000}, host(stored)));

  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
  const int32_t* found = cuda::to_kernels(reinterpret_cast<int32_t*>(memory.data()), tokens.data(), tokens.size());
  std::vector<int32_t> back(5);
  cuda::copy_to_host(back.data(), found, sizeof(int32_t) * 5);
  CHECK(back == tokens);
}

TEST_CASE("scratch memory of the GPU grows and is kept", "[core][cuda]") {
  cuda::reserve_scratch(0, 1000);
  float* reserved = cuda::shared_scratch(10);
  CHECK(reinterpret_cast<uintptr_t>(reserved) % 256 == 0);
  CHECK(cuda::shared_scratch(1000) == reserved);
  const size_t more = 1 << 22;
  cuda::fill_zero(cuda::shared_scratch(more), more * sizeof(float));  // within what it promised
  cuda::synchronize();
}

// --- attention -------------------------------------------------------------------------------------------------------

namespace {

// Times the condition of the normalizer. In fp32 only the order of sums differs; in bf16 the tiled kernels round weights
// and dz, as operands of a second product.
constexpr Tolerance kTiles = kStoredExactly ? Tolerance{2e-6, 6e-6} : Tolerance{0.01, 0.03};
// Of the gradients of what is learned: sums over all rows whose terms cancel, in these shapes to as little as a tenth of
// their size; the two kernels, each off by its own rounding, differ by 2e-5 at most.
constexpr Tolerance kTileScalars = kStoredExactly ? Tolerance{4e-5, 4e-5} : Tolerance{1e-4, 1e-4};

struct PlainAttention {
  template <class N, class... Arguments>
  static void forward(Arguments... arguments) {
    cuda::plain::attention_forward<N>(arguments...);
  }
  template <class N, class... Arguments>
  static void backward(Arguments... arguments) {
    cuda::plain::attention_backward<N>(arguments...);
  }
};

template <class N>
void check_tiles(const AttentionShape& shape) {
  INFO(shape);
  const AttentionInputs x(shape, N::params, N::length_scale);
  const auto plain = by_kernel<N, PlainAttention>(x), tiled = by_kernel<N>(x);
  const double worst = condition<N>(x);
  CHECK(compare(tiled.out, plain.out, kTiles * worst));
  CHECK(compare(tiled.dqkv, plain.dqkv, kTiles * worst));
  CHECK(compare(tiled.dtheta, plain.dtheta, kTileScalars * worst));
  CHECK(compare(tiled.dlength_scale, plain.dlength_scale, kTileScalars * worst));
}

}  // namespace

TEST_CASE("tiled attention agrees with plain attention for every normalizer", "[core][cuda][attention]") {
  for_every_normalizer([]<class N>(const std::string&) {
    check_tiles<N>({1, 37, 2, 32, true, 0.5});
    check_tiles<N>({1, 37, 1, 64, false, 0.5});
  });
}

TEST_CASE("tiled attention agrees with plain attention in every shape", "[core][cuda][attention]") {
  for (size_t T : {1, 15, 16, 17, 64, 65, 100}) {
    check_tiles<SSMaxBias>({2, T, 2, 32, true});
    check_tiles<LearnedScale>({2, T, 2, 32, false});
    check_tiles<SASoftmax>({1, T, 1, 32, false});
  }
  for (size_t T : {1, 33, 70}) {
    check_tiles<Softmax>({1, T, 2, 64, true});
    check_tiles<PreNorm<SinSoftmax>>({1, T, 1, 64, false});
    check_tiles<Softmax>({1, T, 1, 128, false});
    check_tiles<SASoftmaxRange>({1, T, 1, 128, true});
  }
}

TEST_CASE("a head size without tiles takes the plain kernels", "[core][cuda][attention]") {
  const AttentionInputs x({2, 37, 2, 5, true}, SSMax::params);
  const auto plain = by_kernel<SSMax, PlainAttention>(x), chosen = by_kernel<SSMax>(x);
  CHECK(same_bits(joined({plain.out, plain.rows, plain.dqkv, plain.dtheta}),
                  joined({chosen.out, chosen.rows, chosen.dqkv, chosen.dtheta})));
}

// --- embedding -------------------------------------------------------------------------------------------------------

TEST_CASE("the embedding's gradient adds up tokens that repeat, in any order of work the same", "[core][cuda]") {
  const size_t B = 3, T = 700, C = 24, V = 50;
  for (size_t kinds : {size_t(1), size_t(2), V}) {
    INFO(kinds << " different tokens");
    DeviceVector<int32_t> tokens(B * T);
    for (size_t i = 0; i < B * T; i++) tokens[i] = int32_t(kinds == 2 ? i % 3 == 0 : i * 7919 % kinds);
    const auto dout = random_stored("dout", B * T * C), before = random_vector("dwte", V * C);
    auto expected = before;
    reference::embedding_backward(expected.data(), static_cast<double*>(nullptr), dout.data(), tokens.data(), B, T, C);
    auto run = [&] {
      auto dwte = device<float>(before);
      const auto from = device<S>(dout);
      cuda::embedding_backward(dwte.data(), nullptr, from.data(), tokens.data(), B, T, C);
      return host(dwte);
    };
    CHECK(compare(run(), expected, kFp32 * 2));  // sums of 2100
    CHECK(same_for_any_order(run));
  }
}

// --- vectors and single numbers --------------------------------------------------------------------------------------

namespace {

// The same numbers once where vectors of 16 bytes are aligned, and once where they are not.
template <class T>
struct Placed {
  DeviceVector<T> memory;
  size_t n, shift;

  template <class Number>
  Placed(const std::vector<Number>& x, size_t shift) : memory(x.size() + shift), n(x.size()), shift(shift) {
    const auto from = device<T>(x);
    std::copy(from.begin(), from.end(), memory.begin() + long(shift));
  }
  T* data() { return memory.data() + shift; }
  std::vector<float> result() const {
    const auto all = host(memory);
    return {all.begin() + long(shift), all.end()};
  }
};

constexpr Tolerance kPlaced = {1e-6, 4e-6};  // sums in another order

}  // namespace

TEST_CASE("kernels give the same wherever their arrays begin, and for odd and even widths", "[core][cuda]") {
  const size_t BT = 6;
  for (size_t C : {5, 7, 8, 64}) {
    INFO("C " << C);
    const auto x = random_stored("x", BT * C), y = random_stored("y", BT * C), dy = random_stored("dy", BT * C);
    const auto gain = random_vector("gain", C), bias = random_vector("bias", C);
    DeviceVector<int32_t> tokens = {0, 3, 1, 3, 4, 0};

    // out and gradients of every kernel that loads vectors
    auto run = [&](size_t shift) {
      std::vector<std::vector<float>> results;
      Placed<S> inp(x, shift), other(y, shift), dout(dy, shift), out(y, shift), sum(y, shift), dinp(dy, shift);
      Placed<float> weight(gain, shift), shifted(bias, shift), dweight(gain, shift), dbias(bias, shift);
      DeviceVector<float> mean(BT), rstd(BT), losses(BT);
      auto keep = [&](const auto&... arrays) { (results.push_back(arrays.result()), ...); };

      cuda::gelu_forward(out.data(), inp.data(), BT * C);
      cuda::gelu_backward(dinp.data(), dout.data(), inp.data(), BT * C);
      keep(out, dinp);
      cuda::residual_layernorm_forward(out.data(), mean.data(), rstd.data(), sum.data(), inp.data(), other.data(),
                                       weight.data(), shifted.data(), BT, C);
      cuda::layernorm_backward(dinp.data(), dweight.data(), dbias.data(), dinp.data(), dout.data(), sum.data(),
                               weight.data(), mean.data(), rstd.data(), BT, C);
      keep(out, sum, dinp, dweight, dbias);
      Placed<float> dwte(y, shift), dwpe(x, shift);
      cuda::embedding_forward(out.data(), tokens.data(), inp.data(), other.data(), 2, 3, C);
      cuda::embedding_backward(dwte.data(), dwpe.data(), dout.data(), tokens.data(), 2, 3, C);
      keep(out, dwte, dwpe);
      cuda::cross_entropy_forward_backward(losses.data(), out.data(), tokens.data(), 0.5f, BT, C);
      keep(out);
      results.push_back(host(losses));
      return results;
    };
    const auto aligned = run(0), shifted = run(1);
    REQUIRE(aligned.size() == shifted.size());
    for (size_t i = 0; i < aligned.size(); i++) {
      INFO("array " << i);
      CHECK(compare(shifted[i], aligned[i], stored(kPlaced)));
    }
  }
}

// --- the CPU ---------------------------------------------------------------------------------------------------------

TEST_CASE("layernorm and linear layers give on a GPU what they give on the CPU", "[core][cuda]") {
  const size_t BT = 37, C = 67, OC = 29;
  const auto x = random_stored("x", BT * C, 2, 0.5), dy = random_stored("dy", BT * C), w = random_stored("w", C * OC);
  const auto gain = to_float(random_vector("gain", C)), bias = to_float(random_vector("bias", C));

  const auto inp = to_float(x), dout = to_float(dy), weight = to_float(w);
  std::vector<float> out(BT * C), mean(BT), rstd(BT), dinp(BT * C), dgain(C), dbias(C), product(BT * OC);
  cpu::layernorm_forward(out.data(), mean.data(), rstd.data(), inp.data(), gain.data(), bias.data(), BT, C);
  cpu::layernorm_backward(dinp.data(), dgain.data(), dbias.data(), nullptr, dout.data(), inp.data(), gain.data(),
                          mean.data(), rstd.data(), BT, C);
  cpu::matmul_forward<fp32>(product.data(), inp.data(), weight.data(), bias.data(), BT, C, OC);

  const auto inp_d = device<S>(x), dout_d = device<S>(dy), weight_d = device<S>(w);
  const auto gain_d = device<float>(gain), bias_d = device<float>(bias);
  auto out_d = device_nan<S>(BT * C), dinp_d = device_nan<S>(BT * C), product_d = device_nan<S>(BT * OC);
  DeviceVector<float> mean_d(BT), rstd_d(BT), dgain_d(C), dbias_d(C);
  cuda::layernorm_forward(out_d.data(), mean_d.data(), rstd_d.data(), inp_d.data(), gain_d.data(), bias_d.data(), BT,
                          C);
  cuda::layernorm_backward(dinp_d.data(), dgain_d.data(), dbias_d.data(), static_cast<const S*>(nullptr), dout_d.data(),
                           inp_d.data(), gain_d.data(), mean_d.data(), rstd_d.data(), BT, C);
  cuda::matmul_forward<P>(product_d.data(), inp_d.data(), weight_d.data(), bias_d.data(), BT, C, OC);

  const Tolerance tolerance = kFp32 * 3;  // rounding on both sides
  CHECK(compare(host(out_d), out, stored(tolerance)));
  CHECK(compare(host(mean_d), mean, tolerance));
  CHECK(compare(host(rstd_d), rstd, tolerance));
  CHECK(compare(host(dinp_d), dinp, stored(tolerance)));
  CHECK(compare(host(dgain_d), dgain, tolerance));
  CHECK(compare(host(dbias_d), dbias, tolerance));
  CHECK(compare(host(product_d), product, stored(tolerance)));
}
