// The parts of a training run: learning rates, metrics, the attention record, evaluation, sampling, the memory plan.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "model/buffer.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/attention_record.h"
#include "train/console.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/schedule.h"

using nlohmann::ordered_json;

namespace {

// A model of softmax with its initial weights, made larger so that it prefers some tokens, and memory for B x T tokens.
struct Model {
  Config config;
  Buffer parameters, memory;
  Parameters<> p;
  Activations<> a;

  Model(Position position, size_t B, size_t T, int trained_T = 7) {
    config.L = 2;
    config.NH = 2;
    config.C = 8;
    config.V = 11;
    config.T = trained_T;
    config.position = position;
    parameters = Buffer(parameter_floats(config));
    init_parameters(config, parameters.data(), 1, 1);
    for (size_t i = 0; i < parameters.size(); i++) parameters.data()[i] *= 10;
    p = view_parameters(config, parameters.data());
    const int words = kRowWords<named::softmax>;
    memory = Buffer(activation_floats(config, words, B, T, false));
    a = view_activations(config, words, B, T, false, memory.data());
  }

  Evaluation evaluate(const TokenStream& stream, size_t B, size_t T, uint64_t limit = UINT64_MAX) {
    return ::evaluate<named::softmax>(config, p, a, stream, B, T, limit);
  }

  // -log of the probability of `target` behind these tokens, in double, from the logits.
  double loss_of(const std::vector<int32_t>& tokens, int32_t target) {
    forward<named::softmax>(config, p, a, tokens.data(), nullptr, 1, tokens.size());
    const float* logits = a.logits + (tokens.size() - 1) * config.V;
    double sum = 0;
    for (int v = 0; v < config.V; v++) sum += std::exp(double(logits[v]));
    return std::log(sum) - logits[target];
  }
};

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

// --- the learning rate -----------------------------------------------------------------------------------------------

TEST_CASE("the learning rate rises in a line and falls as half a cosine", "[core][training]") {
  TrainOptions options;
  options.lr = 1;
  options.min_lr = 0.1;
  options.warmup_steps = 4;
  options.steps = 12;
  CHECK(learning_rate(options, 0) == 0.25);
  CHECK(learning_rate(options, 2) == 0.75);
  CHECK(learning_rate(options, 3) == 1);
  CHECK(learning_rate(options, 4) == 1);
  CHECK(learning_rate(options, 6) == Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2));
  CHECK(learning_rate(options, 8) == Approx(0.55));
  CHECK(learning_rate(options, 11) == Approx(0.1 + 0.9 * (1 - std::cos(std::acos(-1.0) / 8)) / 2));
  CHECK(learning_rate(options, 12) == Approx(0.1));

  options.warmup_steps = 0;
  CHECK(learning_rate(options, 0) == 1);
  CHECK(learning_rate(options, 6) == Approx(0.55));
}

TEST_CASE("the constant learning rate stays after the warm-up", "[core][training]") {
  TrainOptions options;
  options.schedule = "constant";
  options.lr = 3e-4;
  options.warmup_steps = 2;
  options.steps = 10;
  CHECK(learning_rate(options, 0) == 1.5e-4);
  for (int k : {1, 2, 5, 9, 100}) CHECK(learning_rate(options, k) == 3e-4);
}

// --- metrics ---------------------------------------------------------------------------------------------------------

