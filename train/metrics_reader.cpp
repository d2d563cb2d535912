#include "train/metrics_reader.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "data/error.h"
#include "data/strict_json.h"
#include "train/metrics_line.h"
#include "train/options.h"
#include "train/variant.h"

namespace {

using Json = nlohmann::json;

constexpr int kSchema = 1;
constexpr std::ptrdiff_t kMostEvaluations = 100;  // of one step: train makes two
constexpr size_t kMostUnknownEvents = 3;          // that are named
constexpr std::uint64_t kMostCount = 1ULL << 53;  // of steps and tokens: a double counts them exactly
constexpr const char* kEnvironment[] = {"device", "precision", "tf32", "simd", "threads", "version", "git", "compiler"};

// A setting or a name, fit for a table.
std::string text_of_value(const Json& value) {
  return value.is_string() ? printable(shortened(value.get<std::string>(), 200)) : shown(value);
}

// Builds a Run from its records, in the order of the file.
class Reader {
 public:
  explicit Reader(const std::string& folder) { run_.path = printable(folder); }

  Run read(std::istream& file, const std::string& file_name) {
    std::string line;
    bool complete = true;
    for (line_number_ = 1; next_metrics_line(file, file_name, &line, &complete); line_number_++) {
      place_ = file_name + " line " + std::to_string(line_number_);
      read_line(line, complete);
    }
    if (file.bad()) throw Error("'" + file_name + "' cannot be read to its end (" + std::strerror(errno) + ")");
    if (!started_) throw Error("'" + file_name + "' has no start record; a run is a folder that train wrote");
    for (const std::string& event : unknown_events_)
      run_.notes.push_back("records of the unknown event " + quoted(event) + " were left out");
    if (more_unknown_events_) run_.notes.push_back("so were records of other unknown events");
    finish_tokens_per_update();
    if (resumed_ && run_.state == RunState::kFinished) time_all_parts();
    return std::move(run_);
  }

 private:
  void read_line(const std::string& line, bool complete) {
    if (!complete && !Json::accept(line)) {
      run_.notes.push_back("the last line of metrics.jsonl (line " + std::to_string(line_number_) +
                           ") is torn and was left out");
      return;
    }
    const Json record = parse_strict_json<Json>(line, place_);
    if (!record.is_object()) throw Error(place_ + " is not a JSON object; every line of metrics.jsonl must be one");
    const std::string event = text(record, "event");
    if (event != "start" && !started_)
      throw Error(place_ + " is a record " + quoted(event) + " before the start record");
    if (event == "start") {
      start(record);
    } else if (event == "step") {
      step(record);
    } else if (event == "eval") {
      evaluation(record);
    } else if (event == "resume") {
      resume(record);
    } else if (event == "nonfinite") {
      run_.state = RunState::kNonFinite;
      see_step(count(record, "step"));
    } else if (event == "end") {
      end(record);
    } else if (event != "attention" && event != "checkpoint") {
      if (unknown_events_.size() < kMostUnknownEvents)
        unknown_events_.insert(event);
      else
        more_unknown_events_ |= unknown_events_.count(event) == 0;
    }
  }

  void start(const Json& record) {
    if (const auto schema = count(record, "schema"); schema != kSchema)
      throw Error(place_ + " has schema " + std::to_string(schema) + "; this program reads schema " +
                  std::to_string(kSchema));
    if (started_) {
      const std::string path = run_.path;
      run_ = Run();
      run_.path = path;
      run_.notes.push_back("the run was started again at line " + std::to_string(line_number_) +
                           " of metrics.jsonl; what stands before it was left out");
    }
    started_ = true;
    resumed_ = false;
    run_.normalizer = variant_name(text_of_value(text(record, "normalizer")), optional_text(record, "precision"));
    read_settings(record);
    add_newer_options();
    if (!run_.settings.count("seed")) throw Error(place_ + " lacks the option 'seed'");
    run_.seed = run_.settings["seed"];
    run_.data_seed = run_.settings.count("data-seed") ? run_.settings["data-seed"] : run_.seed;
    if (record.contains("data") && record["data"].contains("sha256"))
      for (const auto& [name, hash] : record["data"]["sha256"].items())
        run_.data_hashes[text_of_value(name)] = text_of_value(hash);
  }

