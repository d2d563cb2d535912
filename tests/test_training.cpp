// The parts of a training run: learning rates, metrics, the attention record, evaluation, sampling, the memory plan.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/attention_record.h"
#include "train/console.h"
#include "train/generate.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/schedule.h"

using nlohmann::ordered_json;

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
  // 0, 1, 1, 3, 5: 41 bins of 1/8, for of 1/16 it would be 81
  std::vector<int> counts(41);
  for (int score : {0, 1, 1, 3, 5}) counts[8 * score]++;
  CHECK(record["score_histogram"] == ordered_json{{"width", 0.125}, {"first", 0}, {"counts", counts}});
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

  auto softmax = observe_attention<named::softmax>(qkv.data(), dout.data(), nullptr, nullptr, nullptr, B, T, C, NH);
  check_same_record(softmax, softmax_record(qkv, dout, {}, B, T, C, NH, [](size_t, double) { return 1.0; }));
  CHECK(softmax[0].rows == 8);      // t = 1 .. 4 of two sequences
  CHECK(softmax[0].entries == 28);  // 2 (2 + 3 + 4 + 5)
  CHECK(softmax[0].row_sum == Approx(8));
  uint64_t scores = 0;
  const auto histogram = softmax[0].scores.to_json();
  for (const auto& count : histogram["counts"]) scores += count.get<uint64_t>();
  CHECK(scores == 28);

  auto ssmax =
      observe_attention<named::ssmax>(qkv.data(), dout.data(), theta.data(), nullptr, slopes.data(), B, T, C, NH);
  check_same_record(ssmax, softmax_record(qkv, dout, slopes, B, T, C, NH,
                                          [&](size_t h, double n) { return double(theta[h]) * std::log(n); }));

  const std::vector<float> s_and_b = {0.7f, 1.3f, 0.2f, -0.1f}, p = {9, 0.5f, 1.5f, 2, 0.8f};
  auto learned =
      observe_attention<named::learned_scale>(qkv.data(), dout.data(), s_and_b.data(), p.data(), nullptr, B, T, C, NH);
  check_same_record(learned, softmax_record(qkv, dout, {}, B, T, C, NH, [&](size_t h, double n) {
                      return double(s_and_b[h]) * double(p[size_t(n) - 1]) + double(s_and_b[2 + h]);
                    }));
}

TEST_CASE("the attention record is the same bits in any order of work", "[core][training]") {
  for (auto [B, T, HS] : {std::tuple<size_t, size_t, size_t>{3, 13, 5}, {1, 2, 1}}) {
    const size_t NH = 3, C = NH * HS;
    const auto qkv = to_float(random_vector("qkv", B * T * 3 * C)), dout = to_float(random_vector("dout", B * T * C));
    const std::vector<float> theta = {0.7f, 1.3f, 0.9f, 0.1f, 0.2f, 0.3f};
    CHECK(same_for_any_order([&, B = B, T = T] {
      std::vector<double> sums;
      for (const AttentionSums& head :
           observe_attention<named::ssmax_bias>(qkv.data(), dout.data(), theta.data(), nullptr, nullptr, B, T, C, NH))
        for (const ordered_json& value : head.to_json(1, 0, 0))
          if (value.is_number_float()) sums.push_back(value.get<double>());
      return bits_of(sums);
    }));
  }
}

TEST_CASE("a histogram of scores has the narrowest bins that hold them, in any order", "[core][training]") {
  ScoreHistogram near_zero;
  for (double score : {-0.0005, 0.0, 0.0009, 0.001}) near_zero.add(score);
  CHECK(near_zero.to_json().dump() == R"({"width":0.0009765625,"first":-1,"counts":[1,2,1]})");

  // 64 bins hold [-32, 31], and 32 takes bins of twice the width: -32 + 2i and its neighbour share one.
  ScoreHistogram wide;
  for (int score = -32; score < 32; score++) wide.add(score);
  CHECK(wide.to_json() == ordered_json{{"width", 1.0}, {"first", -32}, {"counts", std::vector<int>(64, 1)}});
  wide.add(32);
  std::vector<int> pairs(33, 2);
  pairs.back() = 1;
  CHECK(wide.to_json() == ordered_json{{"width", 2.0}, {"first", -16}, {"counts", pairs}});

  std::vector<double> scores = random_vector("scores", 1000, 3);
  for (size_t i = 0; i < scores.size(); i++) scores[i] = scores[i] * (i % 3 == 2 ? 100 : 1) + (i % 3 == 1 ? 50 : 0);
  ScoreHistogram forward, backward, parts[3], merged;
  for (size_t i = 0; i < scores.size(); i++) {
    forward.add(scores[i]);
    parts[i % 3].add(scores[i]);
  }
  for (size_t i = scores.size(); i-- > 0;) backward.add(scores[i]);
  for (int i : {1, 2, 0}) merged.add(parts[i]);
  CHECK(backward.to_json() == forward.to_json());
  CHECK(merged.to_json() == forward.to_json());

  // Each count is that of its bin.
  const ordered_json json = forward.to_json();
  const double width = json["width"];
  std::vector<uint64_t> counts(json["counts"].size());
  for (size_t i = 0; i < scores.size(); i++) {
    counts.at(size_t(std::floor(scores[i] / width) - json["first"].get<double>()))++;
  }
  CHECK(json["counts"] == ordered_json(counts));
  CHECK((counts.size() <= 64 && counts.size() > 32 && counts.front() > 0 && counts.back() > 0));

  // What no bin can hold is left out; what is enormous has a bin of its size.
  ScoreHistogram odd;
  for (double score : {double(NAN), double(INFINITY), -double(INFINITY)}) odd.add(score);
  CHECK(odd.to_json().dump() == R"({"width":0.0009765625,"first":0,"counts":[]})");
  odd.add(-1e30);
  odd.add(0);
  CHECK(odd.to_json()["counts"].size() > 32);
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

// --- memory and words ------------------------------------------------------------------------------------------------

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