TEST_CASE("metrics are appended and cut behind a step", "[core][training]") {
  TempDir run;
  const std::string path = metrics_path(run.path.string());
  const std::string start = "{\"event\":\"start\",\"normalizer\":\"ssmax\"}\n";
  const std::string one = "{\"event\":\"step\",\"step\":1,\"loss\":0.1}\n", two = "{\"event\":\"step\",\"step\":2}\n";
  const std::string saved = "{\"event\":\"checkpoint\",\"step\":1}\n", torn = "{\"event\":\"step\",\"st";
  CHECK(Metrics::program(run.path.string(), "normalizer").empty());
  CHECK_FALSE(Metrics::ended(run.path.string(), 0));
  Metrics::truncate(run.path.string(), 1);  // there is nothing to cut
  CHECK_FALSE(std::filesystem::exists(path));

  {
    Metrics metrics(run.path.string());
    CHECK(metrics.empty());
    metrics.write({{"event", "start"}, {"normalizer", "ssmax"}});
    CHECK_FALSE(metrics.empty());
    CHECK(read_file(path) == start);  // flushed
    metrics.write({{"event", "step"}, {"step", 1}, {"loss", 0.1}});
    metrics.write({{"event", "checkpoint"}, {"step", 1}});
  }
  Metrics(run.path.string()).write({{"event", "step"}, {"step", 2}});
  CHECK(read_file(path) == start + one + saved + two);
  CHECK(Metrics::program(run.path.string(), "normalizer") == "ssmax");

  SECTION("nothing is lost where all is kept") {
    Metrics::truncate(run.path.string(), 2);
    CHECK(read_file(path) == start + one + saved + two);
  }
  SECTION("a later step and a torn line are dropped") {
    write_file(path, start + one + saved + two + torn);
    Metrics::truncate(run.path.string(), 1);
    CHECK(read_file(path) == start + one + saved);
  }
  SECTION("a torn line is dropped even where its step is kept") {
    write_file(path, start + one + torn);
    Metrics::truncate(run.path.string(), 9);
    CHECK(read_file(path) == start + one);
  }
  SECTION("a last line without its end is torn, whatever it holds") {
    write_file(path, start + one.substr(0, one.size() - 1));
    Metrics::truncate(run.path.string(), 9);
    CHECK(read_file(path) == start);
  }
  SECTION("without a step nothing is kept") {
    Metrics::truncate(run.path.string(), std::nullopt);
    CHECK(read_file(path).empty());
    CHECK(Metrics(run.path.string()).empty());
  }
  SECTION("the end of a run") {
    CHECK_FALSE(Metrics::ended(run.path.string(), 2));
    Metrics(run.path.string()).write({{"event", "end"}, {"step", 2}});
    CHECK(Metrics::ended(run.path.string(), 2));
    CHECK_FALSE(Metrics::ended(run.path.string(), 3));
  }
}

TEST_CASE("metrics that cannot be written fail by name", "[core][training]") {
  TempDir run;
  CHECK_THROWS_AS(Metrics(run / "missing"), Failure);
  if (!std::filesystem::exists("/dev/full")) return;
  std::filesystem::create_symlink("/dev/full", run / "metrics.jsonl");
  Metrics metrics(run.path.string());
  std::string text;
  try {
    metrics.write({{"event", "step"}});
  } catch (const Failure& failure) {
    text = failure.what();
  }
  CHECK(contains(text, "metrics.jsonl' cannot be written: No space"));
}

// --- the attention record --------------------------------------------------------------------------------------------

TEST_CASE("attention sums of rows done by hand", "[core][training]") {
  // weights -1/4 and 3/4: |a| adds up to 1, the row to 1/2
  AttentionSums sums;
  sums.add_row({1, 3}, {-0.25, 0.75}, {3, 4}, {0.6, -0.8}, 2);
  const double entropy = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75)) / std::log(2.0);
  ordered_json record = sums.to_json(7, 1, 2);
  CHECK(record["event"] == "attention");
  CHECK(record["step"] == 7);
  CHECK(record["layer"] == 1);
  CHECK(record["head"] == 2);
  CHECK(record["score_mean"] == 2.0);
  CHECK(record["score_std"] == 1.0);
  CHECK(record["score_max"] == 3.0);
  CHECK(record["entropy"].get<double>() == Approx(entropy));
  CHECK(record["weight_max"] == 0.75);
  CHECK(record["weight_first"] == -0.25);
  CHECK(record["row_sum_mean"] == 0.5);
  CHECK(record["row_sum_std"] == 0.0);
  CHECK(record["negative"] == 0.5);
  CHECK(record["saturated"] == 0.0);
  CHECK(record["dweight_norm"].get<double>() == Approx(std::sqrt(12.5)));
  CHECK(record["dscore_norm"].get<double>() == Approx(std::sqrt(0.5)));
  CHECK(record["jacobian"].get<double>() == Approx(0.2));

  // a second row, of one key's making: entropy 0, saturated, row sum 2
  AttentionSums second;
  second.add_row({5, 0, 1, 7}, {2, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, 3);  // the fourth is not visible
  sums.add(second);
  record = sums.to_json(7, 1, 2);
  CHECK(record["score_mean"] == 2.0);
  CHECK(record["score_max"] == 5.0);
  CHECK(record["entropy"].get<double>() == Approx(entropy / 2));
  CHECK(record["weight_max"] == (0.75 + 2) / 2);
  CHECK(record["row_sum_mean"] == 1.25);
  CHECK(record["row_sum_std"] == 0.75);
  CHECK(record["negative"] == 0.2);
  CHECK(record["saturated"] == 0.5);

  AttentionSums uniform, zero;
  uniform.add_row({1, 1, 1}, {0.2, 0.2, 0.2}, {1, 1, 1}, {0, 0, 0}, 3);
  CHECK(uniform.entropy == Approx(1));
  zero.add_row({1, 1}, {0, 0}, {1, 1}, {1, 1}, 2);
  CHECK(zero.entropy == 0);
  CHECK(zero.saturated == 0);
}

