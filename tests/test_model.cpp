// The whole model, for every normalizer: gradients, initial values, causality, determinism, memory.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/model_fixture.h"

namespace {

Position position_of(size_t i) { return kEveryPosition[i % 4]; }

std::vector<float> gradients_of(const Gpt& gpt) { return copy_of(gpt.gradients.data(), gpt.gradients.size()); }

// --- Differences -----------------------------------------------------------------------------------------------------

bool is_periodic(const std::string& name) {
  return name.find("sin") != name.npos || name.find("cos") != name.npos || name.ends_with("sirenmax");
}

// Random weights some times their initial size, gains and biases off their initial values. Queries and keys have a bias
// of 0.5, which puts the scores near HS 0.5^2 / sqrt(HS) = 0.7. The periodic forms get small weights, for a standard
// deviation near 0.2: so no sum of signed weights nearly vanishes and no key comes near a pole. The others get larger
// ones, for a standard deviation near 1.
void set_well_conditioned(Gpt& gpt) {
  const float factor = is_periodic(gpt.normalizer.name) ? 3 : 8;
  for (const Tensor& tensor : gpt.tensors) {
    float* x = gpt.parameter(tensor);
    const std::vector<double> noise = random_vector(tensor.name, tensor.size);
    const size_t queries_and_keys = tensor.name.ends_with("attn.c_attn.bias") ? 2 * size_t(gpt.config.C) : 0;
    for (size_t i = 0; i < tensor.size; i++)
      x[i] = tensor.decays() ? factor * x[i] : x[i] + 0.1f * float(noise[i]) + (i < queries_and_keys ? 0.5f : 0);
  }
}

// Whether the scores of a row are away from the places where this formula turns sharply.
bool well_conditioned(const std::string& name, std::vector<double> z) {
  const double n = double(z.size());
  const auto [least, most] = std::minmax_element(z.begin(), z.end());
  const bool uses_spread = name.starts_with("sa_") || name.starts_with("norm_");  // divide by something like it
  if (uses_spread && n > 1 && *most - *least < 0.1) return false;
  if (name == "sa_softmax" && n == 1 && std::fabs(*most) < 0.1) return false;  // its weight is 1 above 0, 0 below
  if (name.starts_with("norm_") && n > 1) {
    double sum = 0, squares = 0;
    for (double x : z) sum += x;
    for (double& x : z) x -= sum / n, squares += x * x;
    for (double& x : z) x /= std::sqrt(squares / (n - 1));
  }
  double signed_sum = 0, absolute_sum = 0, sinmax_sum = 0;
  for (double x : z) {
    signed_sum += std::sin(x);
    absolute_sum += std::fabs(std::sin(x));
    sinmax_sum += 1 + std::sin(10 * x);
  }
  if (name == "sinmax_signed" && std::fabs(signed_sum) < 0.3 * absolute_sum) return false;
  return !name.ends_with("sinmax") || sinmax_sum > 0.1 * n;
}

// The same for all rows of up to six keys, after a forward; longer rows weigh less.
bool well_conditioned(const Gpt& gpt, const Batch& batch) {
  const size_t C = gpt.config.C, HS = gpt.config.HS(), NH = gpt.config.NH;
  const std::vector<float> slopes = gpt.a.slopes ? read(gpt.a.slopes, NH) : std::vector<float>(NH);
  for (const LayerActivations<S>& h : gpt.a.h) {
    const std::vector<float> qkv = read(h.qkv, batch.B * batch.T * 3 * C);
    for (size_t b = 0; b < batch.B; b++)
      for (size_t head = 0; head < NH; head++)
        for (size_t t = 0; t < std::min(batch.T, size_t(6)); t++) {
          std::vector<double> z;
          for (size_t j = 0; j <= t; j++) {
            const float* q = qkv.data() + (b * batch.T + t) * 3 * C + head * HS;
            const float* k = qkv.data() + (b * batch.T + j) * 3 * C + head * HS + C;
            z.push_back(-double(slopes[head]) * double(t - j));
            for (size_t i = 0; i < HS; i++) z.back() += double(q[i]) * k[i] / std::sqrt(double(HS));
          }
          if (!well_conditioned(gpt.normalizer.name, z)) return false;
        }
  }
  return true;
}

Batch well_conditioned_batch(Gpt& gpt, size_t B, size_t T) {
  for (uint32_t seed = 1; seed < 10000; seed++) {
    Batch batch = random_batch(B, T, gpt.config.V, seed);
    gpt.loss(batch);
    if (well_conditioned(gpt, batch)) return batch;
  }
  throw std::runtime_error("no well-conditioned batch");
}

// d loss / d step along `direction`, by the central difference of 4th order.
double slope(Gpt& gpt, const Batch& batch, const std::vector<double>& direction, double step) {
  float* x = gpt.parameters.data();
  const std::vector<float> at = copy_of(x, gpt.parameters.size());
  double offset = 0;
  auto loss = [&] {
    for (size_t i = 0; i < at.size(); i++) x[i] = float(at[i] + offset * direction[i]);
    return gpt.loss(batch);
  };
  double result = central_difference(loss, offset, step);
  std::copy(at.begin(), at.end(), x);
  return result;
}

// Rounding of the mean loss, 5e-8 at most, which a difference divides by its step; and the error of the difference
// itself.
constexpr double kLossNoise = 5e-8, kDifferenceTolerance = 1e-3;

// The emulator of CUDA runs a model some hundred times slower than the CPU. There a test that takes minutes looks at less:
// one position for each normalizer, one direction of differences, one normalizer to learn. The golden values cover every
// pair, and the gradient of every tensor.
constexpr bool kEverything = backend::kOnHost;
// Differences of a loss in bf16 are differences of rounding.
constexpr const char* kDifferenceTags = kStoredExactly ? "[model]" : "[.]";

}  // namespace

