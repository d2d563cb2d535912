// What programs do with a model, on either backend: evaluation, sampling, and the plan of its memory.
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "model/backend.h"
#include "model/weights.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/console.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory.h"
#include "train/memory_plan.h"

namespace {

// A model of softmax with its initial weights, made larger so that it prefers some tokens, and memory for B x T tokens.
struct Model {
  Config config;
  Weights<S> weights;
  backend::Memory memory;
  Activations<S> a;

  Model(Position position, size_t B, size_t T, int trained_T = 7) {
    config.L = 2;
    config.NH = 2;
    config.C = 8;
    config.V = 11;
    config.T = trained_T;
    config.position = position;
    weights = Weights<S>(config);
    weights.fill([&](float* parameters) {
      init_parameters(config, parameters, 1, 1);
      for (size_t i = 0; i < weights.size(); i++) parameters[i] *= 10;
    });
    const int words = kRowWords<named::softmax>;
    memory = backend::Memory(activation_floats<S>(config, words, B, T, false));
    a = view_activations<S>(config, words, B, T, false, memory.data());
  }

  Evaluation evaluate(const TokenStream& stream, size_t B, size_t T, uint64_t limit = UINT64_MAX) {
    return ::evaluate<named::softmax, P>(config, weights.view(), a, stream, B, T, limit);
  }

  // -log of the probability of `target` behind these tokens, in double, from the logits.
  double loss_of(const std::vector<int32_t>& tokens, int32_t target) {
    forward<named::softmax, P>(config, weights.view(), a, tokens.data(), nullptr, 1, tokens.size());
    std::vector<float> room;
    const float* logits = backend::to_host(room, a.logits + (tokens.size() - 1) * config.V, config.V);
    double sum = 0;
    for (int v = 0; v < config.V; v++) sum += std::exp(double(logits[v]));
    return std::log(sum) - logits[target];
  }
};

// The same losses by products of other shapes, in which a GPU may add in another order; in bf16 a logit may then be
// rounded the other way.
constexpr double kSameLoss = !kStoredExactly ? 2e-3 : backend::kOnHost ? 1e-6 : 1e-5;

std::vector<int32_t> random_tokens(size_t n, int V) {
  std::vector<int32_t> tokens(n);
  for (size_t i = 0; i < n; i++) tokens[i] = int32_t(Philox{{7, 7}}(i)[0] % uint32_t(V));
  return tokens;
}

TokenStream stream_of(const TempDir& folder, const std::vector<int32_t>& tokens, int V) {
  const std::string path = folder / "tokens.bin";
  TokenWriter writer(path, V);
  writer.add(tokens.data(), tokens.size());
  writer.finish();
  return TokenStream({path}, V);
}

}  // namespace

// --- evaluation ------------------------------------------------------------------------------------------------------

TEST_CASE("evaluation predicts every token but the first exactly once", "[core][training]") {
  TempDir folder;
  const size_t T = 7;
  const auto tokens = random_tokens(23, 11);
  const TokenStream stream = stream_of(folder, tokens, 11);
  Model model(Position::kLearned, 5, T);

  // Windows of 7, 7, 7 and 1 tokens, each token from the logits of those before it in its window.
  double nats = 0;
  std::vector<double> by_position(T);
  for (size_t i = 0; i < 22; i++) {
    const double loss = model.loss_of({tokens.begin() + i / T * T, tokens.begin() + i + 1}, tokens[i + 1]);
    nats += loss;
    by_position[i % T] += loss;
  }
  CHECK(nats / 22 > 2);  // the model is not blind, nor certain: a wrong window would be seen

  const Evaluation one = model.evaluate(stream, 1, T);
  CHECK(one.tokens == 22);
  CHECK(one.nats == Approx(nats).epsilon(kSameLoss));
  CHECK(one.loss() == one.nats / 22);
  CHECK(one.bits_per_byte(22) == Approx(one.loss() / std::log(2.0)));
  CHECK(one.tokens_by_position == std::vector<uint64_t>{4, 3, 3, 3, 3, 3, 3});
  CHECK(compare(one.nats_by_position, by_position, {kSameLoss, 4 * kSameLoss}));

  for (size_t B : {2, 3, 5}) {
    INFO("B = " << B);
    const Evaluation batched = model.evaluate(stream, B, T);
    if (backend::kOnHost) {
      CHECK(batched.nats == one.nats);
      CHECK(batched.nats_by_position == one.nats_by_position);
    }
    CHECK(batched.nats == Approx(one.nats).epsilon(kSameLoss));
    CHECK(compare(batched.nats_by_position, one.nats_by_position, {kSameLoss, 4 * kSameLoss}));
    CHECK(batched.tokens_by_position == one.tokens_by_position);
  }
}

