#include "train/experiments/experiment.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include "data/dataset.h"
#include "data/error.h"
#include "data/sha256.h"
#include "train/command_line.h"

namespace fs = std::filesystem;

TrainOptions effective_options(const RunPlan& run) {
  Options options = run.options;
  if (run.lr == 0) options.erase("lr");
  std::vector<std::string> words = with_options({"train", "--data", run.data}, options);
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse_train_options(int(argv.size()), argv.data(), run.normalizer);
}

std::string data_folder(const RunnerOptions& options, const std::string& data) {
  return (fs::path(options.data) / data).string();
}

namespace {

// Of things by name.
std::string hash_of_hashes(const std::map<std::string, std::string>& hashes) {
  std::string text;
  for (const auto& [file, hash] : hashes) text += file + " " + hash + "\n";
  return sha256_hex(text).substr(0, 12);
}

// All that a run is trained on: its own data, and that of the runs that it starts from.
std::set<std::string> data_of(const RunPlan& run) {
  std::set<std::string> data;
  for (const RunPlan* each = &run; each; each = each->parent.get()) data.insert(each->data);
  return data;
}

}  // namespace

std::string data_hash(const RunnerOptions& options, const std::string& data) {
  const std::string folder = data_folder(options, data);
  if (!fs::exists(fs::path(folder) / "tokens.json")) return "";
  return hash_of_hashes(load_dataset(folder, 0).sha256);
}

std::string data_hash(const RunnerOptions& options, const RunPlan& run) {
  std::map<std::string, std::string> hashes;
  for (const std::string& data : data_of(run))
    if ((hashes[data] = data_hash(options, data)).empty()) return "";
  return hashes.size() == 1 ? hashes.begin()->second : hash_of_hashes(hashes);
}

std::string measure_hash(const RunnerOptions& options, const MeasureSpec& measure) {
  const auto data = measure.options.find("data");
  const std::string hash = data == measure.options.end() ? "" : data_hash(options, data->second);
  return measure.hash() + (hash.empty() ? "" : "@" + hash);
}

bool is_same_measure(const std::string& recorded, const std::string& asked) {
  return recorded == asked || recorded.starts_with(asked + "@");
}

Experiment::Experiment(const RunnerOptions& options, const std::string& name)
    : configuration(read_configuration((fs::path(options.root) / name).string(), options.scale)),
      records(configuration.folder, options.scale),
      scale(options.scale) {
  update_plan();
  for (const std::vector<RunPlan>* runs : {&plan.tuning, &plan.runs, &plan.later})
    for (const RunPlan& run : *runs) try {
        effective_options(run);
      } catch (const Error& error) {
        throw Error("'" + configuration.folder + "/experiment.json' has a run " + run.name +
                    " that train refuses: " + error.what());
      }
}

void Experiment::update_plan() {
  plan = make_plan(configuration, [&](const RunPlan& run) -> std::optional<double> {
    const ResultRow* row = records.find(run.name);
    if (!row) return std::nullopt;
    return row->diverged() ? HUGE_VAL : row->val_loss;
  });
}

std::vector<const RunPlan*> Experiment::missing() const {
  std::vector<const RunPlan*> result;
  for (const RunPlan* run : all_runs()) {
    const ResultRow* row = records.find(run->name);
    bool complete = row != nullptr;
    if (row && !row->diverged())
      for (const MeasureSpec& measure : measures_of(*run))
        complete = complete && !row->measure_hash(measure.name).empty();
    if (!complete) result.push_back(run);
  }
  return result;
}

std::vector<MeasureSpec> Experiment::measures_of(const RunPlan& run) const {
  std::vector<MeasureSpec> result;
  for (const GroupSpec& group : configuration.groups) {
    const auto members = plan.members.find(group.name);
    if (members == plan.members.end() || run.group == kTuning) continue;
    if (std::find(members->second.begin(), members->second.end(), run.name) == members->second.end()) continue;
    for (const MeasureSpec& measure : group.measures) {  // the same name is the same measure
      const auto is_it = [&](const MeasureSpec& other) { return other.name == measure.name; };
      if (std::none_of(result.begin(), result.end(), is_it)) result.push_back(measure);
    }
  }
  return result;
}

std::vector<const RunPlan*> Experiment::all_runs() const {
  std::vector<const RunPlan*> result;
  for (const std::vector<RunPlan>* runs : {&plan.tuning, &plan.runs})
    for (const RunPlan& run : *runs) result.push_back(&run);
  return result;
}