namespace {

// The record of every head, from the closed form softmax(sharpness(h, n) z).
template <class Sharpness>
std::vector<AttentionSums> softmax_record(const std::vector<float>& qkv, const std::vector<float>& dout,
                                          const std::vector<float>& slopes, size_t B, size_t T, size_t C, size_t NH,
                                          Sharpness sharpness) {
  const size_t HS = C / NH;
  std::vector<AttentionSums> heads(NH);
  for (size_t b = 0; b < B; b++)
    for (size_t h = 0; h < NH; h++)
      for (size_t t = 1; t < T; t++) {
        const double s = sharpness(h, double(t + 1));
        std::vector<double> z(t + 1), a(t + 1), g(t + 1), dz(t + 1);
        double sum = 0, dot = 0;
        for (size_t j = 0; j <= t; j++) {
          for (size_t i = 0; i < HS; i++) {
            const float* key = &qkv[(b * T + j) * 3 * C + C + h * HS];
            z[j] += double(qkv[(b * T + t) * 3 * C + h * HS + i]) * key[i] / std::sqrt(double(HS));
            g[j] += double(dout[(b * T + t) * C + h * HS + i]) * key[C + i];
          }
          if (!slopes.empty()) z[j] -= slopes[h] * double(t - j);
          sum += a[j] = std::exp(s * z[j]);
        }
        for (size_t j = 0; j <= t; j++) dot += (a[j] /= sum) * g[j];
        for (size_t j = 0; j <= t; j++) dz[j] = s * a[j] * (g[j] - dot);
        heads[h].add_row(z, a, g, dz, t + 1);
      }
  return heads;
}

void check_same_record(const std::vector<AttentionSums>& got, const std::vector<AttentionSums>& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t h = 0; h < got.size(); h++) {
    const ordered_json a = got[h].to_json(1, 0, h), b = expected[h].to_json(1, 0, h);
    for (const auto& [key, value] : b.items()) {
      if (!value.is_number_float()) continue;
      INFO("head " << h << ", " << key);
      CHECK(a[key].get<double>() == Approx(value.get<double>()).epsilon(1e-9).margin(1e-9));
    }
    CHECK(got[h].rows == expected[h].rows);
  }
}

}  // namespace

TEST_CASE("attention statistics of no rows are no numbers, not zeros", "[core][training]") {
  const auto record = AttentionSums().to_json(1, 0, 0);
  for (const char* field : {"score_mean", "score_std", "row_sum_mean", "row_sum_std", "entropy"}) {
    INFO(field);
    CHECK(std::isnan(record[field].get<double>()));
  }
}

TEST_CASE("the attention record agrees with the closed form", "[core][training]") {
  const size_t B = 2, T = 5, C = 6, NH = 2;
  const auto qkv = to_float(random_vector("qkv", B * T * 3 * C, 2)), dout = to_float(random_vector("dout", B * T * C));
  const std::vector<float> slopes = {0.5f, 0.25f}, theta = {0.7f, 1.3f};

  auto softmax = observe_attention<named::softmax>(qkv.data(), dout.data(), nullptr, nullptr, B, T, C, NH);
  check_same_record(softmax, softmax_record(qkv, dout, {}, B, T, C, NH, [](size_t, double) { return 1.0; }));
  CHECK(softmax[0].rows == 8);      // t = 1 .. 4 of two sequences
  CHECK(softmax[0].entries == 28);  // 2 (2 + 3 + 4 + 5)
  CHECK(softmax[0].row_sum == Approx(8));

  auto ssmax = observe_attention<named::ssmax>(qkv.data(), dout.data(), theta.data(), slopes.data(), B, T, C, NH);
  check_same_record(ssmax, softmax_record(qkv, dout, slopes, B, T, C, NH,
                                          [&](size_t h, double n) { return double(theta[h]) * std::log(n); }));
}

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
  CHECK(one.nats == Approx(nats).epsilon(1e-6));
  CHECK(one.loss() == one.nats / 22);
  CHECK(one.bits_per_byte(22) == Approx(one.loss() / std::log(2.0)));
  CHECK(one.tokens_by_position == std::vector<uint64_t>{4, 3, 3, 3, 3, 3, 3});
  CHECK(compare(one.nats_by_position, by_position, kFp32));

  for (size_t B : {2, 3, 5}) {
    INFO("B = " << B);
    const Evaluation batched = model.evaluate(stream, B, T);
    CHECK(batched.nats == one.nats);
    CHECK(batched.nats_by_position == one.nats_by_position);
    CHECK(batched.tokens_by_position == one.tokens_by_position);
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
      CHECK(evaluation.nats == Approx(nats).epsilon(1e-6));
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
      CHECK(evaluation.nats == Approx(nats).epsilon(1e-6));
      CHECK(evaluation.tokens_by_position.size() == T);
    }
}

