#include "train/experiments/measures.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/error.h"
#include "train/checkpoint.h"
#include "train/experiments/process.h"
#include "train/metrics.h"
#include "train/metrics_line.h"
#include "train/safetensors.h"
#include "train/score_histogram.h"
#include "train/statistics.h"

namespace fs = std::filesystem;

namespace {

constexpr size_t kPieces = 64;  // of a curve over positions

// The numbers of a CSV file, without its header.
std::vector<std::vector<double>> read_csv(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  std::vector<std::vector<double>> rows;
  while (std::getline(file, line)) {
    std::vector<double> row;
    std::istringstream words(line);
    for (std::string word; std::getline(words, word, ',');) row.push_back(std::stod(word));
    rows.push_back(row);
  }
  return rows;
}

// What build/<normalizer>/evaluate writes with --csv and the measure's options, of which "data" is a name; without it,
// the run's.
std::vector<std::vector<double>> evaluated_csv(const MeasureSpec& measure, const MeasuredRun& run,
                                               const std::vector<std::string>& more) {
  const std::string csv = run.folder + "." + measure.name + ".csv", log = run.folder + "." + measure.name + ".log";
  fs::remove(log);
  Options options = measure.options;
  const auto data = options.find("data");
  const std::string folder =
      data == options.end() ? run.data : (fs::path(run.data).parent_path() / data->second).string();
  options.erase("data");
  std::vector<std::string> words{run.build + "/" + run.plan.normalizer + "/evaluate",
                                 "--checkpoint",
                                 run.checkpoint,
                                 "--data",
                                 folder,
                                 "--csv",
                                 csv,
                                 "--threads",
                                 std::to_string(run.threads)};
  words.insert(words.end(), more.begin(), more.end());
  const int exit_code = run_process(with_options(words, options), log);
  stop_if_interrupted();
  if (exit_code != 0) throw Failure(run.plan.name + ", " + measure.name + ": evaluate failed: " + last_line(log));
  return read_csv(csv);
}

std::vector<Measurement> by_position(const MeasureSpec& measure, const MeasuredRun& run) {
  const auto rows = evaluated_csv(measure, run, {"--by-position"});  // position, nats, tokens
  std::vector<Measurement> result;
  const size_t pieces = std::min(kPieces, rows.size());
  for (size_t piece = 0; piece < pieces; piece++) {
    const size_t begin = rows.size() * piece / pieces, end = rows.size() * (piece + 1) / pieces;
    double nats = 0, tokens = 0, position = 0;
    for (size_t i = begin; i < end; i++) {
      position += rows[i][0] / double(end - begin);
      nats += rows[i][1] * rows[i][2];
      tokens += rows[i][2];
    }
    result.push_back({run.plan.name, measure.name, position, 0, nats / tokens});
  }
  return result;
}

std::vector<Measurement> needle(const MeasureSpec& measure, const MeasuredRun& run) {
  const std::string heads_csv = run.folder + "." + measure.name + ".heads.csv";
  const auto rows = evaluated_csv(measure, run, {"--needle", "--heads-csv", heads_csv});
  std::vector<Measurement> result;
  for (const std::vector<double>& row : rows) {  // length, depth, exact, first digit, top score
    result.push_back({run.plan.name, measure.name, row[0], row[1], row[2]});
    result.push_back({run.plan.name, measure.name + ".first-digit", row[0], row[1], row[3]});
    result.push_back({run.plan.name, measure.name + ".top-score", row[0], row[1], row[4]});
  }
  std::map<double, std::map<std::pair<double, double>, std::vector<double>>> heads;  // by length, then layer and head
  for (const std::vector<double>& row : read_csv(heads_csv)) heads[row[0]][{row[2], row[3]}].push_back(row[4]);
  for (const auto& [length, scores] : heads) {
    std::vector<double> means;
    for (const auto& [head, depths] : scores) means.push_back(estimate(depths).mean);
    std::sort(means.rbegin(), means.rend());
    for (size_t rank = 0; rank < means.size(); rank++)
      result.push_back({run.plan.name, measure.name + ".heads", double(rank + 1), length, means[rank]});
  }
  return result;
}

std::vector<Measurement> scales(const MeasureSpec& measure, const MeasuredRun& run) {
  const FoundCheckpoint found = find_checkpoint(run.checkpoint, CheckpointUse::kWeights);
  const SafetensorsFile file((fs::path(found.path) / "model.safetensors").string());
  std::vector<Measurement> result;
  for (int layer = 0;; layer++) {
    const std::string prefix = "h." + std::to_string(layer) + ".attn.normalizer.";
    if (!file.contains(prefix + "scale")) break;
    for (const char* which : {"scale", "bias"}) {
      if (!file.contains(prefix + which)) continue;
      std::vector<float> values(file.size(prefix + which));
      file.read(prefix + which, values.data());
      const std::string quantity = measure.name + (which == std::string("bias") ? ".bias" : "");
      for (size_t head = 0; head < values.size(); head++)
        result.push_back({run.plan.name, quantity, double(layer), double(head), double(values[head])});
    }
  }
  if (result.empty()) result.push_back({run.plan.name, measure.name, 0, 0, kMissing});  // it learns none
  return result;
}

std::vector<Measurement> length_scale(const MeasureSpec& measure, const MeasuredRun& run) {
  const FoundCheckpoint found = find_checkpoint(run.checkpoint, CheckpointUse::kWeights);
  const SafetensorsFile file((fs::path(found.path) / "model.safetensors").string());
  const std::string name = "normalizer.length_scale";
  if (!file.contains(name)) return {{run.plan.name, measure.name, 0, 0, kMissing}};  // it learns none
  std::vector<float> values(file.size(name));
  file.read(name, values.data());
  std::vector<Measurement> result;
  for (size_t n = 1; n <= values.size(); n++)
    result.push_back({run.plan.name, measure.name, double(n), 0, double(values[n - 1])});
  return result;
}

// What the attention records of a run say.
std::vector<Measurement> attention(const MeasureSpec& measure, const MeasuredRun& run) {
  const std::string path = metrics_path(run.folder);
  std::ifstream file(path);
  using Place = std::pair<double, double>;  // update, layer and maybe head
  std::map<std::string, std::map<Place, std::vector<double>>> values;
  std::map<double, ScoreHistogram> scores;  // by update
  bool complete = true;
  for (std::string line; next_metrics_line(file, path, &line, &complete);) {
    if (line.find("\"attention\"") == std::string::npos) continue;
    const auto record = nlohmann::json::parse(line);
    if (record["event"] != "attention") continue;
    const double step = record["step"], layer = record["layer"], head = record["head"];
    for (const char* field : {"jacobian", "saturated"})
      if (record[field].is_number()) values[field][{step, layer + head / 100}].push_back(record[field]);
    for (const char* field : {"entropy", "row_sum_mean", "dweight_norm", "dscore_norm"})
      if (record[field].is_number()) values[field][{step, layer}].push_back(record[field]);
    const auto& histogram = record["score_histogram"];
    for (size_t i = 0; i < histogram["counts"].size(); i++) {
      const double bin = histogram["first"].get<double>() + double(i), width = histogram["width"];
      scores[step].add((bin + 0.5) * width, histogram["counts"][i]);
    }
  }
  std::vector<Measurement> result;
  for (const auto& [field, places] : values)
    for (const auto& [place, heads] : places)
      result.push_back({run.plan.name, field == "jacobian" ? measure.name : measure.name + "." + field, place.first,
                        place.second, estimate(heads).mean});
  if (scores.empty()) return result;
  auto middle = scores.begin();
  std::advance(middle, scores.size() / 2);
  for (const auto& [step, histogram] : {*scores.begin(), *middle, *scores.rbegin()}) {
    const nlohmann::ordered_json bins = histogram.to_json();
    const double width = bins["width"];
    double all = 0;
    for (const auto& count : bins["counts"]) all += count.get<double>();
    for (size_t i = 0; i < bins["counts"].size(); i++)
      result.push_back({run.plan.name, measure.name + ".scores",
                        (bins["first"].get<double>() + double(i) + 0.5) * width, step,
                        bins["counts"][i].get<double>() / all / width});
  }
  return result;
}

}  // namespace

std::vector<Measurement> measured(const MeasureSpec& measure, const MeasuredRun& run) {
  if (measure.kind == "by-position") return by_position(measure, run);
  if (measure.kind == "needle") return needle(measure, run);
  if (measure.kind == "scales") return scales(measure, run);
  if (measure.kind == "attention") return attention(measure, run);
  if (measure.kind == "length-scale") return length_scale(measure, run);
  throw Error(measure.name + " has the kind " + measure.kind + ", which nothing measures");
}
