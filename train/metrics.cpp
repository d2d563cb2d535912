#include "train/metrics.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/error.h"

using nlohmann::ordered_json;

std::string metrics_path(const std::string& run) { return (std::filesystem::path(run) / "metrics.jsonl").string(); }

Metrics::Metrics(const std::string& run) : path_(metrics_path(run)), file_(std::fopen(path_.c_str(), "a")) {
  if (!file_) throw Failure("'" + path_ + "' cannot be written: " + std::strerror(errno));
}

void Metrics::write(const ordered_json& record) {
  std::string line = record.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  bool written = std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size();
  if (!written || std::fflush(file_.get()) != 0)
    throw Failure("'" + path_ + "' cannot be written: " + std::strerror(errno));
}

namespace {

// Calls f(record, end) for every whole line that is a JSON object; `end` is the offset behind it.
template <class F>
void for_each_record(const std::string& path, F f) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  uint64_t end = 0;
  while (std::getline(file, line) && !file.eof()) {  // a last line without its end was torn by a kill
    end += line.size() + 1;
    ordered_json record = ordered_json::parse(line, nullptr, false);
    if (record.is_object()) f(record, end);
  }
}

uint64_t step_of(const ordered_json& record) {
  auto step = record.find("step");
  return step != record.end() && step->is_number_unsigned() ? step->get<uint64_t>() : 0;
}

std::string text_of(const ordered_json& record, const char* key) {
  auto text = record.find(key);
  return text != record.end() && text->is_string() ? text->get<std::string>() : "";
}

}  // namespace

void Metrics::truncate(const std::string& run, std::optional<uint64_t> step) {
  const std::string path = metrics_path(run);
  if (!std::filesystem::exists(path)) return;
  uint64_t keep = 0;
  for_each_record(path, [&](const ordered_json& record, uint64_t end) {
    if (step && step_of(record) <= *step) keep = end;
  });
  std::error_code error;
  std::filesystem::resize_file(path, keep, error);
  if (error) throw Failure("'" + path + "' cannot be cut to the checkpoint's step: " + error.message());
}

bool Metrics::ended(const std::string& run, uint64_t step) {
  bool ended = false;
  for_each_record(metrics_path(run), [&](const ordered_json& record, uint64_t) {
    ended = ended || (text_of(record, "event") == "end" && step_of(record) >= step);
  });
  return ended;
}

std::string Metrics::program(const std::string& run, const char* key) {
  std::string text;
  for_each_record(metrics_path(run), [&](const ordered_json& record, uint64_t) {
    const std::string event = text_of(record, "event");
    if (event == "start" || event == "resume") text = record.contains(key) ? text_of(record, key) : text;
  });
  return text;
}

bool Metrics::empty() const { return std::filesystem::file_size(path_) == 0; }