TEST_CASE("a stream of one token cannot be evaluated", "[core][training]") {
  TempDir folder;
  CHECK_NOTHROW(require_predictable(stream_of(folder, {1, 2}, 11)));
  const std::string text = error_text([&] { require_predictable(stream_of(folder, {1}, 11)); });
  CHECK(contains(text, "tokens.bin"));
  CHECK(contains(text, "at least two"));
  CHECK_THROWS_AS(require_predictable(TokenStream()), Error);
}

// --- sampling --------------------------------------------------------------------------------------------------------

TEST_CASE("a token is drawn as often as it is likely", "[core][training]") {
  const std::vector<double> p = {0.15, 0.5, 0.05, 0.3};
  std::vector<float> logits;
  for (double x : p) logits.push_back(float(std::log(x) + 1000));  // a shift changes nothing

  auto shares = [&](const SamplingOptions& options) {
    constexpr int kDraws = 20000;
    std::vector<double> share(4);
    for (int i = 0; i < kDraws; i++) share[draw_token(logits.data(), 4, options, i)] += 1.0 / kDraws;
    return share;
  };
  auto check_shares = [&](const SamplingOptions& options, std::vector<double> expected) {
    double sum = 0;
    for (double x : expected) sum += x;
    const auto share = shares(options);
    for (int v = 0; v < 4; v++) {
      INFO("token " << v);
      // four standard deviations of 20000 draws
      CHECK(share[v] == Approx(expected[v] / sum).epsilon(0).margin(4 * std::sqrt(0.25 / 20000)));
      if (expected[v] == 0) CHECK(share[v] == 0);
    }
  };
  check_shares({1, 0, 1}, p);
  check_shares({1, 4, 2}, p);
  check_shares({1, 100, 3}, p);
  check_shares({0.5, 0, 4}, {0.15 * 0.15, 0.25, 0.05 * 0.05, 0.09});
  check_shares({1, 2, 5}, {0, 0.5, 0, 0.3});
  check_shares({1, 1, 6}, {0, 1, 0, 0});
  check_shares({0, 0, 7}, {0, 1, 0, 0});
}

TEST_CASE("draws are reproducible and depend on the whole seed", "[core][training]") {
  const std::vector<float> logits(50);  // all alike
  auto draws = [&](uint64_t seed) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; i++) tokens.push_back(draw_token(logits.data(), 50, {1, 0, seed}, i));
    return tokens;
  };
  CHECK(draws(1) == draws(1));
  CHECK(draws(1) != draws(2));
  CHECK(draws(1) != draws(1 + (uint64_t(1) << 32)));
  CHECK(draw_token(logits.data(), 50, {0, 0, 1}, 3) == 0);  // of equals the first
}