  // Device, compiler and the like, and the options. A resumed run that changes one of the former keeps both values.
  void read_settings(const Json& record) {
    for (const char* key : kEnvironment) {
      if (!record.contains(key)) continue;
      std::string& setting = run_.settings[key];
      const std::string value = text_of_value(record[key]);
      if (setting.empty())
        setting = value;
      else if (setting != value && !setting.ends_with(", then " + value))
        setting += ", then " + value;
    }
    if (record.contains("options"))
      for (const auto& [key, value] : record["options"].items()) {
        std::string name = text_of_value(key);
        for (char& letter : name) letter = letter == '_' ? '-' : letter;
        if (!record.contains(name)) run_.settings[name] = text_of_value(value);  // threads in use, not those asked for
      }
  }

  // A run from before there was an option is one without it.
  void add_newer_options() {
    const nlohmann::ordered_json newer = newer_options();
    for (const auto& [name, value] : newer.items()) run_.settings.emplace(name, text_of_value(value));
  }

  void step(const Json& record) {
    const StepRecord read{count(record, "step"), number(record, "tokens"), number(record, "loss"),
                          optional_number(record, "dt_ms")};
    if (!run_.steps.empty() && read.step <= run_.steps.back().step)
      throw Error(place_ + " is step " + std::to_string(read.step) + " after step " +
                  std::to_string(run_.steps.back().step) + " without a resume record; two runs wrote to this file");
    run_.steps.push_back(read);
    see_step(read.step);
  }

  void evaluation(const Json& record) {
    EvalRecord read{count(record, "step"), text_of_value(text(record, "split")), number(record, "loss"), Run::kUnknown,
                    count(record, "tokens")};
    if (record.contains("bits_per_byte")) read.bits_per_byte = number(record, "bits_per_byte");
    if (!run_.evals.empty() && read.step < run_.evals.back().step)
      throw Error(place_ + " evaluates step " + std::to_string(read.step) + " after step " +
                  std::to_string(run_.evals.back().step) + " without a resume record; two runs wrote to this file");
    const auto same = [&](const EvalRecord& old) { return old.split == read.split && old.evaluated == read.evaluated; };
    auto first = run_.evals.end();  // of this step
    while (first != run_.evals.begin() && std::prev(first)->step == read.step) --first;
    if (run_.evals.end() - first > kMostEvaluations)
      throw Error(place_ + " is one of more than " + std::to_string(kMostEvaluations) + " evaluations of step " +
                  std::to_string(read.step));
    run_.evals.erase(std::remove_if(first, run_.evals.end(), same), run_.evals.end());
    run_.evals.push_back(read);
    see_step(read.step);
  }

  void resume(const Json& record) {
    const std::int64_t from = count(record, "step");
    while (!run_.steps.empty() && run_.steps.back().step > from) run_.steps.pop_back();
    while (!run_.evals.empty() && run_.evals.back().step > from) run_.evals.pop_back();
    resumed_ = true;
    run_.state = RunState::kUnfinished;
    run_.seconds = run_.tokens_per_s = run_.peak_bytes = Run::kUnknown;
    run_.sample.clear();
    run_.last_step = from;
    read_settings(record);
  }

  void end(const Json& record) {
    see_step(count(record, "step"));
    const std::string status = text(record, "status");
    if (status == "done") run_.state = RunState::kFinished;
    run_.seconds = optional_number(record, "seconds");
    run_.tokens_per_s = optional_number(record, "tokens_per_s");
    run_.peak_bytes = optional_number(record, "peak_bytes");
    if (record.contains("sample") && record["sample"].is_string()) run_.sample = record["sample"];
  }

  void see_step(std::int64_t step) { run_.last_step = std::max(run_.last_step, step); }