namespace {

std::string what_differs(const std::string& recorded, const std::string& asked) {
  auto words = [](const std::string& text) {
    std::istringstream stream(text);
    std::set<std::string> result;
    for (std::string word; stream >> word;) result.insert(word);
    return result;
  };
  auto without = [](const std::set<std::string>& some, const std::set<std::string>& others) {
    std::vector<std::string> left;
    for (const std::string& word : some)
      if (!others.count(word)) left.push_back(word);
    return left.empty() ? "nothing more" : list_of(left, " and ");
  };
  const std::set<std::string> a = words(recorded), b = words(asked);
  return "was recorded with " + without(a, b) + ", and experiment.json asks for " + without(b, a);
}

// As words of a command, or of a sentence.
std::string folders_of(const RunnerOptions& options, const std::set<std::string>& data, const std::string& between) {
  std::string text;
  for (const std::string& each : data) text += (text.empty() ? "" : between) + shell_word(data_folder(options, each));
  return text;
}

struct OtherRow {
  const ResultRow* row;
  std::string why, way_back;  // the command that makes the row right again
};
std::vector<OtherRow> rows_of_other_options(const Experiment& experiment, const RunnerOptions& options) {
  std::vector<OtherRow> result;
  const std::string checkout =
      "git checkout " + shell_word(experiment.configuration.folder + "/experiment.json") +
      (options.scale == "small" ? "" : " " + shell_word((fs::path(options.root) / (options.scale + ".json")).string()));
  std::map<std::set<std::string>, std::string> hashes;  // by names of data
  for (const RunPlan* run : experiment.all_runs()) {
    const ResultRow* row = experiment.records.find(run->name);
    if (!row) continue;
    const std::set<std::string> data = data_of(*run);
    const auto [hash, is_new] = hashes.emplace(data, "");
    if (is_new) hash->second = data_hash(options, *run);
    if (row->options_hash != run->hash())
      result.push_back({row, what_differs(row->options, run->options_text()), checkout});
    else if (!hash->second.empty() && hash->second != row->data_hash)
      result.push_back({row,
                        "was recorded on other data than " + folders_of(options, data, " and ") + " holds (" +
                            row->data_hash + ", not " + hash->second + ")",
                        "rm -r " + folders_of(options, data, " ")});
    else
      for (const MeasureSpec& measure : experiment.measures_of(*run)) {
        const std::string taken = row->measure_hash(measure.name), asked = measure_hash(options, measure);
        if (taken.empty() || is_same_measure(taken, asked)) continue;
        if (taken.substr(0, taken.find('@')) != measure.hash())
          result.push_back({row, "was measured with other options of '" + measure.name + "'", checkout});
        else
          result.push_back({row,
                            "was measured for '" + measure.name + "' on other data than " +
                                folders_of(options, {measure.options.at("data")}, "") + " holds (" + taken + ", not " +
                                asked + ")",
                            "rm -r " + folders_of(options, {measure.options.at("data")}, "")});
        break;
      }
  }
  // While a rate is open, rows at the rate that it had are not planned, and will be.
  if (!experiment.plan.complete) return result;
  std::set<std::string> planned;
  for (const RunPlan* run : experiment.all_runs()) planned.insert(run->name);
  for (const ResultRow& row : experiment.records.rows())
    if (!planned.count(row.run))
      result.push_back({&row, "is recorded, and experiment.json asks for no such run", checkout});
  return result;
}

// The folders that are not the usual ones, as a variable of make.
std::string folders_given(const RunnerOptions& options) {
  const RunnerOptions usual;
  std::string words;
  for (const auto& [name, given, otherwise] :
       {std::tuple("root", options.root, usual.root), std::tuple("runs", options.runs, usual.runs),
        std::tuple("data", options.data, usual.data)})
    if (given != otherwise) words += (words.empty() ? "--" : " --") + std::string(name) + " " + shell_word(given);
  return words.empty() ? "" : " REPRODUCE=\"" + words + "\"";
}

}  // namespace

void require_same_options(const Experiment& experiment, const RunnerOptions& options) {
  const std::vector<OtherRow> rows = rows_of_other_options(experiment, options);
  if (rows.empty()) return;
  const std::string name = experiment.configuration.name;
  throw Error(name + ": run " + rows[0].row->run + " " + rows[0].why +
              (rows.size() > 1 ? " (and " + std::to_string(rows.size() - 1) + " runs more)" : "") +
              "; keep what is recorded with '" + rows[0].way_back +
              "', or run them again with 'make reproduce EXPERIMENT=" + name +
              (options.scale == "small" ? "" : " SCALE=" + options.scale) + " RESTART=1" + folders_given(options) +
              "'");
}

void forget_other_options(Experiment& experiment, const RunnerOptions& options) {
  std::vector<std::string> names;
  for (const OtherRow& other : rows_of_other_options(experiment, options)) names.push_back(other.row->run);
  if (!names.empty()) experiment.records.remove(names);
  experiment.update_plan();
}

std::vector<std::string> normalizers_of(const Experiment& experiment) {
  std::set<std::string> names;
  if (experiment.configuration.tune)
    names.insert(experiment.configuration.tune->normalizers.begin(), experiment.configuration.tune->normalizers.end());
  for (const GroupSpec& group : experiment.configuration.groups) {
    names.insert(group.normalizers.begin(), group.normalizers.end());
    if (!group.start_normalizer.empty()) names.insert(group.start_normalizer);
  }
  return {names.begin(), names.end()};
}