TEST_CASE("text is generated token by token from the last T tokens", "[core][training]") {
  const size_t T = 7;
  Model model(Position::kLearned, 1, T);
  auto generated = [&](const std::vector<int32_t>& prompt, int count, const SamplingOptions& options) {
    std::vector<int32_t> emitted;
    auto tokens = generate<named::softmax>(model.config, model.p, model.a, prompt, count, T, options,
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

// --- memory and words ------------------------------------------------------------------------------------------------

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
  const size_t layer = 16 * C + 4 + NH * words;  // per token: ln_1, q, k, v, attention, stream, ln_2, 2 x 4C, stream
  const size_t forward = C + L * layer + C + 2 + V + 1 + C, backward = C + C + 3 * C + 4 * C;
  MemoryPlan plan = plan_memory(config, words, B, T, true, 3);
  CHECK(plan.parameters == 4 * parameters);
  CHECK(plan.gradients == 4 * parameters);
  CHECK(plan.optimizer == 8 * parameters);
  CHECK(plan.activations == 4 * BT * (forward + backward));
  const MemoryPlan one_thread = plan_memory(config, words, B, T, true, 1);
  const Workspace scratch = workspace(config, B, T);
  CHECK(plan.workspace - one_thread.workspace == 2 * sizeof(float) * scratch.each_thread);
  CHECK(scratch.each_thread >= cpu::matmul_scratch_floats());
  CHECK(scratch.shared >= cpu::matmul_shared_floats(BT, C, 4 * C));
  CHECK(plan.total() == plan.parameters + plan.gradients + plan.optimizer + plan.activations + plan.workspace);

  // What the trainer allocates.
  CHECK(plan.parameters == sizeof(float) * Buffer(parameter_floats(config)).size());
  CHECK(plan.activations == sizeof(float) * Buffer(activation_floats(config, words, B, T, true)).size());

  plan = plan_memory(config, words, B, T, false, 3);
  CHECK(plan.gradients + plan.optimizer == 0);
  CHECK(plan.activations == 4 * BT * forward);

  CHECK(plan_to_json(plan)["total"] == plan.total());
  CHECK(contains(plan_text(plan), format_bytes(plan.total()) + " = "));
}

TEST_CASE("a model that does not fit is refused with the batch size that does", "[core][training]") {
  Config config;
  config.normalizer = "softmax";
  const int words = kRowWords<named::softmax>;
  auto need = [&](size_t B) { return plan_memory(config, words, B, 256, true, 2).total(); };
  auto refusal = [&](size_t B, size_t available, bool training = true) {
    return error_text([&] { require_memory(config, words, B, 256, training, 2, available); });
  };
  CHECK(refusal(16, need(16)).empty());
  for (size_t fits : {1, 2, 15, 16, 31, 100, 128})
    for (size_t asked : {fits + 1, fits + 2, 2 * fits, 200 * fits}) {
      if (asked <= fits) continue;
      for (size_t available : {need(fits), need(fits + 1) - 1}) {
        INFO(asked << " asked, " << fits << " fit");
        const std::string text = refusal(asked, available);
        CHECK(contains(text, "--batch-size " + std::to_string(asked) + " with sequences of 256 tokens needs " +
                                 format_bytes(need(asked))));
        CHECK(contains(text, format_bytes(available) + " are free"));
        CHECK(contains(text, "--batch-size " + std::to_string(fits) + " fits"));
      }
    }
  CHECK(contains(refusal(16, need(1) - 1), "not even --batch-size 1 fits: reduce --layers, --channels or --seq-len"));

  // evaluate has neither layers to choose nor micro-batches
  const std::string text = refusal(64, plan_memory(config, words, 8, 256, false, 2).total(), false);
  CHECK(contains(text, "--batch-size 8 fits"));
  CHECK_FALSE(contains(text, "--grad-accum"));
  CHECK_FALSE(contains(refusal(64, 1000, false), "--layers"));
}

TEST_CASE("a need beyond 64 bits is refused, not wrapped around", "[core][training]") {
  Config config;
  config.L = 100;
  config.C = 1 << 20;
  config.T = 1 << 24;
  const std::string text =
      error_text([&] { require_memory(config, 2, 2147483647, 1 << 24, true, 2, size_t(1) << 50); });
  CHECK(contains(text, "EiB of memory"));
  CHECK(contains(text, "not even --batch-size 1 fits"));
}

TEST_CASE("numbers and times for people", "[core][training]") {
  CHECK(with_commas(0) == "0");
  CHECK(with_commas(999) == "999");
  CHECK(with_commas(1000) == "1,000");
  CHECK(with_commas(1234567) == "1,234,567");
  CHECK(with_commas(UINT64_MAX) == "18,446,744,073,709,551,615");
  CHECK(clock_text(-1) == "0:00");
  CHECK(clock_text(0.4) == "0:00");
  CHECK(clock_text(59.6) == "1:00");
  CHECK(clock_text(245) == "4:05");
  CHECK(clock_text(3600) == "1:00:00");
  CHECK(clock_text(3723) == "1:02:03");
  CHECK(clock_text(90061) == "25:01:01");
}
