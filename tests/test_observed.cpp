// The observed forward and backward: the kernels of the model in their order, the same bits, every array that they write;
// and a number that is not finite, found in any of them under its name.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "model/observed.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"
#include "tests/model_fixture.h"
#include "train/number_search.h"

namespace {

using N = named::ssmax_bias;  // learns two scalars, which share one array
constexpr size_t kB = 2, kT = 5;

struct ObservedGpt : Gpt {
  Batch batch;
  float scale = 1 / float(kB * kT);

  explicit ObservedGpt(Position position)
      : Gpt(normalizer_named("ssmax_bias"), shape(position), kB, kT), batch(random_batch(kB, kT, config.V, 3)) {
    round_matrices(rounded, parameters);
  }

  void observe(const KernelObserver& observer) {
    observe_forward(observer, scale);
    observed_backward<N, P>(observer, config, p, dp, a, kB, kT);
    wait_for_kernels();
  }
  void observe_forward(const KernelObserver& observer, float scale) {
    observed_forward<N, P>(observer, config, p, a, batch.tokens.data(), batch.targets.data(), kB, kT, scale);
    wait_for_kernels();
  }

  std::vector<NamedArray> arrays() const {
    auto arrays = activation_arrays<S>(config, normalizer.row_words, kB, kT, kB, kT, true, memory.data());
    for (const NamedArray& gradient : parameter_arrays(tensors, "", ".grad", gradients.data()))
      arrays.push_back(gradient);
    return arrays;
  }

 private:
  static Config shape(Position position) {
    Config config;
    config.L = 2;
    config.NH = 2;
    config.C = 8;
    config.T = kT;
    config.V = 11;
    config.position = position;
    return config;
  }
};

void write_number(const NamedArray& array, size_t index, float x) {
  auto write = [&](auto* start) {
    using Number = std::remove_pointer_t<decltype(start)>;
    const Number number = round_to<Number>(x);
    if constexpr (backend::kOnHost)
      start[index] = number;
    else
      cuda::copy_to_device(start + index, &number, sizeof number);
  };
  void* start = const_cast<void*>(array.start);
  array.stored ? write(static_cast<S*>(start)) : write(static_cast<float*>(start));
}

}  // namespace

TEST_CASE("the observer hears of the model's kernels in their order", "[core][observed]") {
  ObservedGpt gpt(Position::kRope);
  std::vector<std::string> kernels, expected = {"embedding_forward"};
  const KernelObserver observer = [&](const char* kernel, auto, size_t) { kernels.push_back(kernel); };
  for (int l = 0; l < 2; l++)
    for (const char* kernel : {"residual_layernorm", "matmul", "rope", "attention", "matmul", "residual_layernorm",
                               "matmul", "gelu", "matmul"})
      expected.push_back(std::string(kernel) + "_forward");
  for (const char* kernel : {"residual_layernorm_forward", "matmul_forward", "cross_entropy_forward_backward",
                             "matmul_backward", "layernorm_backward"})
    expected.push_back(kernel);
  for (int l = 0; l < 2; l++)
    for (const char* kernel :
         {"matmul", "gelu", "matmul", "layernorm", "matmul", "attention", "rope", "matmul", "layernorm"})
      expected.push_back(std::string(kernel) + "_backward");
  expected.push_back("embedding_backward");
  gpt.observe(observer);
  CHECK(kernels == expected);

  kernels.clear();
  gpt.observe_forward(observer, 0);
  CHECK(kernels.back() == "cross_entropy_forward");
}

TEST_CASE("what is observed is what trains, bit for bit", "[core][observed]") {
  for (Position position : kEveryPosition) {
    ObservedGpt observed(position), plain(position);
    observed.observe([](auto...) {});
    plain.add_gradient(plain.batch);
    CHECK(same_bits(read(observed.a.losses, kB * kT), read(plain.a.losses, kB * kT)));
    CHECK(same_bits(copy_of(observed.gradients.data(), observed.gradients.size()),
                    copy_of(plain.gradients.data(), plain.gradients.size())));
  }
}

TEST_CASE("some kernel is known to write each array but the constants", "[core][observed]") {
  for (Position position : kEveryPosition) {
    ObservedGpt gpt(position);
    std::set<const void*> written;
    gpt.observe([&](const char*, std::span<const void* const> arguments, size_t n) {
      for (const void* start : arguments.first(n)) written.insert(start);
    });
    for (const NamedArray& array : gpt.arrays()) {
      INFO(array.name);
      CHECK((written.count(array.argument) == 1) == (array.name != "rope" && array.name != "slopes"));
    }
  }
}

TEST_CASE("a number that is not finite is found in whatever a kernel writes, and named", "[core][observed]") {
  const float values[] = {kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (Position position : {Position::kLearned, Position::kRope}) {
    ObservedGpt gpt(position);
    const auto known = gpt.arrays();
    OutputSearch<S> search(known);
    int products = 0, poisoned = 0;  // products: of the layers, in this direction; four for each
    bool backward = false;
    gpt.observe([&](const char* kernel, std::span<const void* const> arguments, size_t written) {
      const std::string name = kernel;
      wait_for_kernels();
      INFO(name);
      REQUIRE_FALSE(search(arguments, written));
      if (name == "cross_entropy_forward_backward") {
        backward = true;
        products = -1;  // the head's is the first
        search = OutputSearch<S>(known);
      }
      products += name == "matmul_forward" || name == "matmul_backward";
      for (const NamedArray& array : known) {
        const auto outputs = arguments.first(written);
        if (std::find(outputs.begin(), outputs.end(), array.argument) == outputs.end()) continue;
        INFO(array.name);
        std::optional<int> layer = layer_of(array.name);
        if (array.reused && !backward) layer = (products - 1) / 4;
        if (array.reused && backward && products > 0) layer = 1 - (products - 1) / 4;
        for (size_t i : {0, 1, 2}) {
          const size_t index = i * (array.size() - 1) / 2;
          const float before = number_at<S>(array, index);
          write_number(array, index, values[i]);
          const auto found = search(arguments, written);
          REQUIRE(found);
          CHECK(found->array.name == array.name);
          CHECK(found->index == index);
          CHECK(same_number(found->value, values[i]));
          CHECK(found->layer == layer);
          write_number(array, index, before);
          poisoned++;
        }
      }
    });
    CHECK(poisoned > 3 * 60);
  }
}

TEST_CASE("the normalizer's rows may hold infinities", "[core][observed]") {
  ObservedGpt gpt(Position::kLearned);
  OutputSearch<S> search(gpt.arrays());
  int seen = 0;
  gpt.observe_forward(
      [&](const char* kernel, std::span<const void* const> arguments, size_t written) {
        if (std::string(kernel) != "attention_forward") return;
        wait_for_kernels();
        const float infinity = std::numeric_limits<float>::infinity();
        backend::overwrite(gpt.a.h[seen++].rows, &infinity, 1);
        CHECK_FALSE(search(arguments, written));
      },
      gpt.scale);
  CHECK(seen == 2);
}
