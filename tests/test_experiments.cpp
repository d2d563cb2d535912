// The parts of build/reproduce that decide: which runs follow from a configuration, and what a record keeps. What it does
// with programs is in test_reproduce.sh.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/experiments/experiment.h"
#include "train/experiments/plan.h"
#include "train/experiments/records.h"
#include "train/experiments/report.h"

namespace {

constexpr const char* kConfiguration = R"({
  "title": "t", "question": "q", "claims": [{"claim": "c", "source": "s", "primary": "ssmax"}],
  "options": {"preset": "small", "seq-len": 256, "steps": 10},
  "tune": {"data": "kjv", "normalizers": ["softmax", "ssmax"], "grid": [0.002, 0.004, 0.008, 0.016], "seeds": [101, 102]},
  "groups": [
    {"name": "g", "data": "kjv", "normalizers": ["softmax", "ssmax"], "seeds": [1, 3], "rates": ["shared", "tuned"],
     "measures": [{"name": "m", "kind": "by-position", "options": {"seq-len": "16T", "lengths": "T,2T,300"}}]},
    {"name": "late", "data": "kjv", "normalizers": ["ssmax"], "seeds": [1, 1], "rates": ["shared"], "variants": {"f": {}},
     "start": "continue-from", "start-group": "g", "start-normalizer": "softmax", "start-step": 7, "rate-factor": 0.5}
  ]
})";

struct Fixture {
  TempDir temp;
  std::string folder = (temp.path / "e").string();
  explicit Fixture(const std::string& text = kConfiguration) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/experiment.json") << text;
  }
  Configuration read() const { return read_configuration(folder, "small"); }
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

// A parabola in log2 of the rate: `best` is the rate with the least loss.
TuningLoss losses_with_best(double best) {
  return [best](const RunPlan& run) -> std::optional<double> {
    const double far = std::log2(run.lr / best);
    return 1 + far * far;
  };
}

}  // namespace

TEST_CASE("experiments: while no tuning run is recorded, the plan is the grid alone", "[core][experiments]") {
  const Plan plan = make_plan(Fixture().read(), [](const RunPlan&) { return std::nullopt; });
  CHECK(plan.tuning.size() == 2 * 4 * 2);  // normalizers, rates, seeds
  CHECK(plan.runs.empty());
  CHECK(!plan.complete);
  CHECK(plan.later.size() == 2 * 3 + 1);  // shared and tuned may be the same
}

TEST_CASE("experiments: a best rate inside the grid is taken", "[core][experiments]") {
  const Plan plan = make_plan(Fixture().read(), losses_with_best(0.004));
  CHECK(plan.tuning.size() == 16);
  CHECK(plan.rates.at("softmax") == 0.004);
  CHECK(plan.complete);
  CHECK(plan.runs.size() == 2 * 3 + 1);
}

TEST_CASE("experiments: a best rate at an end extends the grid until it lies inside", "[core][experiments]") {
  const Plan high = make_plan(Fixture().read(), losses_with_best(0.032));
  CHECK(high.rates.at("softmax") == 0.032);
  CHECK(high.tuning.size() == 2 * 6 * 2);  // 0.032 and 0.064 more
  const Plan low = make_plan(Fixture().read(), losses_with_best(0.001));
  CHECK(low.rates.at("softmax") == 0.001);
  CHECK(low.tuning.size() == 2 * 6 * 2);
}

TEST_CASE("experiments: a rate at which a run diverged is never the best", "[core][experiments]") {
  const Plan plan = make_plan(Fixture().read(), [](const RunPlan& run) -> std::optional<double> {
    return run.lr >= 0.008 ? HUGE_VAL : 1 / run.lr;
  });
  CHECK(plan.rates.at("ssmax") == 0.004);
}

TEST_CASE("experiments: normalizers with other best rates are run at both", "[core][experiments]") {
  const Plan plan = make_plan(Fixture().read(), [](const RunPlan& run) {
    return losses_with_best(run.normalizer == "ssmax" ? 0.008 : 0.004)(run);
  });
  CHECK(plan.runs.size() == 3 * 3 + 1);  // softmax; ssmax at 0.004 and at 0.008; the late one
}

TEST_CASE("experiments: a run that starts from another has that one's options and its part of the rate",
          "[core][experiments]") {
  const Plan plan = make_plan(Fixture().read(), losses_with_best(0.004));
  const RunPlan& late = plan.runs.back();
  REQUIRE(late.parent);
  CHECK(late.lr == 0.002);
  CHECK(late.parent->lr == 0.004);
  CHECK(late.parent->normalizer == "softmax");
  CHECK(late.parent->hash() == plan.runs.front().hash());
  CHECK(late.options_text().find("continue-from=kjv-softmax-lr0.004-s1@7") != std::string::npos);
}

