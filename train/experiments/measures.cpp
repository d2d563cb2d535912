#include "train/experiments/measures.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "data/error.h"
#include "train/checkpoint.h"
#include "train/experiments/process.h"
#include "train/safetensors.h"

namespace fs = std::filesystem;

namespace {

constexpr size_t kPieces = 64;  // of a curve over positions

// What build/<normalizer>/evaluate writes with --csv, as rows of numbers.
std::vector<std::vector<double>> evaluated_csv(const MeasureSpec& measure, const MeasuredRun& run,
                                               std::vector<std::string> more) {
  const std::string csv = run.folder + "." + measure.name + ".csv", log = run.folder + "." + measure.name + ".log";
  fs::remove(log);
  std::vector<std::string> words{
      run.build + "/" + (measure.program.empty() ? run.plan.normalizer : measure.program) + "/evaluate",
      "--checkpoint",
      run.folder,
      "--data",
      run.data,
      "--threads",
      std::to_string(run.threads),
      "--csv",
      csv};
  words.insert(words.end(), more.begin(), more.end());
  for (const auto& [name, value] : measure.options) words.insert(words.end(), {"--" + name, value});
  if (run_process(words, log) != 0)
    throw Failure(run.plan.name + ", " + measure.name + ": evaluate failed: " + last_line(log));
  std::ifstream file(csv);
  std::string line;
  std::getline(file, line);  // the header
  std::vector<std::vector<double>> rows;
  while (std::getline(file, line)) {
    std::vector<double> row;
    std::istringstream words_of_line(line);
    for (std::string word; std::getline(words_of_line, word, ',');) row.push_back(std::stod(word));
    rows.push_back(row);
  }
  return rows;
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

std::vector<Measurement> scales(const MeasureSpec& measure, const MeasuredRun& run) {
  const FoundCheckpoint found = find_checkpoint(run.folder, CheckpointUse::kWeights);
  const SafetensorsFile file((fs::path(found.path) / "model.safetensors").string());
  std::vector<Measurement> result;
  for (int layer = 0;; layer++) {
    const std::string prefix = "h." + std::to_string(layer) + ".attn.normalizer.";
    if (!file.contains(prefix + "scale")) break;
    for (int which = 0; which < 2; which++) {
      const std::string name = prefix + (which == 0 ? "scale" : "bias");
      if (!file.contains(name)) continue;
      std::vector<float> values(file.size(name));
      file.read(name, values.data());
      for (size_t head = 0; head < values.size(); head++)
        result.push_back(
            {run.plan.name, measure.name, double(layer * values.size() + head), double(which), double(values[head])});
    }
  }
  if (result.empty()) result.push_back({run.plan.name, measure.name, 0, 0, kMissing});  // it learns none
  return result;
}

std::vector<Measurement> length_scale(const MeasureSpec& measure, const MeasuredRun& run) {
  const FoundCheckpoint found = find_checkpoint(run.folder, CheckpointUse::kWeights);
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

}  // namespace

std::vector<Measurement> measured(const MeasureSpec& measure, const MeasuredRun& run) {
  if (measure.kind == "by-position") return by_position(measure, run);
  if (measure.kind == "scales") return scales(measure, run);
  if (measure.kind == "length-scale") return length_scale(measure, run);
  throw Error(measure.name + " has the kind " + measure.kind + ", which no program measures yet");
}