TEST_CASE("evaluation gives the same bits in any order of work", "[core][training]") {
  TempDir folder;
  const size_t T = 7;
  const TokenStream stream = stream_of(folder, random_tokens(61, 11), 11);
  for (size_t B : {1, 5}) {
    Model model(Position::kRope, B, T);
    CHECK(same_for_any_order([&] {
      const Evaluation evaluation = model.evaluate(stream, B, T);
      return joined({bits_of({evaluation.nats}), bits_of(evaluation.nats_by_position)});
    }));
  }
}

TEST_CASE("evaluation stops at its limit", "[core][training]") {
  TempDir folder;
  const size_t T = 7;
  const auto tokens = random_tokens(23, 11);
  const TokenStream stream = stream_of(folder, tokens, 11);
  Model model(Position::kLearned, 5, T);
  double nats = 0;
  for (size_t limit = 1; limit <= 22; limit++) {
    const size_t last = limit - 1;  // the token that this limit adds
    nats += model.loss_of({tokens.begin() + last / T * T, tokens.begin() + limit}, tokens[limit]);
    for (size_t B : {1, 2, 5}) {
      INFO("limit " << limit << ", B = " << B);
      const Evaluation evaluation = model.evaluate(stream, B, T, limit);
      CHECK(evaluation.tokens == limit);
      CHECK(evaluation.nats == Approx(nats).epsilon(kSameLoss));
    }
  }
}

TEST_CASE("evaluation takes sequences shorter and longer than in training", "[core][training]") {
  TempDir folder;
  const auto tokens = random_tokens(23, 11);
  const TokenStream stream = stream_of(folder, tokens, 11);
  for (Position position : {Position::kRope, Position::kAlibi, Position::kNone})
    for (size_t T : {1, 4, 10, 22, 40}) {
      INFO(position_name(position) << ", T = " << T);
      Model model(position, 2, T);
      double nats = 0;
      for (size_t i = 0; i < 22; i++)
        nats += model.loss_of({tokens.begin() + i / T * T, tokens.begin() + i + 1}, tokens[i + 1]);
      const Evaluation evaluation = model.evaluate(stream, 2, T);
      CHECK(evaluation.tokens == 22);
      CHECK(evaluation.nats == Approx(nats).epsilon(kSameLoss));
      CHECK(evaluation.tokens_by_position.size() == T);
    }
}

TEST_CASE("the loss by position as text", "[core][training]") {
  Evaluation evaluation;
  evaluation.nats_by_position = {1, 0.25, 0};
  evaluation.tokens_by_position = {3, 1, 0};
  CHECK(by_position_csv(evaluation) == "position,loss_nats,tokens\n1,0.333333,3\n2,0.250000,1\n");
  evaluation.nats_by_position = {1e300};
  evaluation.tokens_by_position = {1};
  CHECK(by_position_csv(evaluation).ends_with(".000000,1\n"));
}

TEST_CASE("a stream of one token cannot be evaluated", "[core][training]") {
  TempDir folder;
  CHECK_NOTHROW(require_predictable(stream_of(folder, {1, 2}, 11)));
  const std::string text = error_text([&] { require_predictable(stream_of(folder, {1}, 11)); });
  CHECK(contains(text, "tokens.bin"));
  CHECK(contains(text, "at least two"));
  CHECK_THROWS_AS(require_predictable(TokenStream()), Error);
}

// --- sampling ------------------------------------------------------------------------------------------------------

