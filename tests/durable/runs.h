// Runs of attnorm's programs that are made to fail or are killed, and what must hold of the folders that they leave.
#pragma once

#include <sys/types.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/temp_dir.h"

using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more);

// What tests/durable/faults.cpp does to a program: FAULTS and FAULTS_CALLS, as described there. An empty `what` counts.
struct Faults {
  std::string what, calls = "*";
};

// How a program ended.
struct Ended {
  int code = -1;   // -1: by a signal
  int signal = 0;  // 0: by itself
  std::string out, err;

  std::string text() const;  // for INFO
};

// A program that runs; killed where it still does when this goes.
class Process {
 public:
  Process(pid_t pid, std::string out, std::string err) : pid_(pid), out_(std::move(out)), err_(std::move(err)) {}
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const;
  bool running();
  Ended wait();  // Throws after two minutes.

 private:
  pid_t pid_;
  std::string out_, err_;  // files
  bool ended_ = false;
  int status_ = 0;
};

// A folder with token files in data/ and a run in work/run; programs run in work/, so that runs in several workshops
// have the same paths, options and records.
class Workshop {
 public:
  explicit Workshop(int lines = 320);  // of text

  std::string operator/(const std::string& name) const { return temporary_ / name; }
  std::string run() const { return temporary_ / "work/run"; }

  // Starts `words`: a program by its path below the build folder ("softmax/train"), then its options. With faults,
  // where they are given; `in_child` is called in the new process before the program is.
  Process start(const Words& words, const Faults* faults = nullptr, const std::function<void()>& in_child = {}) const;

  // The same to its end.
  Ended end(const Words& words, const Faults* faults = nullptr, const std::function<void()>& in_child = {}) const;

  // The calls of the last program that was started with faults: "rename a -> b". The first has the number 1.
  std::vector<std::string> calls() const;

  // Makes the run what `from`, another folder, is; removes it where `from` is empty.
  void replace_run(const std::string& from = "") const;

 private:
  TempDir temporary_;
};

// Every line of RUN/metrics.jsonl that ends is a whole JSON object, and steps follow each other without gap or
// repetition; throws where that is not so. Returns the records of steps, evaluations and attention, without their
// times, and leaves out a last line that a kill has torn; where `torn` is false there must be none.
std::vector<std::string> measured(const std::string& run, bool torn = false);

// The steps of the checkpoints of a run; all are intact, or this throws.
std::set<uint64_t> intact_checkpoints(const std::string& run);

// How many updates the run's metrics hold.
uint64_t steps_in(const std::string& run);

// The checkpoint that the run's last record of one names; 0 if there is none.
uint64_t recorded_checkpoint(const std::string& run);

// What a finished run came to: what it measured, and the bytes of every file of its checkpoints.
struct Result {
  std::vector<std::string> records;
  std::vector<std::string> checkpoints;

  explicit Result(const std::string& run);
};

// What the run comes to if nobody disturbs it; it stays there. Throws if it fails.
Result undisturbed(const Workshop& workshop, const Words& words);

// Where they differ first; "" if they are the same.
std::string difference(const Result& found, const Result& expected);

// Files and folders below the run that have no place in one that ended: *.tmp, the lock.
std::vector<std::string> leftovers(const std::string& run);

// "ENOSPC" -> "No space left on device".
std::string reason_text(const std::string& name);

// One line of a program's that names something of the run, and the reason.
bool is_sentence(const std::string& err, const std::string& reason);

// The last checkpoint of a set; 0 if it is empty.
uint64_t newest(const std::set<uint64_t>& steps);

// Throws unless all that holds of a run's folder at any moment does: whole lines, intact checkpoints, none lost that
// was recorded, or that the folder had before: `saved`, its step.
void check_folder(const std::string& run, uint64_t saved);

// Waits until this holds, at most a minute; then throws.
void wait_until(const std::function<bool()>& holds);

// A repeatable choice.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t n);

 private:
  uint64_t state_;
};
