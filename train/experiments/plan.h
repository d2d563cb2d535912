// What an experiment asks for: train/experiments/NAME/experiment.json, read strictly, and the runs that follow from it.
// train/experiments/README.md describes the keys.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using Options = std::map<std::string, std::string>;  // of train, by name without dashes: "lr" -> "0.002"

// The words of a command line with these options behind them; flags as --name=true.
std::vector<std::string> with_options(std::vector<std::string> words, const Options& options);

// The data of prepare's option --mix: "kjv" of "kjv:0.5".
std::string mixed_data(const std::string& mix);

// One training run. Everything that changes its numbers is in here, and nothing else.
struct RunPlan {
  std::string name;  // "kjv-ssmax-lr0.002-s3": unique in the experiment
  std::string group, normalizer, data, variant;
  double lr = 0;
  uint64_t seed = 1;
  Options options;  // all but --data, --out and --threads

  // Where it starts from another run: `start` is "init-from" or "continue-from", `start_step` the checkpoint's step.
  std::shared_ptr<const RunPlan> parent;
  std::string start;
  int start_step = 0;

  std::string options_text() const;  // "lr=0.002 seed=3 ...", by name; the first word is the normalizer
  std::string hash() const;          // 12 hexadecimal digits of the SHA-256 of options_text() and the data's name
};

// One more evaluation of the trained model.
struct MeasureSpec {
  std::string name;  // of the quantity in measurements.csv
  std::string kind;  // "by-position", "needle", "attention", "scales", "length-scale"
  Options options;   // of evaluate

  std::string hash() const;  // 8 hexadecimal digits, of kind and options
};

// One set of runs: every normalizer x variant x seed at the rate named.
struct GroupSpec {
  std::string name, data;
  std::vector<std::string> normalizers;
  uint64_t first_seed = 1, last_seed = 1;
  std::vector<std::string> rates;  // "shared": the baseline's tuned rate; "tuned": each normalizer's own; or a number
  std::map<std::string, Options> variants;  // by name; one, without a name, unless the file gives some
  Options options;
  std::vector<MeasureSpec> measures;
  double rate_factor = 1;  // of all its rates: for a group that starts from other runs
  // Each run starts from the run of `start_group`, a group before this one, with its seed, at that group's first rate,
  // in its first variant, and with the normalizer named; "" for the run's own. See RunPlan for `start`; "" for none.
  std::string start, start_group, start_normalizer;
  int start_step = 0;
};

// How rates are chosen: on split `val`, seeds of their own, the mean over them; the grid is extended by its factor 2
// while the best rate lies at an end.
struct TuneSpec {
  std::string data;
  std::vector<std::string> normalizers;
  std::vector<double> grid;
  uint64_t first_seed = 101, last_seed = 101;
};

// What a source says, in our words, and the normalizer of the one comparison that judges it, named before the runs; ""
// where there is none.
struct Claim {
  std::string text, source, primary;
};

struct Configuration {
  std::string name;             // the folder's
  std::string folder;           // train/experiments/noise
  std::string title, question;  // for people
  std::vector<Claim> claims;    // at least one; each is judged by itself
  std::string remark;           // what a reader has to know beside the tables; may be empty
  std::string baseline = "softmax";
  Options options;  // of every run
  // Options of prepare for each data that is no corpus, whose name then ends in a hash of them; "mix" names a corpus or
  // other data of this list, "kjv:0.5".
  std::map<std::string, Options> data;
  std::optional<TuneSpec> tune;
  std::vector<GroupSpec> groups;
};

// Whether a claim names the normalizer for its comparison.
bool is_primary(const Configuration& configuration, const std::string& normalizer);

// Error, one sentence, for anything that is missing, unknown or not as it must be.
Configuration read_configuration(const std::string& folder, const std::string& scale);

// T, the sequence length that every run of the experiment is trained with. Error unless the options give it.
int sequence_length(const Configuration& configuration);

// Every name of train/experiments/, in the order in which they are run: that of train/experiments/order.txt.
std::vector<std::string> experiment_names(const std::string& root);

// Mean final validation loss of a tuning run of this name; nothing where it has not been run. Infinity: it diverged.
using TuningLoss = std::function<std::optional<double>(const RunPlan&)>;

inline constexpr const char* kTuning = "tuning";  // the group of runs that choose a rate

struct Plan {
  std::vector<RunPlan> tuning, runs;
  std::map<std::string, std::vector<std::string>> members;  // names of `runs` by group; groups may share a run
  std::map<std::string, double> rates;  // the tuned rate by normalizer, once all of its runs are there
  bool complete = true;        // false while a rate is open: then `runs` holds only those without open rates, and
  std::vector<RunPlan> later;  // these follow, at a rate that is not known yet (lr 0)
};
Plan make_plan(const Configuration& configuration, const TuningLoss& tuning_loss);
