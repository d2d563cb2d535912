#include "train/metrics.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/error.h"
#include "train/metrics_line.h"

using nlohmann::ordered_json;

std::string metrics_path(const std::string& run) { return (std::filesystem::path(run) / "metrics.jsonl").string(); }

Metrics::Metrics(const std::string& run)
    : path_(metrics_path(run)), file_(open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) {
  if (!file_) fail();
  sync_folder(run);
}

void Metrics::write(const ordered_json& record) {
  const std::string line = record.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  struct stat before {};
  if (fstat(file_.number(), &before) != 0) fail();
  if (before.st_nlink == 0) throw Failure("'" + path_ + "' has been removed, or its folder has");
  if (write_all(file_, line.data(), line.size())) return;
  const int reason = errno;
  [[maybe_unused]] int cut = ftruncate(file_.number(), before.st_size);  // the disk may have taken half of the line
  errno = reason;
  fail();
}

void Metrics::sync() const {
  if (!::sync(file_)) fail();
}

bool Metrics::empty() const {
  struct stat status {};
  if (fstat(file_.number(), &status) != 0) fail();
  return status.st_size == 0;
}

void Metrics::fail() const { throw Failure("'" + path_ + "' cannot be written: " + std::strerror(errno)); }

namespace {

using nlohmann::json;

// Calls f(record, end) for every whole line that is a JSON object; `end` is the offset behind it.
template <class F>
void for_each_record(const std::string& path, F f) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  uint64_t end = 0;
  for (bool complete = true; next_metrics_line(file, path, &line, &complete);) {
    if (!complete) return;  // torn by a kill
    end += line.size() + 1;
    const json record = json::parse(line, nullptr, false);
    if (record.is_object()) f(record, end);
  }
}

uint64_t step_of(const json& record) {
  auto step = record.find("step");
  return step != record.end() && step->is_number_unsigned() ? step->get<uint64_t>() : 0;
}

std::string text_of(const json& record, const char* key) {
  auto text = record.find(key);
  return text != record.end() && text->is_string() ? text->get<std::string>() : "";
}

}  // namespace

void Metrics::truncate(const std::string& run, std::optional<uint64_t> step) {
  const std::string path = metrics_path(run);
  if (!std::filesystem::exists(path)) return;
  uint64_t keep = 0;
  bool later = !step;
  for_each_record(path, [&](const json& record, uint64_t end) {
    later = later || step_of(record) > *step;
    if (!later) keep = end;
  });
  std::error_code error;
  std::filesystem::resize_file(path, keep, error);
  if (error) throw Failure("'" + path + "' cannot be cut to the checkpoint's step: " + error.message());
}

bool Metrics::ended(const std::string& run, uint64_t step) {
  bool ended = false;
  for_each_record(metrics_path(run), [&](const json& record, uint64_t) {
    ended = ended || (text_of(record, "event") == "end" && step_of(record) >= step);
  });
  return ended;
}

bool Metrics::evaluated(const std::string& run, uint64_t step, uint64_t tokens) {
  bool evaluated = false;
  for_each_record(metrics_path(run), [&](const json& record, uint64_t) {
    evaluated = evaluated || (text_of(record, "event") == "eval" && step_of(record) == step &&
                              record.contains("tokens") && record["tokens"] == tokens);
  });
  return evaluated;
}

std::string Metrics::program(const std::string& run, const char* key) {
  std::string text;
  for_each_record(metrics_path(run), [&](const json& record, uint64_t) {
    const std::string event = text_of(record, "event");
    if (event == "start" || event == "resume") text = record.contains(key) ? text_of(record, key) : text;
  });
  return text;
}

std::string Metrics::tokenizer(const std::string& run) {
  std::string text;
  for_each_record(metrics_path(run), [&](const json& record, uint64_t) {
    if (text_of(record, "event") == "start" && record.contains("data") && record["data"].is_object())
      text = text_of(record["data"], "tokenizer");
  });
  return text;
}
