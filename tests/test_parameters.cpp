// The parameters of a model: how many there are and their initial values; and the memory they lie in.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "model/buffer.h"
#include "model/parameters.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/model_fixture.h"

namespace {

std::map<std::string, std::vector<float>> initial_values(const Config& config, unsigned long long seed = 1) {
  Buffer block(parameter_floats(config));
  init_parameters(config, block.data(), seed, initial_scale(config.T, config.length_scale));
  std::map<std::string, std::vector<float>> values;
  for (const Tensor& tensor : parameter_tensors(config))
    values[tensor.name] = copy_of(block.data() + tensor.offset, tensor.size);
  return values;
}

}  // namespace

TEST_CASE("model: normalizer, head and positions change no other tensor's initial bits", "[core][model]") {
  const auto base = initial_values(small_config());
  for (const NormalizerEntry& normalizer : every_normalizer())
    for (Position position : kEveryPosition)
      for (bool tied : {true, false}) {
        Config config = with_normalizer(small_config(), normalizer);
        config.position = position;
        config.tied = tied;
        const auto values = initial_values(config);
        size_t own =
            (position == Position::kLearned) + !tied + size_t(config.L * normalizer.params) + normalizer.length_scale;
        CHECK(values.size() == base.size() + own);
        for (const auto& [name, x] : base) {
          INFO(normalizer.name << ", " << position_name(position) << ": " << name);
          CHECK(same_bits(values.at(name), x));
        }
      }
}

TEST_CASE("model: initial values are the same bits in any order of work", "[core][model]") {
  const Config config = with_normalizer(small_config(), normalizer_named("ssmax_bias"));
  CHECK(same_for_any_order([&] {
    std::vector<float> all;
    for (const auto& [name, x] : initial_values(config)) all.insert(all.end(), x.begin(), x.end());
    return all;
  }));
}

TEST_CASE("model: initial values have their mean and standard deviation", "[core][model]") {
  Config config = with_normalizer(small_config(), normalizer_named("ssmax_bias"));
  config.position = Position::kLearned;
  config.tied = false;
  for (const auto& [name, x] : initial_values(config)) {
    INFO(name);
    const bool residual = name.ends_with("c_proj.weight"), gain = name.find("ln_") != name.npos;
    const double count = double(x.size());
    if (name.ends_with("normalizer.scale")) {
      for (float value : x) CHECK(value == float(initial_scale(config.T, config.length_scale)));
    } else if (name.ends_with(".bias")) {
      for (float value : x) CHECK(value == 0);
    } else if (gain) {
      for (float value : x) CHECK(value == 1);
    } else {
      const double sd = residual ? 0.02 / std::sqrt(2.0 * config.L) : 0.02;
      double sum = 0, squares = 0;
      for (float value : x) sum += value, squares += double(value) * value;
      CHECK(std::fabs(sum / count) < 4 * sd / std::sqrt(count));  // 4 standard errors each
      CHECK(std::fabs(std::sqrt(squares / count) / sd - 1) < 4 / std::sqrt(2 * count));
    }
  }
  const auto one = initial_values(config, 1), two = initial_values(config, 2);
  CHECK(one.at("wte.weight") != two.at("wte.weight"));
  CHECK(one.at("wte.weight") != one.at("lm_head.weight"));
  CHECK(one.at("h.0.attn.c_attn.weight") != one.at("h.1.attn.c_attn.weight"));
}

