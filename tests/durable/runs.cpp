#include "tests/durable/runs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "data/sha256.h"
#include "train/checkpoint.h"

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

fs::path build_folder() {
  const char* build = std::getenv("BUILD");
  return fs::absolute(build ? build : "build");
}

void redirect(int stream, const std::string& path, int flags) {
  const int file = open(path.c_str(), flags, 0666);
  if (file < 0 || dup2(file, stream) < 0) _exit(126);
  close(file);
}

// Sentences with as many words as a model of 50 updates can learn from.
std::string some_text(int lines) {
  Dice dice(1);
  std::string text;
  for (int line = 0; line < lines; line++) {
    text += "Thus";
    for (const char* word : {"the king", "a land", "his men", "went up", "by night", "and saw"})
      if (dice.below(2)) text += std::string(" ") + word;
    text += " it was good.\n";
  }
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Calls f(record) for each whole line of the metrics.
template <class F>
void for_each_record(const std::string& run, F f) {
  const std::string text = read_file(run + "/metrics.jsonl");
  for (const std::string& line : lines_of(text.substr(0, text.rfind('\n') + 1))) {
    const Json record = Json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("event"))
      throw std::runtime_error("metrics.jsonl has a line that is no record: " + line);
    f(record);
  }
}

}  // namespace

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string Ended::text() const {
  return (signal ? "ended by signal " + std::to_string(signal) : "exit code " + std::to_string(code)) + "\n" + err;
}

// --- programs --------------------------------------------------------------------------------------------------------