  // From the options, else from the records; evaluations are placed on the axis of tokens by it.
  void finish_tokens_per_update() {
    auto option = [&](const char* name) {
      auto found = run_.settings.find(name);
      return found == run_.settings.end() ? 0.0 : std::strtod(found->second.c_str(), nullptr);
    };
    double tokens = option("batch-size") * option("seq-len") * option("grad-accum");
    if (tokens == 0 && !run_.steps.empty() && run_.steps.back().step > 0)
      tokens = run_.steps.back().tokens / double(run_.steps.back().step);
    if (!(0 <= tokens && tokens <= double(kMostCount)))
      throw Error("'" + run_.path + "' records a number of tokens for each update that no run of train can have");
    run_.tokens_per_update = std::llround(tokens);
  }

  // The end record of a resumed run tells of its last part only; the steps tell of all.
  void time_all_parts() {
    double seconds = 0;
    for (const StepRecord& record : run_.steps) seconds += record.milliseconds / 1000;
    run_.seconds = seconds;
    run_.tokens_per_s = static_cast<double>(run_.steps.size()) * static_cast<double>(run_.tokens_per_update) / seconds;
  }

  const Json& member(const Json& record, const char* key) const {
    if (!record.is_object() || !record.contains(key)) throw Error(place_ + " lacks '" + key + "'");
    return record[key];
  }
  std::string text(const Json& record, const char* key) const {
    const Json& value = member(record, key);
    if (!value.is_string()) throw bad(key, value, "a text");
    return value;
  }
  std::string optional_text(const Json& record, const char* key) const {
    return record.contains(key) ? text_of_value(text(record, key)) : "";
  }
  std::int64_t count(const Json& record, const char* key) const {
    const Json& value = member(record, key);
    if (!is_natural(value) || value.get<std::uint64_t>() > kMostCount)
      throw bad(key, value, "an integer from 0 to 2^53");
    return value;
  }
  double number(const Json& record, const char* key) const {  // null stands for NaN and infinity, which JSON lacks
    const Json& value = member(record, key);
    if (value.is_null()) return Run::kUnknown;
    if (!value.is_number()) throw bad(key, value, "a number or null");
    return value;
  }
  double optional_number(const Json& record, const char* key) const {
    return record.contains(key) ? number(record, key) : Run::kUnknown;
  }
  Error bad(const char* key, const Json& value, const char* allowed) const {
    return Error(place_ + " has '" + key + "' = " + shown(value) + "; it must be " + allowed);
  }

  Run run_;
  bool started_ = false, resumed_ = false;
  std::int64_t line_number_ = 0;
  std::string place_;                     // "RUN/metrics.jsonl line 7"
  std::set<std::string> unknown_events_;  // the first few
  bool more_unknown_events_ = false;
};

}  // namespace

std::string Run::state_text() const {
  if (state == RunState::kFinished) return "finished";
  const std::string at = " at step " + std::to_string(last_step);
  return (state == RunState::kNonFinite ? "not finite" : "unfinished") + at;
}

const EvalRecord* Run::final_evaluation() const {
  const EvalRecord* best = nullptr;
  if (state != RunState::kFinished) return best;
  for (const EvalRecord& eval : evals)
    if (eval.split == "val" && eval.step == last_step && std::isfinite(eval.loss))
      if (!best || eval.evaluated > best->evaluated) best = &eval;
  return best;
}

Run read_metrics(std::istream& file, const std::string& file_name, const std::string& folder) {
  return Reader(folder).read(file, file_name);
}

Run read_run(const std::string& folder) {
  const std::string file_name = (std::filesystem::path(folder) / "metrics.jsonl").string();
  if (!std::filesystem::is_regular_file(file_name))
    throw Error("'" + folder + "' is no run: it has no file metrics.jsonl; a run is a folder that train wrote");
  std::ifstream file(file_name, std::ios::binary);
  if (!file) throw Error("'" + file_name + "' cannot be read (" + std::strerror(errno) + ")");
  return read_metrics(file, file_name, folder);
}