TEST_CASE("model: differences of the loss along each tensor's gradient agree with the backward", kDifferenceTags) {
  const auto& all = every_normalizer();
  for (size_t n = 0; n < all.size(); n++) {
    Config config = odd_config();
    config.position = position_of(n);
    // ALiBi's differences span so much of a period that the sum of cosines vanishes in some row of every batch.
    if (all[n].name == "cosmax" && config.position == Position::kAlibi) config.position = Position::kRope;
    config.tied = n % 3 != 0;
    // A standardized score of three keys stays below 2 / sqrt(3), away from siren's pole at pi/2.
    if (all[n].name == "norm_sirenmax") config.T = 3;
    // Within a larger step another key becomes a row's minimum or maximum, or sin(10 z) is no polynomial any more.
    const bool short_step = all[n].name.starts_with("sa_") || all[n].name.ends_with("sinmax");
    const double step = short_step ? 1e-3 : 1e-2;
    INFO(all[n].name << ", " << position_name(config.position));
    Gpt gpt(all[n], config, 1, config.T);
    set_well_conditioned(gpt);
    const Batch batch = well_conditioned_batch(gpt, 1, config.T);
    gpt.add_gradient(batch);
    const std::vector<float> gradient = gradients_of(gpt);
    std::vector<double> direction(gradient.size());
    for (const Tensor& tensor : gpt.tensors) {
      if (!kEverything) continue;
      INFO(tensor.name);
      const double norm = gradient_norm(gpt.gradient(tensor), tensor.size);
      REQUIRE(norm > 0);
      std::fill(direction.begin(), direction.end(), 0);
      for (size_t i = tensor.offset; i < tensor.offset + tensor.size; i++) direction[i] = gradient[i] / norm;
      const double difference = slope(gpt, batch, direction, step);
      CHECK(std::fabs(difference - norm) < kDifferenceTolerance * norm + kLossNoise / step);
    }

    // All at once, in a random direction of length 1, in which every parameter moves little.
    const double length = std::sqrt(double(parameter_count(gpt.config))), long_step = 3 * step;
    double expected = 0;
    std::fill(direction.begin(), direction.end(), 0);
    for (const Tensor& tensor : gpt.tensors) {
      const std::vector<double> random = random_vector("direction " + tensor.name, tensor.size);
      for (size_t i = 0; i < tensor.size; i++) {
        direction[tensor.offset + i] = random[i] / length;
        expected += random[i] / length * gpt.gradient(tensor)[i];
      }
    }
    const double difference = slope(gpt, batch, direction, long_step);
    CHECK(std::fabs(difference - expected) < kDifferenceTolerance * std::fabs(expected) + kLossNoise / long_step);
  }
}

