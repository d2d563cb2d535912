// The model against PyTorch in float64: tests/golden/make_golden.py says how the values were made. They lie in
// tests/golden, or in the folder named by the environment variable ATTNORM_GOLDEN.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/model_fixture.h"
#include "train/safetensors.h"
#include "train/schedule.h"

namespace {

using nlohmann::json;

// float32 against float64, where nothing is ill-conditioned. The largest errors, with and without fma: 3e-7 in a loss,
// 5e-5 in a gradient (sinmax, whose slopes are ten times the others'), 4e-5 in what AdamW changed; the emulator of CUDA
// has none that are larger.
//
// bfloat16, with parameters rounded to it: 6e-3 in a loss, 0.4 in a small gradient (0.02 is usual), 0.3 in the whole
// gradient's largest element, 0.2 in what AdamW changed, whose first updates are the signs of gradients.
constexpr double kLossTolerance = kStoredExactly ? 1e-5 : 1e-2, kCorrelation = kStoredExactly ? 0.9999 : 0.9;
constexpr double kLossesTolerance = kStoredExactly ? 1e-5 : 5e-3, kNormTolerance = kStoredExactly ? 1e-4 : 0.05;
constexpr Tolerance kGradient = kStoredExactly ? Tolerance{1e-4, 1e-4} : Tolerance{0.5, 0.5};
constexpr Tolerance kWhole = kStoredExactly ? Tolerance{1e-4, 1e-4} : Tolerance{0.2, 0.4};
constexpr Tolerance kMoved = kStoredExactly ? Tolerance{1e-4, 1e-4} : Tolerance{0.3, 0.8};
constexpr double kSharpCorrelation = 0.75;  // of the whole gradient, in bf16, where turns_sharply

// Whether a weight has the slope of sin(10 z), or a row's sum of signed weights may come near zero: rounding of the scores
// to bf16 then changes the gradients of single tensors altogether.
bool turns_sharply(const std::string& name) { return name.find("sinmax") != name.npos; }

std::string golden(const std::string& name) {
  const char* folder = std::getenv("ATTNORM_GOLDEN");
  return std::string(folder ? folder : "tests/golden") + "/" + name;
}

json read_cases() {
  std::ifstream file(golden("cases.json"));
  INFO("tests run from the root of the repository; " << golden("cases.json") << " cannot be read");
  REQUIRE(file.good());
  return json::parse(file);
}

Config config_of(const json& shape, const json& about) {
  Config config;
  config.L = shape["L"];
  config.NH = shape["NH"];
  config.C = shape["C"];
  config.T = shape["T"];
  config.V = shape["V"];
  config.position = position_from_name(about["position"]);
  config.tied = about.value("tied", true);
  return config;
}

// Rows of T + 1 tokens; the targets are the tokens shifted by one.
Batch batch_of(const json& rows) {
  Batch batch{rows.size(), rows[0].size() - 1, {}, {}};
  for (const auto& row : rows) {
    batch.tokens.insert(batch.tokens.end(), row.begin(), row.end() - 1);
    batch.targets.insert(batch.targets.end(), row.begin() + 1, row.end());
  }
  return batch;
}

// The parameters of the file whose names the model knows.
void load_parameters(Gpt& gpt, const SafetensorsFile& file) {
  for (const Tensor& tensor : gpt.tensors) {
    REQUIRE(file.shape(tensor.name) == tensor.shape);
    file.read(tensor.name, gpt.parameter(tensor));
  }
}

// Windows of T + 1 tokens, each starting with the last of the one before; B of them make a batch.
std::vector<Batch> batches_of(const json& stream, size_t B, size_t T) {
  std::vector<Batch> batches;
  for (size_t begin = 0; begin + B * T < stream.size(); begin += B * T) {
    json rows;
    for (size_t b = 0; b < B; b++) {
      auto window = stream.begin() + begin + b * T;
      rows.push_back(std::vector<int32_t>(window, window + T + 1));
    }
    batches.push_back(batch_of(rows));
  }
  return batches;
}

}  // namespace