TEST_CASE("experiments: a run may start from one of its own normalizer on other data with other options",
          "[core][experiments]") {
  const std::string late = R"("name": "late", "data": "kjv", "normalizers": ["ssmax"])";
  const std::string first =
      R"({"name": "short", "data": "gcide", "normalizers": ["ssmax"], "seeds": [1, 1], "rates": [0.5],
    "options": {"seq-len": 32}}, {"name": "late", "data": "kjv", "normalizers": ["ssmax"])";
  const std::string text =
      replaced(replaced(kConfiguration, "{" + late, first), R"("start-group": "g", "start-normalizer": "softmax")",
               R"("start-group": "short")");
  const Plan plan = make_plan(Fixture(text).read(), losses_with_best(0.004));
  const RunPlan& run = plan.runs.back();
  REQUIRE(run.parent);
  CHECK(run.parent->name == "gcide-ssmax-lr0.5-s1");
  CHECK(run.parent->options.at("seq-len") == "32");
  CHECK(run.options.at("seq-len") == "256");
  CHECK(run.parent->hash() == plan.runs[plan.runs.size() - 2].hash());
}

TEST_CASE("experiments: a hash changes with every option and with nothing else", "[core][experiments]") {
  auto first_hash = [](const std::string& text) {
    return make_plan(Fixture(text).read(), losses_with_best(0.004)).runs.front().hash();
  };
  const std::string hash = first_hash(kConfiguration);
  CHECK(first_hash(kConfiguration) == hash);
  CHECK(first_hash(replaced(kConfiguration, "\"question\": \"q\"", "\"question\": \"another\"")) == hash);
  CHECK(first_hash(replaced(kConfiguration, "\"steps\": 10", "\"steps\": 11")) != hash);
  CHECK(first_hash(replaced(kConfiguration, "\"steps\": 10", "\"steps\": 10, \"untied\": true")) != hash);
}

TEST_CASE("experiments: what the committed runs were trained with is what train does now", "[core][experiments]") {
  // A hash has the options that experiment.json gives; presets and defaults are held here. Where they change, rows that
  // were recorded before are rows of other runs.
  const Plan plan = make_plan(read_configuration("train/experiments/loss-curves", "small"), losses_with_best(0.008));
  nlohmann::ordered_json options = options_to_json(effective_options(plan.runs.front()));
  options.erase("data");
  options.erase("out");
  CHECK(options == nlohmann::ordered_json::parse(R"({
    "text": "", "vocab-size": 0, "batch-size": 16, "seq-len": 256, "grad-accum": 1, "data-seed": 1, "order": "shuffled",
    "preset": "small", "layers": 4, "heads": 4, "channels": 128, "position": "rope", "rope-theta": 10000.0,
    "untied": false, "scale-init": 0.0, "seed": 1, "init-noise": 0.0,
    "steps": 1000, "lr": 0.008, "min-lr": 0.0008, "warmup-steps": 100, "schedule": "cosine", "weight-decay": 0.1,
    "beta1": 0.9, "beta2": 0.95, "grad-clip": 1.0, "tf32": false, "init-from": "", "continue-from": "",
    "eval-every": 50, "eval-tokens": 65536, "checkpoint-every": 125, "keep": 2, "checkpoint-sync": false,
    "log-every": 10, "attention-every": 0, "threads": 0
  })"));
}

TEST_CASE("experiments: lengths are given in sequence lengths", "[core][experiments]") {
  const Configuration configuration = Fixture().read();
  const Options& options = configuration.groups.front().measures.front().options;
  CHECK(options.at("seq-len") == "4096");
  CHECK(options.at("lengths") == "256,512,300");
}

namespace {

std::string mixed() {
  return replaced(
      replaced(kConfiguration, R"("options": {"preset")",
               R"("data": {"long": {"corpus": "kjv", "mix": "short:0.5"}, "short": {"corpus": "kjv", "length": "32"}},
  "options": {"preset")"),
      R"("name": "g", "data": "kjv")", R"("name": "g", "data": "long")");
}

}  // namespace

TEST_CASE("experiments: data is named by its options and by those of what is mixed into it", "[core][experiments]") {
  const Configuration configuration = Fixture(mixed()).read();
  REQUIRE(configuration.data.size() == 2);
  const auto& [long_name, long_options] = *configuration.data.begin();
  const std::string short_name = configuration.data.rbegin()->first;
  CHECK(long_options.at("mix") == short_name + ":0.5");
  CHECK(configuration.groups.front().data == long_name);
  const Configuration other = Fixture(replaced(mixed(), "\"length\": \"32\"", "\"length\": \"64\"")).read();
  CHECK(other.data.begin()->first != long_name);
  CHECK(other.data.rbegin()->first != short_name);
}

TEST_CASE("experiments: data cannot be mixed into itself", "[core][experiments]") {
  const Fixture fixture(replaced(mixed(), "\"length\": \"32\"", "\"mix\": \"long:0.1\""));
  CHECK(contains(error_text([&] { fixture.read(); }), "'long', which is mixed into itself"));
}

TEST_CASE("experiments: another scale has other options, corpora and rates throughout", "[core][experiments]") {
  const Fixture fixture(replaced(mixed(), R"("rates": ["shared", "tuned"])", R"("rates": [0.004])"));
  std::ofstream(fixture.temp.path / "large.json")
      << R"({"options": {"seq-len": 1024}, "data": {"kjv": "gcide"}, "grid": [1, 2, 4, 8], "rate": 0.5, "start-step": 9,
           "variants": {"late": {"deep": {"layers": 24}}}})";
  const Configuration configuration = read_configuration(fixture.folder, "large");
  CHECK(configuration.tune->data == "gcide");
  for (const auto& [name, options] : configuration.data) CHECK(options.at("corpus") == "gcide");
  CHECK(configuration.groups.front().rates == std::vector<std::string>{"0.5"});
  CHECK(configuration.groups.front().measures.front().options.at("seq-len") == "16384");
  CHECK(configuration.groups.back().data == "gcide");
  CHECK(configuration.groups.back().start_step == 9);
  CHECK(configuration.groups.back().variants == std::map<std::string, Options>{{"deep", {{"layers", "24"}}}});
}