TEST_CASE("model: it learns one batch by heart", "[model]") {
  for (const char* name : {"softmax", "ssmax_bias", "sa_softmax", "sin2max_shifted"}) {
    if (!kEverything && std::string(name) != "ssmax_bias") continue;
    INFO(name);
    Config config = small_config();
    config.T = 16;
    config.V = 32;
    Gpt gpt(normalizer_named(name), config, 4, config.T);
    AdamWMemory adamw(gpt);
    const Batch batch = random_batch(4, config.T, config.V, 3);
    const int steps = kEverything ? 200 : 60;
    for (int step = 0; step < steps; step++) {
      gpt.add_gradient(batch);
      adamw.update(gpt, 1e-2, 0.0, 1.0);
    }
    CHECK(gpt.loss(batch) < (kEverything ? 0.1 : 1.0));  // from ln 32 = 3.5
  }
}

// --- Initial values --------------------------------------------------------------------------------------------------

TEST_CASE("model: the loss at initialization is near ln V", "[core][model]") {
  for (const NormalizerEntry& normalizer : every_normalizer())
    for (Position position : kEveryPosition)
      for (bool tied : {true, false}) {
        if (!kEverything && tied != (position == Position::kRope)) continue;
        INFO(normalizer.name << ", " << position_name(position) << (tied ? "" : ", untied"));
        Config config = small_config();
        config.position = position;
        config.tied = tied;
        Gpt gpt(normalizer, config, 2, config.T);
        CHECK(std::fabs(gpt.loss(random_batch(2, config.T, config.V, 5)) - std::log(config.V)) < 0.05);
      }
}

TEST_CASE("model: learned_scale as it starts is softmax, bit for bit", "[core][model]") {
  const Config config = odd_config();
  const Batch batch = random_batch(2, config.T, config.V, 31);
  Gpt plain(normalizer_named("softmax"), config, 2, config.T);
  Gpt scaled(normalizer_named("learned_scale"), config, 2, config.T);
  CHECK(scaled.add_gradient(batch) == plain.add_gradient(batch));
  for (const Tensor& tensor : scaled.tensors) {
    INFO(tensor.name);
    const std::vector<float> gradient = copy_of(scaled.gradient(tensor), tensor.size);
    const auto same = std::find_if(plain.tensors.begin(), plain.tensors.end(),
                                   [&](const Tensor& other) { return other.name == tensor.name; });
    if (same == plain.tensors.end())
      CHECK(std::any_of(gradient.begin(), gradient.end(), [](float d) { return d != 0; }));
    else if (
        kStoredExactly)  // in bf16 a normalizer that learns has a more exact backward (kernels/cuda/attention_row.h)
      CHECK(same_bits(gradient, copy_of(plain.gradient(*same), tensor.size)));
  }
}

// Two ways to the same loss, by sums in another order: libraries of matrix products choose theirs by the shape.
constexpr double kSameLoss = !kStoredExactly ? 1e-3 : backend::kOnHost ? 1e-7 : 1e-6;

// --- Identities ------------------------------------------------------------------------------------------------------

TEST_CASE("model: a token changes no logit before it, bit for bit", "[core][model]") {
  const auto& all = every_normalizer();
  for (size_t n = 0; n < all.size(); n++) {
    Config config = odd_config();
    config.position = position_of(n + 1);
    INFO(all[n].name << ", " << position_name(config.position));
    Gpt gpt(all[n], config, 2, config.T);
    set_well_conditioned(gpt);
    Batch batch = random_batch(2, config.T, config.V, 11);
    const std::vector<float> before = gpt.logits(batch);
    for (size_t t : {size_t(0), size_t(15), size_t(16), batch.T - 1}) {
      Batch other = batch;
      other.tokens[t] = (batch.tokens[t] + 1) % config.V;  // in the first row alone
      const std::vector<float> after = gpt.logits(other);
      const size_t change = t * size_t(config.V), row = batch.T * size_t(config.V);
      CHECK(same_bits(copy_of(&before[0], change), copy_of(&after[0], change)));
      CHECK(same_bits(copy_of(&before[row], row), copy_of(&after[row], row)));
      for (size_t later = t; later < batch.T; later++) {  // and every one from there on, through attention
        const size_t at = later * size_t(config.V);
        CHECK_FALSE(same_bits(copy_of(&before[at], config.V), copy_of(&after[at], config.V)));
      }
    }
  }
}

