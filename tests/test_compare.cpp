// compare: what is read from metrics files, how runs are grouped and paired, and what the reader is told.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/error.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"
#include "train/comparison.h"
#include "train/gnuplot.h"
#include "train/metrics_reader.h"
#include "train/plot.h"

namespace {

using Json = nlohmann::json;

#if __has_include(<catch2/catch_all.hpp>)
auto has(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
auto has(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

constexpr int kTokensPerUpdate = 4 * 8;

// A run of 10 updates with an evaluation every 5; a test changes what it is about before write().
struct FakeRun {
  std::vector<Json> records;

  FakeRun(const std::string& normalizer, int seed, double final_loss) {
    const Json options = {{"out", "runs/x"}, {"seed", seed}, {"data-seed", seed}, {"batch-size", 4}, {"seq-len", 8},
                          {"grad-accum", 1}, {"steps", 10},  {"lr", 0.002},       {"threads", 2},    {"log-every", 1}};
    records.push_back({{"event", "start"},
                       {"schema", 1},
                       {"normalizer", normalizer},
                       {"device", "cpu"},
                       {"precision", "fp32"},
                       {"tf32", false},
                       {"simd", "AVX2+FMA"},
                       {"threads", 2},
                       {"version", "0.1.0"},
                       {"git", "1a2b3c4"},
                       {"compiler", "g++ 12.2.0"},
                       {"options", options},
                       {"data", {{"sha256", {{"train.bin", "aaaa"}, {"val.bin", "bbbb"}}}}}});
    eval(0, 5.5, 64);
    for (int step = 1; step <= 10; step++) {
      this->step(step, 5.5 - 0.3 * step);
      if (step % 5 == 0) eval(step, final_loss + 0.2 * (10 - step), 64);
    }
    eval(10, final_loss, 1000);
    records.push_back({{"event", "end"},
                       {"status", "done"},
                       {"step", 10},
                       {"seconds", 120.0},
                       {"tokens_per_s", 1000.0},
                       {"peak_bytes", 3 << 20},
                       {"sample", "And it came"}});
  }

  Json& start() { return records.front(); }
  Json& end() { return records.back(); }
  void step(int step, double loss) {
    records.push_back({{"event", "step"},
                       {"step", step},
                       {"tokens", step * kTokensPerUpdate},
                       {"loss", loss},
                       {"lr", 0.002},
                       {"grad_norm", 1.0},
                       {"dt_ms", 500.0},
                       {"tokens_per_s", 900.0}});
  }
  void eval(int step, double loss, int tokens) {
    records.push_back({{"event", "eval"},
                       {"step", step},
                       {"split", "val"},
                       {"loss", loss},
                       {"bits_per_byte", loss / std::log(2)},
                       {"tokens", tokens}});
  }
  // Keeps the records up to the update and drops the rest, as a killed run leaves them.
  FakeRun& cut_after(int step) {
    std::erase_if(records, [&](const Json& record) { return record.value("step", 0) > step; });
    std::erase_if(records, [](const Json& record) { return record["event"] == "end"; });
    return *this;
  }
  std::string text() const {
    std::string lines;
    for (const Json& record : records) lines += record.dump() + "\n";
    return lines;
  }
};

std::string write_text(const TempDir& folder, const std::string& name, const std::string& metrics) {
  std::filesystem::create_directories(folder / name);
  write_file(folder / name + "/metrics.jsonl", metrics);
  return folder / name;
}

Run read_text(const std::string& metrics) {
  TempDir folder;
  Run run = read_run(write_text(folder, "run", metrics));
  run.path = "run";
  return run;
}

Run made(const std::string& path, const FakeRun& fake) {
  Run run = read_text(fake.text());
  run.path = path;
  return run;
}

std::vector<Run> three_normalizers_three_seeds() {
  std::vector<Run> runs;
  const double softmax[] = {1.50, 1.70, 1.60}, ssmax[] = {1.49, 1.68, 1.57}, sinmax[] = {2.0, 2.1, 2.3};
  for (int seed : {3, 1, 2}) {
    const std::string name = "-s" + std::to_string(seed);
    runs.push_back(made("sinmax" + name, FakeRun("sinmax", seed, sinmax[seed - 1])));
    runs.push_back(made("ssmax" + name, FakeRun("ssmax", seed, ssmax[seed - 1])));
    runs.push_back(made("softmax" + name, FakeRun("softmax", seed, softmax[seed - 1])));
  }
  return runs;
}

std::size_t lines_with(const std::string& text, const std::string& part) {
  std::istringstream lines(text);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) count += line.find(part) != std::string::npos;
  return count;
}

}  // namespace

// ------------------------------------------------------------------------------------------------ reading

TEST_CASE("a finished run is read completely", "[core][compare]") {
  const Run run = made("runs/a", FakeRun("ssmax", 7, 1.5));
  CHECK(run.normalizer == "ssmax");
  CHECK(run.seed == "7");
  CHECK(run.data_seed == "7");
  CHECK(run.settings.at("compiler") == "g++ 12.2.0");
  CHECK(run.settings.at("lr") == "0.002");
  CHECK(run.data_hashes.at("val.bin") == "bbbb");
  CHECK(run.state_text() == "finished");
  CHECK(run.steps.size() == 10);
  CHECK(run.evals.size() == 4);
  CHECK(run.tokens_at(10) == 10 * kTokensPerUpdate);
  CHECK(run.seconds == 120);
  CHECK(run.sample == "And it came");
  CHECK(run.notes.empty());
  REQUIRE(run.final_evaluation());
  CHECK(run.final_evaluation()->evaluated == 1000);  // the whole split, not the part used during training
  CHECK(run.final_evaluation()->bits_per_byte == Approx(1.5 / std::log(2)));
}

TEST_CASE("options are found under names with underscores too", "[core][compare]") {
  FakeRun fake("softmax", 1, 1.5);
  Json& options = fake.start()["options"];
  options["data_seed"] = 9;
  options.erase("data-seed");
  CHECK(made("a", fake).data_seed == "9");
}

TEST_CASE("a torn last line is left out with a note", "[core][compare]") {
  const std::string whole = FakeRun("softmax", 1, 1.5).cut_after(7).text();
  const Run run = read_text(whole + R"({"event":"step","step":8,"tok)");
  CHECK(run.steps.size() == 7);
  REQUIRE(run.notes.size() == 1);
  CHECK_THAT(run.notes.front(), has("line 11") && has("torn"));
  CHECK(run.state_text() == "unfinished at step 7");
  CHECK(run.final_evaluation() == nullptr);
}

TEST_CASE("a damaged file is refused with its line", "[core][compare]") {
  const std::string start = FakeRun("softmax", 1, 1.5).start().dump() + "\n";
  auto error_of = [](const std::string& metrics) -> std::string {
    try {
      read_text(metrics);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(error_of(""), has("no start record"));
  CHECK_THAT(error_of(start + "{\"event\":\n" + start), has("line 2") && has("JSON"));
  CHECK_THAT(error_of(start + "[1]\n"), has("line 2") && has("JSON object"));
  CHECK_THAT(error_of(start + "{\"step\":1}\n"), has("line 2") && has("'event'"));
  CHECK_THAT(error_of("{\"event\":\"step\"}\n"), has("line 1") && has("before the start record"));
  CHECK_THAT(error_of(start + R"({"event":"step","step":"one","tokens":1,"loss":1})" + "\n"),
             has("'step'") && has("\"one\"") && has("an integer"));
  CHECK_THAT(error_of(start + R"({"event":"step","step":1,"tokens":1,"loss":"low"})" + "\n"),
             has("'loss'") && has("a number or null"));
  CHECK_THAT(error_of(R"({"event":"start","schema":2})"
                      "\n"),
             has("schema 2") && has("schema 1"));
  const std::string step = R"({"event":"step","step":5,"tokens":1,"loss":1})"
                           "\n";
  CHECK_THAT(error_of(start + step + step), has("line 3") && has("step 5 after step 5"));
}

TEST_CASE("a folder without metrics is refused by name", "[core][compare]") {
  TempDir folder;
  CHECK_THROWS_WITH(read_run(folder / "nowhere"), has("nowhere' is no run") && has("metrics.jsonl"));
  std::filesystem::create_directories(folder / "odd/metrics.jsonl");
  CHECK_THROWS_AS(read_run(folder / "odd"), Error);
}

TEST_CASE("a resume record replaces what follows its step", "[core][compare]") {
  FakeRun fake("softmax", 1, 1.5);
  fake.records.pop_back();  // killed after update 10, checkpoint at 4
  fake.records.push_back({{"event", "resume"}, {"step", 4}});
  for (int step = 5; step <= 8; step++) fake.step(step, 100 + step);
  const Run run = made("a", fake);
  REQUIRE(run.steps.size() == 8);
  CHECK(run.steps[3].loss == Approx(5.5 - 0.3 * 4));
  CHECK(run.steps[4].loss == 105);
  CHECK(run.evals.size() == 1);  // those of steps 5 and 10 are void
  CHECK(run.state_text() == "unfinished at step 8");
}

TEST_CASE("a finished run that was extended ends where the extension ends", "[core][compare]") {
  FakeRun fake("softmax", 1, 1.5);
  Json end = fake.end();
  fake.records.push_back({{"event", "resume"}, {"step", 10}, {"git", "ffff"}, {"options", {{"steps", 12}}}});
  fake.step(11, 2);
  CHECK(made("a", fake).state_text() == "unfinished at step 11");
  fake.step(12, 2);
  fake.eval(12, 1.25, 1000);
  end["step"] = 12;
  fake.records.push_back(end);
  const Run run = made("a", fake);
  CHECK(run.state_text() == "finished");
  CHECK(run.final_evaluation()->loss == 1.25);
  CHECK(run.settings.at("steps") == "12");
  CHECK(run.settings.at("git") == "1a2b3c4, then ffff");
  CHECK(run.seconds == Approx(12 * 0.5));  // of all steps, not the end record's, which tells of the last part
  CHECK(run.tokens_per_s == Approx(kTokensPerUpdate / 0.5));
}

TEST_CASE("a run that starts again in the same file counts from there", "[core][compare]") {
  const Run run = read_text(FakeRun("softmax", 1, 9).cut_after(7).text() + FakeRun("softmax", 1, 1.5).text());
  CHECK(run.steps.size() == 10);
  CHECK(run.final_evaluation()->loss == 1.5);
  REQUIRE(run.notes.size() == 1);
  CHECK_THAT(run.notes.front(), has("started again"));
}

TEST_CASE("records of an unknown kind are mentioned", "[core][compare]") {
  FakeRun fake("softmax", 1, 1.5);
  fake.records.push_back({{"event", "weather"}});
  const Run run = made("a", fake);
  REQUIRE(run.notes.size() == 1);
  CHECK_THAT(run.notes.front(), has("'weather'"));
}

// ------------------------------------------------------------------------------------------------ grouping

TEST_CASE("runs are grouped by normalizer, the baseline first and the others by loss", "[core][compare]") {
  const Comparison comparison = compare_runs(three_normalizers_three_seeds(), "softmax", true);
  REQUIRE(comparison.groups.size() == 3);
  CHECK(comparison.has_baseline);
  CHECK(comparison.groups[0].label == "softmax");
  CHECK(comparison.groups[1].label == "ssmax");
  CHECK(comparison.groups[2].label == "sinmax");
  CHECK(comparison.groups[0].runs[0].path == "softmax-s1");
  CHECK(comparison.groups[0].runs[2].path == "softmax-s3");
  const Estimate& loss = comparison.groups[0].loss;  // 1.5, 1.7, 1.6: sd 0.1
  CHECK(loss.mean == Approx(1.6));
  CHECK(loss.half_width == Approx(4.30265 * 0.1 / std::sqrt(3.0)).epsilon(1e-5));
  CHECK(comparison.groups[0].bits_per_byte.mean == Approx(1.6 / std::log(2)));
  CHECK(comparison.groups[0].minutes == Approx(2));
  CHECK(remarks_text(comparison).empty());
}

TEST_CASE("differences from the baseline are paired by seed", "[core][compare]") {
  const Comparison comparison = compare_runs(three_normalizers_three_seeds(), "softmax", true);
  const Group& ssmax = comparison.groups[1];  // -0.01, -0.02, -0.03: sd 0.01
  CHECK(ssmax.pairs == 3);
  CHECK(ssmax.difference.mean == Approx(-0.02));
  CHECK(ssmax.difference.half_width == Approx(4.30265 * 0.01 / std::sqrt(3.0)).epsilon(1e-5));
  CHECK(std::isnan(comparison.groups[0].difference.mean));

  const Curve curve = difference_curve(ssmax, comparison.groups[0]);
  REQUIRE(curve.size() == 3);  // steps 0, 5, 10
  CHECK(curve[0].loss.mean == 0);
  CHECK(curve[2].tokens == 10 * kTokensPerUpdate);
  CHECK(curve[2].loss.mean == Approx(-0.02));
  CHECK(curve[2].loss.has_interval());
  CHECK_THAT(promises_text(comparison), has("paired by seed") && !has("no error bar"));
  CHECK_THAT(table_text(comparison), has("\u22120.0200") && has("\u00B10.0248"));
}

TEST_CASE("only common seeds are paired", "[core][compare]") {
  std::vector<Run> runs = three_normalizers_three_seeds();
  std::erase_if(runs, [](const Run& run) { return run.path == "softmax-s1" || run.normalizer == "sinmax"; });
  const Comparison two = compare_runs(runs, "softmax", true);
  CHECK(two.groups[1].pairs == 2);
  CHECK(two.groups[1].difference.mean == Approx(-0.025));

  std::erase_if(runs, [](const Run& run) { return run.path == "softmax-s2"; });
  const Comparison one = compare_runs(runs, "softmax", true);
  CHECK(one.groups[1].pairs == 1);
  CHECK(one.groups[1].difference.mean == Approx(-0.03));  // at seed 3
  CHECK_FALSE(one.groups[1].difference.has_interval());
  CHECK_THAT(promises_text(one), has("one seed: the difference has no error bar\n"));

  std::erase_if(runs, [](const Run& run) { return run.path == "ssmax-s3"; });
  const Comparison none = compare_runs(runs, "softmax", true);
  CHECK(none.groups[1].pairs == 0);
  CHECK(none.groups[1].difference.mean == Approx((1.49 + 1.68) / 2 - 1.60));
  CHECK_FALSE(none.groups[1].difference.has_interval());
  CHECK_THAT(promises_text(none), has("no common seed") && !has("one seed"));
  CHECK(difference_curve(none.groups[1], none.groups[0]).size() == 3);
}

TEST_CASE("one seed has no error bar, and says so", "[core][compare]") {
  const Comparison comparison = compare_runs(
      {made("a", FakeRun("softmax", 1, 1.5)), made("b", FakeRun("sa_softmax", 1, 1.52))}, "softmax", false);
  CHECK(comparison.groups[1].difference.mean == Approx(0.02));
  CHECK_THAT(promises_text(comparison), has("one seed: the difference has no error bar\n"));
  CHECK_THAT(table_text(comparison), has("+0.0200") && !has("interval"));
  CHECK_THAT(samples_text(comparison), has("sa_softmax writes:\n  And it came\n"));
}

TEST_CASE("a baseline that is not there", "[core][compare]") {
  const std::vector<Run> runs{made("a", FakeRun("ssmax", 1, 1.5)), made("b", FakeRun("sinmax", 1, 1.6))};
  CHECK_THROWS_WITH(compare_runs(runs, "sotfmax", true), has("'sotfmax'") && has("ssmax, sinmax"));
  const Comparison comparison = compare_runs(runs, "softmax", false);
  CHECK_FALSE(comparison.has_baseline);
  CHECK_THAT(remarks_text(comparison), has("No run of the baseline"));
  CHECK_THAT(table_text(comparison), !has("difference"));
  CHECK(compare_runs(runs, "sinmax", true).groups[1].difference.mean == Approx(-0.1));
}

TEST_CASE("runs without a final loss are counted and named, not averaged", "[core][compare]") {
  std::vector<Run> runs = three_normalizers_three_seeds();
  FakeRun exploded("ssmax", 4, 1.5), killed("ssmax", 5, 1.5), null_loss("ssmax", 6, 1.5);
  exploded.cut_after(6).records.push_back({{"event", "nonfinite"}, {"step", 7}, {"layer", 1}});
  killed.cut_after(8);
  null_loss.records[null_loss.records.size() - 2]["loss"] = nullptr;  // NaN in JSON
  null_loss.records[null_loss.records.size() - 3]["loss"] = nullptr;
  runs.push_back(made("exploded", exploded));
  runs.push_back(made("killed", killed));
  runs.push_back(made("null", null_loss));
  const Comparison comparison = compare_runs(runs, "softmax", true);
  const Group& ssmax = comparison.groups[1];
  CHECK(ssmax.runs.size() == 6);
  CHECK(ssmax.loss.count == 3);
  CHECK(ssmax.loss.mean == Approx((1.49 + 1.68 + 1.57) / 3));
  CHECK_THAT(table_text(comparison), has("3 of 6"));
  const std::string remarks = remarks_text(comparison);
  CHECK_THAT(remarks, has("exploded: not finite at step 7; not in the averages"));
  CHECK_THAT(remarks, has("killed: unfinished at step 8; not in the averages"));
  CHECK_THAT(remarks, has("null: finished without a finite validation loss"));
}

TEST_CASE("a normalizer of which nothing finished still has its curves", "[core][compare]") {
  const Comparison comparison = compare_runs(
      {made("a", FakeRun("softmax", 1, 1.5)), made("b", FakeRun("sinmax", 1, 9).cut_after(7))}, "softmax", true);
  const Group& sinmax = comparison.groups[1];
  CHECK(std::isnan(sinmax.loss.mean));
  CHECK(training_curve(sinmax, 1).size() == 7);
  CHECK(difference_curve(sinmax, comparison.groups[0]).size() == 2);
  CHECK_THAT(table_text(comparison), has("0 of 1"));
}

// ------------------------------------------------------------------------------------------------ what else differs

TEST_CASE("runs on different data are refused", "[core][compare]") {
  FakeRun other("ssmax", 1, 1.5);
  other.start()["data"]["sha256"]["val.bin"] = "cccc";
  const std::vector<Run> runs{made("runs/a", FakeRun("softmax", 1, 1.5)), made("runs/b", other)};
  CHECK_THROWS_AS(compare_runs(runs, "softmax", false), Error);
  CHECK_THROWS_WITH(compare_runs(runs, "softmax", false),
                    has("runs/a and runs/b") && has("val.bin") && has("bbbb") && has("cccc"));
}

TEST_CASE("runs of another precision are a group of their own", "[core][compare]") {
  FakeRun rounded("softmax", 1, 1.5);
  rounded.start()["precision"] = "bf16";
  const Comparison comparison =
      compare_runs({made("runs/a", FakeRun("softmax", 1, 1.5)), made("runs/b", rounded)}, "softmax", true);
  REQUIRE(comparison.groups.size() == 2);
  CHECK(comparison.groups[0].label == "softmax");
  CHECK(comparison.groups[1].label == "softmax-bf16");
}

TEST_CASE("what differs is flagged, harmless or not", "[core][compare]") {
  FakeRun other("ssmax", 2, 1.5);  // another normalizer and seed: what compare is for
  other.start()["options"]["lr"] = 0.004;
  other.start()["options"]["log-every"] = 10;
  other.start()["threads"] = 8;
  other.start()["precision"] = "bf16";
  const Comparison comparison =
      compare_runs({made("runs/a", FakeRun("softmax", 1, 1.5)), made("runs/b", other)}, "softmax", true);
  const std::string remarks = remarks_text(comparison);
  CHECK_THAT(remarks, has("lr: 0.002 in runs/a; 0.004 in runs/b"));
  CHECK_THAT(remarks, has("precision: bf16 in runs/b; fp32 in runs/a"));
  CHECK(remarks.find("lr: ") < remarks.find("without effect"));
  CHECK(remarks.find("log-every: 1 in") > remarks.find("without effect"));
  CHECK(remarks.find("threads: 2 in") > remarks.find("without effect"));
  CHECK_THAT(remarks, !has("seed:") && !has("normalizer:") && !has("out:"));
  CHECK_THAT(promises_text(comparison), has("differ in precision") && has("up to rounding"));
}

TEST_CASE("equal bits are promised for the same known source only", "[core][compare]") {
  auto promise = [](const char* git) {
    FakeRun a("softmax", 1, 1.5), b("ssmax", 1, 1.5);
    a.start()["git"] = b.start()["git"] = git;
    return promises_text(compare_runs({made("a", a), made("b", b)}, "softmax", true));
  };
  CHECK_THAT(promise("1a2b3c4"), has("the same bits"));
  CHECK_THAT(promise("1a2b3c4-dirty"), has("cannot be promised"));
  CHECK_THAT(promise("unknown"), has("cannot be promised"));
}

TEST_CASE("the same normalizer and seed with other options is another group", "[core][compare]") {
  FakeRun fast("softmax", 1, 1.4);
  fast.start()["options"]["lr"] = 0.004;
  const Comparison comparison =
      compare_runs({made("a", FakeRun("softmax", 1, 1.5)), made("b", fast)}, "softmax lr=0.002", true);
  REQUIRE(comparison.groups.size() == 2);
  CHECK(comparison.groups[0].label == "softmax lr=0.002");
  CHECK(comparison.groups[1].label == "softmax lr=0.004");
  CHECK(comparison.groups[1].difference.mean == Approx(-0.1));
}

TEST_CASE("noise on the initial weights makes another run, and a run from before there was the option has none",
          "[core][compare]") {
  FakeRun noisy("softmax", 1, 1.4), without("softmax", 2, 1.6);
  noisy.start()["options"]["init-noise"] = 1e-6;
  without.start()["options"]["init-noise"] = 0.0;
  const Run before = made("before", FakeRun("softmax", 1, 1.5));
  const Comparison twins = compare_runs({before, made("noisy", noisy)}, "softmax init-noise=0.0", true);
  CHECK_THAT(remarks_text(twins), has("init-noise: 0.0 in before; 1e-06 in noisy") && !has("repeats"));
  CHECK(twins.groups.size() == 2);
  const Comparison same = compare_runs({before, made("without", without)}, "softmax", true);
  CHECK(same.groups.size() == 1);
  CHECK_THAT(remarks_text(same), !has("init-noise"));
}

TEST_CASE("a repeated run is not another observation", "[core][compare]") {
  FakeRun more_threads("softmax", 1, 1.5);
  more_threads.start()["threads"] = 4;
  const Comparison same =
      compare_runs({made("a", FakeRun("softmax", 1, 1.5)), made("b", more_threads)}, "softmax", true);
  CHECK(same.groups[0].loss.count == 1);
  CHECK_THAT(remarks_text(same), has("b repeats a") && has("equal to the last bit"));
  const Comparison other =
      compare_runs({made("a", FakeRun("softmax", 1, 1.5)), made("b", FakeRun("softmax", 1, 1.75))}, "softmax", true);
  CHECK_THAT(remarks_text(other), has("differ by 0.250000"));
}

// ------------------------------------------------------------------------------------------------ curves, CSV,
// pictures

TEST_CASE("the running mean is centred and shrinks at the ends", "[core][compare]") {
  CHECK(running_mean({1, 2, 6, 4, 5}, 3) == std::vector<double>{1, 3, 4, 5, 4.5});
  CHECK(running_mean({1, 2, 6}, 1) == std::vector<double>{1, 2, 6});
  const double nan = std::nan("");
  CHECK(running_mean({1, nan, 3}, 3)[1] == 2);
  CHECK(std::isnan(running_mean({nan}, 1)[0]));
  CHECK(running_mean({}, 3).empty());
}

TEST_CASE("the CSV holds every loss in full precision", "[core][compare]") {
  FakeRun fake("softmax", 1, 0.1);
  fake.records[2]["loss"] = 1.0 / 3;
  FakeRun odd("ssmax", 2, 1.5);
  odd.records[3]["loss"] = nullptr;
  odd.records[odd.records.size() - 2]["bits_per_byte"] = 2;
  const Comparison comparison = compare_runs({made("runs/a, \"b\"", fake), made("b", odd)}, "softmax", true);
  const std::string csv = csv_text(comparison);
  CHECK(csv.substr(0, csv.find('\n')) ==
        "normalizer,seed,data_seed,run,step,tokens,kind,loss,smoothed_loss,bits_per_byte,evaluated_tokens");
  CHECK(lines_with(csv, ",train,") == 20);
  CHECK(lines_with(csv, ",val,") == 8);
  CHECK_THAT(csv, has("softmax,1,1,\"runs/a, \"\"b\"\"\",1,32,train,0.3333333333333333,0.3333333333333333,,\n"));
  CHECK_THAT(csv, has("ssmax,2,2,b,2,64,train,,,,\n"));  // the loss that was not finite
  CHECK_THAT(csv, has("ssmax,2,2,b,10,320,val,1.5,,2,1000\n"));
}

TEST_CASE("text from a model cannot command the terminal", "[core][compare]") {
  FakeRun fake("softmax", 1, 1.5);
  std::string sample = "\x1b[2J\nverse ";
  for (int i = 0; i < 300; i++) sample += "\u00e9";
  fake.end()["sample"] = sample;
  const std::string text = samples_text(compare_runs({made("a", fake)}, "softmax", true));
  CHECK_THAT(text, has("?[2J\n  verse \u00e9") && has("\u00e9 ...\n"));
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.size() < 2 * 200 + 60);
}

TEST_CASE("numbers keep their sign and their width", "[core][compare]") {
  CHECK(signed_text(-0.01234, 4) == "\u22120.0123");
  CHECK(signed_text(0.5, 2) == "+0.50");
  CHECK(signed_text(-0.00001, 4) == "0.0000");
  CHECK(signed_text(std::nan(""), 4) == "-");
  CHECK(fixed_text(1.5, 1) == "1.5");
}

TEST_CASE("the picture names what it shows", "[core][compare]") {
  const Comparison comparison = compare_runs(three_normalizers_three_seeds(), "softmax", true);
  const auto svg = draw_picture(comparison, "curves.svg");
  if (!svg) {
    WARN("gnuplot is not installed: pictures are not tested");
    return;
  }
  CHECK_THAT(*svg, has("<svg") && has("</svg>"));
  for (const char* text : {"softmax", "sinmax", "loss (nats per token)", "training tokens", "validation loss",
                           "\u22120.0200 \u00B1 0.0248"})
    CHECK_THAT(*svg, has(text));
  const auto text = draw_text(comparison, 80, 24);
  REQUIRE(text);
  CHECK_THAT(*text, has("validation loss (nats per token)") && has("ssmax"));

  // A single run, without a validation loss: nothing to subtract, and nothing to fail on.
  const Comparison single = compare_runs({made("a", FakeRun("ssmax", 1, 1.5).cut_after(0))}, "softmax", false);
  CHECK_THAT(draw_picture(single, "curves.svg").value(), has("</svg>"));
}

TEST_CASE("without gnuplot there is no picture, and no error", "[core][compare]") {
  const Comparison comparison = compare_runs(three_normalizers_three_seeds(), "softmax", true);
  const std::string path = getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const auto svg = draw_picture(comparison, "curves.svg");
  setenv("PATH", path.c_str(), 1);
  CHECK_FALSE(svg);
  CHECK_THROWS_WITH(check_picture_name("curves.pdf"), has("curves.pdf") && has(".svg or .png"));
}