TEST_CASE("experiments: a configuration is read strictly", "[core][experiments]") {
  auto refusal = [](const std::string& from, const std::string& to) {
    const Fixture fixture(replaced(kConfiguration, from, to));
    return error_text([&] { fixture.read(); });
  };
  CHECK(contains(refusal("\"title\"", "\"tilte\""), "tilte"));
  CHECK(contains(refusal("\"source\": \"s\", ", ""), "lacks the key 'source'"));
  CHECK(contains(refusal("\"seeds\": [1, 3]", "\"seeds\": [3, 1]"), "first and the last seed"));
  CHECK(contains(refusal("\"by-position\"", "\"by-colour\""), "by-colour"));
  CHECK(contains(refusal("[\"shared\", \"tuned\"]", "[\"best\"]"), "'best'"));
  CHECK(contains(refusal("\"continue-from\"", "\"resume\""), "init-from or continue-from"));
  CHECK(contains(refusal("\"start-group\": \"g\"", "\"start-group\": \"late\""), "one that stands before it"));
  CHECK(contains(refusal("\"seq-len\": 256, ", ""), "needs the option seq-len"));
  CHECK(contains(refusal("\"name\": \"m\"", "\"name\": \"m n\""), "the measure 'm n'"));
  CHECK(contains(refusal("\"f\": {}", "\"f,g\": {}"), "the variant 'f,g'"));
  CHECK(contains(refusal("[0.002, 0.004, 0.008, 0.016]", "[0.002, 0.004, 0.008]"), "at least 4 rates"));
  CHECK(contains(refusal("[0.002, 0.004, 0.008, 0.016]", "[0.001, 0.004, 0.008, 0.016]"), "twice the one before"));
  CHECK(contains(refusal("[101, 102]", "[3, 102]"), "group 'g' compares"));
}

TEST_CASE("experiments: records are read as they were written", "[core][experiments]") {
  const TempDir temp;
  ResultRow row;
  row.run = "kjv-softmax-lr0.004-s1", row.group = "g", row.normalizer = "softmax", row.data = "kjv";
  row.lr = 0.004, row.seed = 1, row.steps = 10, row.tokens = 40960, row.val_loss = 1.23456789, row.status = "done";
  row.minutes = 1.5, row.options_hash = "abc", row.data_hash = "def", row.git = "123, then 456",
  row.options = "softmax lr=0.004";
  Records records(temp.path.string(), "small");
  records.add(row, {{row.run, "val_loss", 10, 0, 1.5}, {row.run, "val_loss", 5, 0, 2.5}});
  row.run = "a", row.status = "diverged", row.val_loss = kMissing;
  records.add(row, {});

  const Records again(temp.path.string(), "small");
  REQUIRE(again.rows().size() == 2);
  CHECK(again.rows().front().run == "a");  // by name
  CHECK(again.rows().front().diverged());
  CHECK(std::isnan(again.rows().front().val_loss));
  const ResultRow* found = again.find("kjv-softmax-lr0.004-s1");
  REQUIRE(found);
  CHECK(found->val_loss == 1.23456789);
  CHECK(std::isnan(found->test_loss));
  CHECK(found->options == "softmax lr=0.004");
  CHECK(found->git == "123; then 456");  // of a run that another commit resumed
  CHECK(again.find_hash("abc", "def") != nullptr);
  CHECK(again.find_hash("abc", "other") == nullptr);
  const std::vector<Measurement> curve = again.measured(found->run, "val_loss");
  REQUIRE(curve.size() == 2);
  CHECK(curve[0].x == 5);
  CHECK(curve[1].value == 1.5);

  records.remove({"a"});
  CHECK(Records(temp.path.string(), "small").rows().size() == 1);
  CHECK(Records(temp.path.string(), "large").rows().empty());
}

TEST_CASE("experiments: only an interval that leaves out 0 is resolved", "[core][experiments]") {
  CHECK(is_resolved(estimate(std::vector<double>{0.9, 1.0, 1.1})));
  CHECK(!is_resolved(estimate(std::vector<double>{-1, 1, 2})));
  CHECK(!is_resolved(estimate(std::vector<double>{1})));
}