namespace {

// Odd sizes, and longer than odd_config() where there is time.
Config long_config(Position position) {
  Config config = odd_config();
  if (kEverything) config.T = 70;
  config.position = position;
  return config;
}

// Gradients of all parameters and losses of every token of a random batch.
std::vector<float> gradients_and_losses(Gpt& gpt, size_t B, size_t T) {
  set_well_conditioned(gpt);
  gpt.add_gradient(random_batch(B, T, gpt.config.V, 13));
  return joined({gradients_of(gpt), read(gpt.a.losses, B * T)});
}
std::vector<float> gradients_and_losses(const NormalizerEntry& normalizer) {
  const Config config = long_config(Position::kRope);
  Gpt gpt(normalizer, config, 3, config.T);
  return gradients_and_losses(gpt, 3, config.T);
}

// An update of a new model: the same, then the norm of the gradient, the parameters and the state of AdamW.
std::vector<float> first_update(const NormalizerEntry& normalizer, Position position, size_t B, size_t T) {
  Gpt gpt(normalizer, long_config(position), B, T);
  AdamWMemory adamw(gpt);
  const std::vector<float> before = gradients_and_losses(gpt, B, T);
  const double norm = adamw.update(gpt, 1e-2, 0.1, 1.0);
  auto all_of = [](const Block& block) { return copy_of(block.data(), block.size()); };
  return joined({before, bits_of({norm}), all_of(gpt.parameters), all_of(adamw.m), all_of(adamw.v)});
}

const NormalizerEntry& softmax_in_bf16() {
  static const NormalizerEntry entry = normalizer_entry<named::softmax, bf16>("softmax");
  return entry;
}

}  // namespace

TEST_CASE("model: the same bits in any order of work", "[core][model]") {
  const auto& all = every_normalizer();
  for (size_t n = 0; n < all.size(); n++) {
    INFO(all[n].name << ", " << position_name(position_of(n)));
    CHECK(same_for_any_order([&] { return first_update(all[n], position_of(n), 3, long_config(position_of(n)).T); }));
    CHECK(
        same_for_any_order([&] { return first_update(all[n], position_of(n + 1), 1, 2); }));  // fewer rows than threads
  }
  if constexpr (backend::kOnHost)
    for (auto [B, T] : {std::pair<size_t, size_t>{3, 70}, {1, 5}})
      CHECK(same_for_any_order([&, B = B, T = T] { return first_update(softmax_in_bf16(), Position::kRope, B, T); }));
}

// On a GPU a program of tests has one precision, and the golden values tell the same.
TEST_CASE("model: bf16 rounds the products, and little else", backend::kOnHost ? "[core][model]" : "[.]") {
  if constexpr (backend::kOnHost) {
    const auto exact = gradients_and_losses(normalizer_named("softmax"));
    const auto rounded = gradients_and_losses(softmax_in_bf16());
    // An operand is off by 2^-9 at most, 0.2 %; a chain of some layers by a few times that.
    CHECK(compare(rounded, exact, {0.02, 0.05}));
    CHECK_FALSE(compare(rounded, exact, {1e-5, 1e-5}));
  }
}

TEST_CASE("model: the forward leaves logits in evaluation and their gradient in training", "[core][model]") {
  const Config config = odd_config();
  Gpt gpt(normalizer_named("softmax"), config, 2, config.T);
  const Batch batch = random_batch(2, config.T, config.V, 29);
  const size_t BT = 2 * size_t(config.T), V = size_t(config.V);
  const std::vector<float> logits = gpt.logits(batch);
  const double evaluated = gpt.loss(batch);
  CHECK(same_bits(read(gpt.a.logits, BT * V), logits));
  CHECK(gpt.loss(batch, 0.5f) == evaluated);
  const std::vector<float> gradient = read(gpt.a.logits, BT * V);
  for (size_t i = 0; i < BT; i++) {  // probabilities, less one for the target, sum up to nothing
    double sum = 0;
    for (size_t v = 0; v < V; v++) sum += gradient[i * V + v];
    CHECK(sum == Approx(0).margin(1e-6 + kStoring));  // of absolute values that sum up to 1
    CHECK(gradient[i * V + size_t(batch.targets[i])] < 0);
  }
}