Process::~Process() {
  if (!running()) return;
  send(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::send(int signal) const { kill(pid_, signal); }

bool Process::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

Ended Process::wait() {
  const auto start = std::chrono::steady_clock::now();
  while (running()) {
    if (std::chrono::steady_clock::now() - start > std::chrono::minutes(2))
      throw std::runtime_error("a program did not end in two minutes");
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  Ended ended;
  if (WIFEXITED(status_)) ended.code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) ended.signal = WTERMSIG(status_);
  ended.out = read_file(out_);
  ended.err = read_file(err_);
  return ended;
}

Workshop::Workshop(int lines) {
  fs::create_directory(temporary_ / "work");
  write_file(temporary_ / "text.txt", some_text(lines));
  const Ended ended = end({"prepare", "--input", "../text.txt", "--out", "../data"});
  if (ended.code != 0) throw std::runtime_error("prepare failed: " + ended.text());
}

Process Workshop::start(const Words& words, const Faults* faults, const std::function<void()>& in_child) const {
  const std::string program = (build_folder() / words[0]).string(),
                    library = (build_folder() / "tests/faults.so").string();
  const std::string out = temporary_ / "out", err = temporary_ / "err", work = temporary_ / "work";
  std::vector<char*> arguments;
  arguments.push_back(const_cast<char*>(program.c_str()));
  for (size_t i = 1; i < words.size(); i++) arguments.push_back(const_cast<char*>(words[i].c_str()));
  arguments.push_back(nullptr);
  if (faults) fs::remove(temporary_ / "calls");

  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("no process can be started");
  if (pid == 0) {
    redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
    redirect(STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC);
    redirect(STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC);
    if (chdir(work.c_str()) != 0) _exit(126);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    if (faults) {
      setenv("LD_PRELOAD", library.c_str(), 1);
      const char* options = std::getenv("ASAN_OPTIONS");
      setenv("ASAN_OPTIONS", (std::string(options ? options : "") + ":verify_asan_link_order=0").c_str(), 1);
      setenv("FAULTS_IN", work.c_str(), 1);
      setenv("FAULTS_LOG", (temporary_ / "calls").c_str(), 1);
      setenv("FAULTS_CALLS", faults->calls.c_str(), 1);
      if (!faults->what.empty()) setenv("FAULTS", faults->what.c_str(), 1);
    }
    if (in_child) in_child();
    execv(program.c_str(), arguments.data());
    _exit(127);
  }
  return Process(pid, out, err);
}

Ended Workshop::end(const Words& words, const Faults* faults, const std::function<void()>& in_child) const {
  return start(words, faults, in_child).wait();
}

std::vector<std::string> Workshop::calls() const {
  std::vector<std::string> calls;
  for (const std::string& line : lines_of(read_file(temporary_ / "calls")))
    calls.push_back(line.substr(line.find(' ') + 1));
  return calls;
}

void Workshop::replace_run(const std::string& from) const {
  fs::remove_all(run());
  if (!from.empty()) fs::copy(from, run(), fs::copy_options::recursive);
}

// --- what they leave -------------------------------------------------------------------------------------------------

std::vector<std::string> measured(const std::string& run, bool torn) {
  const std::string text = read_file(run + "/metrics.jsonl");
  if (!torn && !text.ends_with('\n')) throw std::runtime_error("metrics.jsonl does not end with a line");
  std::vector<std::string> records;
  uint64_t last = 0;
  for_each_record(run, [&](Json record) {
    const std::string event = record["event"];
    if (event == "step") {
      if (record["step"] != last + 1)
        throw std::runtime_error("a step after step " + std::to_string(last) + " is " + record.dump());
      last++;
    }
    for (const char* time : {"dt_ms", "tokens_per_s"}) record.erase(time);
    if (event == "step" || event == "eval" || event == "attention") records.push_back(record.dump());
  });
  return records;
}

std::set<uint64_t> intact_checkpoints(const std::string& run) {
  std::set<uint64_t> steps;
  if (!fs::exists(run + "/checkpoints")) return steps;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tmp")) continue;
    verify_checkpoint(entry.path().string(), CheckpointUse::kTraining);
    steps.insert(std::stoull(name.substr(name.find('-') + 1)));
  }
  return steps;
}

uint64_t steps_in(const std::string& run) {
  uint64_t steps = 0;
  if (!fs::exists(run + "/metrics.jsonl")) return steps;
  for_each_record(run, [&](const Json& record) { steps += record["event"] == "step"; });
  return steps;
}

uint64_t recorded_checkpoint(const std::string& run) {
  uint64_t step = 0;
  if (!fs::exists(run + "/metrics.jsonl")) return step;
  for_each_record(run, [&](const Json& record) {
    if (record["event"] == "checkpoint") step = record["step"];
  });
  return step;
}

Result::Result(const std::string& run) : records(measured(run)) {
  for (const auto& entry : fs::recursive_directory_iterator(run + "/checkpoints"))
    checkpoints.push_back(fs::relative(entry.path(), run).string() +
                          (entry.is_directory() ? "" : " " + sha256_file(entry.path().string())));
  std::sort(checkpoints.begin(), checkpoints.end());
}

Result undisturbed(const Workshop& workshop, const Words& words) {
  const Ended ended = workshop.end(words);
  if (ended.code != 0) throw std::runtime_error("an undisturbed run failed: " + ended.text());
  return Result(workshop.run());
}

std::string difference(const Result& found, const Result& expected) {
  for (auto list : {&Result::records, &Result::checkpoints}) {
    const auto &a = found.*list, &b = expected.*list;
    for (size_t i = 0; i < std::max(a.size(), b.size()); i++)
      if (i >= a.size() || i >= b.size() || a[i] != b[i])
        return "found " + (i < a.size() ? a[i] : "no more") + ", expected " + (i < b.size() ? b[i] : "no more");
  }
  return "";
}

std::vector<std::string> leftovers(const std::string& run) {
  std::vector<std::string> names;
  if (!fs::exists(run)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tmp") || name == "lock") names.push_back(fs::relative(entry.path(), run).string());
  }
  return names;
}

std::string reason_text(const std::string& name) {
  return std::strerror(name == "ENOSPC" ? ENOSPC : name == "EDQUOT" ? EDQUOT : name == "EROFS" ? EROFS : EIO);
}

bool is_sentence(const std::string& err, const std::string& reason) {
  return (err.starts_with("train: ") || err.starts_with("prepare: ")) &&
         std::count(err.begin(), err.end(), '\n') == 1 && err.find("'run") != std::string::npos &&
         err.find(reason) != std::string::npos;
}

uint64_t newest(const std::set<uint64_t>& steps) { return steps.empty() ? 0 : *steps.rbegin(); }

void check_folder(const std::string& run, uint64_t saved) {
  if (fs::exists(run + "/metrics.jsonl")) measured(run, true);
  const uint64_t intact = newest(intact_checkpoints(run));
  if (intact < saved || intact < recorded_checkpoint(run))
    throw std::runtime_error("the newest checkpoint is of step " + std::to_string(intact) +
                             ", and a later one was there");
}

void wait_until(const std::function<bool()>& holds) {
  for (int i = 0; i < 60000; i++) {
    if (holds()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw std::runtime_error("what was waited for did not come in a minute");
}

uint64_t Dice::below(uint64_t n) {  // splitmix64
  uint64_t x = state_ += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return (x ^ (x >> 31)) % n;
}