TEST_CASE("golden: losses and gradients of every normalizer and position agree with PyTorch", "[core][golden][model]") {
  const json all = read_cases();
  std::set<std::string> covered;
  for (const json& about : all["cases"]) {
    const std::string name = about["normalizer"], position = about["position"], stem = about["file"];
    const double conditioning = about["conditioning"];  // sum |phi| / |S| of the worst row: how rounding grows
    INFO(stem << ", " << name << ", conditioning " << conditioning);
    covered.insert(name + "/" + position);
    covered.insert(about["tied"] ? "tied" : "untied");

    const SafetensorsFile file(golden(stem + ".safetensors"));
    const Batch batch = batch_of(about["tokens"]);
    Gpt gpt(normalizer_named(name), config_of(all["shape"], about), batch.B, batch.T);
    load_parameters(gpt, file);
    const double loss = gpt.add_gradient(batch), expected_loss = about["loss"];
    CHECK(std::abs(loss - expected_loss) <= kLossTolerance * conditioning * expected_loss);

    REQUIRE(file.size(name + ".gradient") == parameter_count(gpt.config));
    std::vector<float> whole, expected_whole;
    for (const Tensor& tensor : gpt.tensors) {
      std::vector<float> expected(tensor.size);
      file.read(name + ".gradient", whole.size(), tensor.size, expected.data());
      const std::vector<float> got = copy_of(gpt.gradient(tensor), tensor.size);
      whole.insert(whole.end(), got.begin(), got.end());
      expected_whole.insert(expected_whole.end(), expected.begin(), expected.end());
      if (!kStoredExactly && turns_sharply(name)) continue;
      INFO("gradient of " << tensor.name);
      Agreement result = compare(got, expected, kGradient * conditioning);
      CHECK(result);
      CHECK(result.correlation > kCorrelation);
    }
    INFO("the whole gradient");
    const Agreement result = compare(whole, expected_whole, kWhole * conditioning);
    if (!kStoredExactly && turns_sharply(name))
      CHECK(result.correlation > kSharpCorrelation);
    else
      CHECK(result);
  }
  for (const NormalizerEntry& normalizer : every_normalizer())
    for (Position position : kEveryPosition) CHECK(covered.count(normalizer.name + "/" + position_name(position)) == 1);
  CHECK(covered.count("tied") == 1);
  CHECK(covered.count("untied") == 1);
}

TEST_CASE("golden: updates by AdamW with clipping agree with PyTorch", "[core][golden][adamw]") {
  const json all = read_cases(), about = all["optimizer"];
  const SafetensorsFile before(golden(about["parameters"].get<std::string>() + ".safetensors"));
  const SafetensorsFile after(golden("optimizer.safetensors"));
  const size_t B = all["shape"]["B"], T = all["shape"]["T"];
  Gpt gpt(normalizer_named(about["normalizer"]), config_of(all["shape"], about), B, T);
  load_parameters(gpt, before);

  TrainOptions options;
  options.steps = about["steps"];
  options.warmup_steps = about["warmup"];
  options.lr = about["lr"];
  options.min_lr = about["min_lr"];
  const auto updates = batches_of(about["stream"], B, T);
  REQUIRE(int(updates.size()) == options.steps);

  AdamWMemory adamw(gpt);
  for (int k = 0; k < options.steps; k++) {
    INFO("update " << k);
    const double rate = learning_rate(options, k);
    CHECK(rate == Approx(about["learning_rates"][k].get<double>()).epsilon(1e-12));
    const double loss = gpt.add_gradient(updates[k]);
    const double norm = adamw.update(gpt, rate, about["decay"], about["clip"]);
    CHECK(loss == Approx(about["losses"][k].get<double>()).epsilon(kLossesTolerance));
    CHECK(norm == Approx(about["gradient_norms"][k].get<double>()).epsilon(kNormTolerance));
  }
  for (const Tensor& tensor : gpt.tensors) {
    // What the updates changed, not the parameters themselves, which barely moved.
    std::vector<float> start(tensor.size), expected(tensor.size), moved = copy_of(gpt.parameter(tensor), tensor.size);
    before.read(tensor.name, start.data());
    after.read(tensor.name, expected.data());
    for (size_t i = 0; i < tensor.size; i++) {
      moved[i] -= start[i];
      expected[i] -= start[i];
    }
    INFO("change of " << tensor.name);
    Agreement result = compare(moved, expected, kMoved);
    CHECK(result);
    CHECK(result.correlation > kCorrelation);
  }
}