TEST_CASE("model: micro-batches add up to the large batch", "[core][model]") {
  const auto& all = every_normalizer();
  for (size_t n = 0; n < all.size(); n++) {
    Config config = odd_config();
    config.position = position_of(n);
    INFO(all[n].name << ", " << position_name(config.position));
    const Batch large = random_batch(4, config.T, config.V, 17);
    Gpt once(all[n], config, 4, config.T), twice(all[n], config, 4, config.T);
    set_well_conditioned(once);
    set_well_conditioned(twice);
    const double loss = once.add_gradient(large);
    double sum = 0;
    for (size_t half : {0, 1}) {
      const size_t begin = half * 2 * large.T, end = begin + 2 * large.T;
      Batch micro{2, large.T, {}, {}};
      micro.tokens.assign(large.tokens.begin() + begin, large.tokens.begin() + end);
      micro.targets.assign(large.targets.begin() + begin, large.targets.begin() + end);
      sum += twice.add_gradient(micro, 0.5f);
    }
    CHECK(sum / 2 == Approx(loss).epsilon(kSameLoss));
    // The same numbers are added up in another order.
    for (const Tensor& tensor : once.tensors) {
      INFO(tensor.name);
      CHECK(compare(copy_of(twice.gradient(tensor), tensor.size), copy_of(once.gradient(tensor), tensor.size),
                    stored(kFp32 * 5, 2)));
    }
  }
}

TEST_CASE("model: fewer and shorter rows than planned give the bits of a model planned for them", "[core][model]") {
  const auto& all = every_normalizer();
  for (size_t n = 0; n < all.size(); n++) {
    Config config = odd_config();
    config.position = position_of(n);
    INFO(all[n].name << ", " << position_name(config.position));
    Gpt large(all[n], config, 3, config.T);
    set_well_conditioned(large);
    large.add_gradient(random_batch(3, config.T, config.V, 19));  // leaves its numbers behind
    std::fill_n(large.gradients.data(), large.gradients.size(), 0.0f);
    for (size_t T : {1, 20}) {
      const Batch batch = random_batch(2, T, config.V, 23);
      Gpt small(all[n], config, 2, T);
      set_well_conditioned(small);
      CHECK(same_bits(large.logits(batch), small.logits(batch)));
      CHECK(large.add_gradient(batch) == small.add_gradient(batch));
      CHECK(same_bits(gradients_of(large), gradients_of(small)));
      std::fill_n(large.gradients.data(), large.gradients.size(), 0.0f);
    }
  }
}

TEST_CASE("model: activations and scratch memory grow linearly with T", "[core][model]") {
  for (const NormalizerEntry& normalizer : every_normalizer()) {
    Config config = with_normalizer(small_config(), normalizer);
    const size_t T = 1024;
    const auto single = activation_tensors<S>(config, normalizer.row_words, 1, T, true);
    const auto twice = activation_tensors<S>(config, normalizer.row_words, 1, 2 * T, true);
    REQUIRE(single.size() == twice.size());
    for (size_t i = 0; i < single.size(); i++) {
      INFO(normalizer.name << ", " << single[i].name);
      CHECK(twice[i].size <= 2 * single[i].size);
      CHECK(single[i].size <= T * std::max({size_t(4 * config.C), size_t(config.V), size_t(64)}));  // no T x T
    }
  }
  CHECK(backend::attention_scratch_floats(2048, 64) <= 2 * backend::attention_scratch_floats(1024, 64));
  CHECK(backend::attention_shared_floats(2, 2048, 3, 64, true) <=
        2 * backend::attention_shared_floats(2, 1024, 3, 64, true));
}

TEST_CASE("model: activations do not overlap and stay inside their block", "[core][model]") {
  for (Position position : kEveryPosition) {
    Config config = odd_config();
    config.position = position;
    const auto tensors = activation_tensors<S>(config, 7, 2, config.T, true);
    size_t end = 0;
    for (const ActivationTensor& tensor : tensors) {
      INFO(tensor.name);
      CHECK(tensor.offset % kAlignFloats == 0);
      CHECK(tensor.offset >= end);
      end = tensor.offset + (tensor.size * (tensor.stored ? sizeof(S) : 4) + 3) / 4;
    }
    CHECK(end <= activation_floats<S>(config, 7, 2, config.T, true));
    CHECK(activation_floats<S>(config, 7, 2, config.T, false) < activation_floats<S>(config, 7, 2, config.T, true));
  }
}