TEST_CASE("text is generated token by token from the last T tokens", "[core][training]") {
  const size_t T = 7;
  Model model(Position::kLearned, 1, T);
  auto generated = [&](const std::vector<int32_t>& prompt, int count, const SamplingOptions& options) {
    std::vector<int32_t> emitted;
    auto tokens = generate<named::softmax, P>(model.config, model.weights.view(), model.a, prompt, count, T, options,
                                              [&](int32_t token) { emitted.push_back(token); });
    CHECK(tokens == emitted);
    return tokens;
  };

  // Draw number i from what the model says about the last T tokens.
  for (double temperature : {0.0, 1.0}) {
    const SamplingOptions options = {temperature, 0, 1};
    std::vector<int32_t> text = {3, 1, 4};
    for (int i = 0; i < 10; i++) {
      const std::vector<int32_t> seen(text.size() > T ? text.end() - T : text.begin(), text.end());
      std::vector<float> logits;
      for (int v = 0; v < 11; v++) logits.push_back(float(-model.loss_of(seen, v)));
      text.push_back(draw_token(logits.data(), 11, options, i));
    }
    CHECK(generated({3, 1, 4}, 10, options) == std::vector<int32_t>(text.begin() + 3, text.end()));
  }

  const auto prompt = random_tokens(20, 11);
  CHECK(generated(prompt, 12, {1, 0, 1}) == generated({prompt.end() - T, prompt.end()}, 12, {1, 0, 1}));
  CHECK(generated(prompt, 12, {1, 0, 1}) != generated(prompt, 12, {1, 0, 2}));
  CHECK(generated(prompt, 0, {1, 0, 1}).empty());
}

TEST_CASE("the memory plan is what the model takes", "[core][training]") {
  Config config;
  config.L = 3;
  config.NH = 2;
  config.C = 32;
  config.V = 48;
  config.T = 64;
  config.position = Position::kLearned;
  const size_t B = 2, T = 64, BT = B * T, C = 32, L = 3, V = 48, NH = 2, words = 2;

  // Every size is a multiple of 64 bytes here, so that nothing is lost to alignment.
  const size_t parameters = V * C + T * C + L * (12 * C * C + 13 * C) + 2 * C;
  // Per token: stream, ln_1, q, k, v, attention, stream, ln_2, 2 x 4C, in every layer; stream, ln_f, branch, logits.
  const size_t forward = sizeof(S) * (L * 16 * C + 3 * C + V), backward = sizeof(S) * (C + C + 3 * C + 4 * C);
  // mean and rstd, the normalizer's rows, losses; on a GPU tokens and targets.
  const size_t others = 4 * (L * (4 + NH * words) + 2 + 1 + (backend::kOnHost ? 0 : 2));
  MemoryPlan plan = plan_memory<S>(config, words, B, T, true, 3);
  CHECK(plan.parameters == (kStoredExactly ? 4 : 4 + sizeof(S)) * parameters);
  CHECK(plan.gradients == 4 * parameters);
  CHECK(plan.optimizer == 8 * parameters);
  CHECK(plan.activations == BT * (forward + backward + others));
  const MemoryPlan one_thread = plan_memory<S>(config, words, B, T, true, 1);
  const Workspace scratch = workspace(config, B, T);
  CHECK(plan.workspace - one_thread.workspace == 2 * sizeof(float) * scratch.each_thread);
  CHECK(scratch.each_thread >= backend::matmul_scratch_floats());
  CHECK(scratch.shared >= backend::matmul_shared_floats(BT, C, 4 * C));
  CHECK(plan.total() == plan.parameters + plan.gradients + plan.optimizer + plan.activations + plan.workspace);

  // What the trainer allocates.
  CHECK(plan.gradients == sizeof(float) * Weights<S>(config).size());
  CHECK(plan.activations == sizeof(float) * activation_floats<S>(config, words, B, T, true));

  plan = plan_memory<S>(config, words, B, T, false, 3);
  CHECK(plan.gradients + plan.optimizer == 0);
  CHECK(plan.activations == BT * (forward + others));

  CHECK(plan_to_json(plan)["total"] == plan.total());
  CHECK(contains(plan_text(plan), format_bytes(plan.total()) + " = "));
}