TEST_CASE("model: noise changes every initial number by its share, up or down as the seed says", "[core][model]") {
  Config config = with_normalizer(small_config(), normalizer_named("ssmax_bias"));
  const double noise = 1e-3;
  auto noisy = [&](double noise, unsigned long long seed) {
    Buffer block(parameter_floats(config));
    init_parameters(config, block.data(), 1, initial_scale(config.T, config.length_scale));
    perturb_parameters(config, block.data(), seed, noise);
    std::map<std::string, std::vector<float>> values;
    for (const Tensor& tensor : parameter_tensors(config))
      values[tensor.name] = copy_of(block.data() + tensor.offset, tensor.size);
    return values;
  };
  const auto plain = initial_values(config), changed = noisy(noise, 1), other = noisy(noise, 1ull << 32 | 1);
  size_t count = 0, ups = 0, as_other = 0;
  for (const auto& [name, x] : plain) {
    INFO(name);
    CHECK(same_bits(noisy(0, 1).at(name), x));
    const std::vector<float>& y = changed.at(name);
    for (size_t i = 0; i < x.size(); i++) {
      const bool up = std::fabs(y[i]) > std::fabs(x[i]);
      REQUIRE(y[i] == float(x[i] * (1 + (up ? noise : -noise))));
      if (x[i] == 0) continue;
      count++, ups += up, as_other += y[i] == other.at(name)[i];
    }
  }
  const double three_errors = 1.5 * std::sqrt(double(count));  // of the number of heads in as many throws of a coin
  CHECK(std::fabs(double(ups) - count / 2.0) < three_errors);
  CHECK(std::fabs(double(as_other) - count / 2.0) < three_errors);  // the seed's high half counts
  CHECK(changed.at("h.0.attn.normalizer.scale") != plain.at("h.0.attn.normalizer.scale"));
  CHECK(changed.at("h.0.ln_1.weight") != changed.at("h.1.ln_1.weight"));

  // Another normalizer changes no other tensor's noise, and no order of work changes any.
  config = small_config();
  for (const auto& [name, y] : noisy(noise, 1)) CHECK(same_bits(y, changed.at(name)));
  CHECK(same_for_any_order([&] { return noisy(noise, 1).at("wte.weight"); }));
}

TEST_CASE("model: learned_scale starts as softmax and has no weight decay", "[core][model]") {
  const Config config = with_normalizer(small_config(), normalizer_named("learned_scale"));
  const auto values = initial_values(config);
  CHECK(values.at("normalizer.length_scale") == std::vector<float>(config.T, 1));
  for (const char* layer : {"h.0.", "h.1."}) {
    CHECK(values.at(std::string(layer) + "attn.normalizer.scale") == std::vector<float>(config.NH, 1));
    CHECK(values.at(std::string(layer) + "attn.normalizer.bias") == std::vector<float>(config.NH, 0));
  }
  for (const Tensor& tensor : parameter_tensors(config))
    if (tensor.name.find("normalizer.") != tensor.name.npos) CHECK_FALSE(tensor.decays());
}

TEST_CASE("model: the first scale of SSMax makes the mean temperature 1", "[core][model]") {
  for (int T : {2, 7, 256, 1024}) {
    double sum = 0;
    for (int n = 1; n <= T; n++) sum += initial_scale(T, false) * std::log(n);
    CHECK(sum / T == Approx(1).epsilon(1e-12));
  }
  CHECK(initial_scale(1, false) == 1);
}

TEST_CASE("model: the number of parameters follows the formula", "[core][model]") {
  Config gpt2;
  gpt2.L = gpt2.NH = 12;
  gpt2.C = 768;
  gpt2.T = 1024;
  gpt2.V = 50257;
  gpt2.position = Position::kLearned;
  CHECK(parameter_count(gpt2) == 124439808);  // the published GPT-2

  for (const NormalizerEntry& normalizer : every_normalizer())
    for (Position position : kEveryPosition)
      for (bool tied : {true, false}) {
        Config config = with_normalizer(odd_config(), normalizer);
        config.position = position;
        config.tied = tied;
        const size_t L = config.L, NH = config.NH, C = config.C, T = config.T, V = config.V;
        const size_t embeddings = V * C * (tied ? 1 : 2) + (position == Position::kLearned ? T * C : 0);
        CHECK(parameter_count(config) == embeddings + L * (12 * C * C + 13 * C + normalizer.params * NH) + 2 * C +
                                             (normalizer.length_scale ? T : 0));
        CHECK(parameter_floats(config) >= parameter_count(config));
      }
}

TEST_CASE("a buffer is zero, large or small", "[core][model]") {
  for (size_t floats : {size_t(0), size_t(5), size_t(3) << 20}) {  // the last on huge pages: 12 MiB
    const Buffer buffer(floats);
    CHECK(buffer.size() == floats);
    CHECK(std::all_of(buffer.data(), buffer.data() + floats, [](float x) { return x == 0; }));
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
  }
}
