// Runs that are killed again and again, at random moments and at every kind of call by which they change files, come to
// the same bits as those that are left alone.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <thread>

#include "tests/catch.h"
#include "tests/durable/runs.h"

namespace fs = std::filesystem;

namespace {

using std::chrono::microseconds;

// A run that is killed until it has come to its end, and then started anew.
class Course {
 public:
  Course(const std::string& normalizer, const Words& options, uint64_t seed)
      : start_(Words{normalizer + "/train", "--preset", "tiny", "--out", "run", "--steps", "60", "--checkpoint-every",
                     "12", "--eval-every", "10", "--attention-every", "15"} +
               options),
        resume_({normalizer + "/train", "--out", "run", "--resume"}),
        dice_(seed),
        expected_(undisturbed(workshop_, start_)),
        bytes_(fs::file_size(workshop_.run() + "/metrics.jsonl")) {
    start_anew();
  }

  // Kills it once, at a random moment behind the one that it has reached. False if it ended before that.
  bool kill_at_random() {
    const std::string metrics = workshop_.run() + "/metrics.jsonl";
    const auto size = [&] { return fs::exists(metrics) ? fs::file_size(metrics) : 0; };
    const uint64_t now = size(), until = now + dice_.below(std::max<int64_t>(int64_t(bytes_ - now), 1));
    Process process = workshop_.start(next());
    while (process.running() && size() < until) std::this_thread::sleep_for(microseconds(50));
    std::this_thread::sleep_for(microseconds(dice_.below(2000)));
    process.send(SIGKILL);
    const Ended ended = process.wait();
    const bool saving = !leftovers(workshop_.run() + "/checkpoints").empty();
    return killed(ended, saving                      ? "in a checkpoint"
                         : steps_in(workshop_.run()) ? "between checkpoints"
                                                     : "at the start");
  }

  // Kills it before, in or after a call of this kind. False if it ended without one.
  bool kill_at_call(const std::string& kind, uint64_t which, const std::string& when) {
    const Faults faults{std::to_string(which) + " kill-" + when, kind};
    return killed(workshop_.end(next(), &faults), when + " " + kind.substr(0, kind.find(' ')));
  }

  // To its end, from wherever it is.
  void finish() { killed(workshop_.end(next()), ""); }

  bool begun() const { return fs::exists(workshop_.run()); }

  // Kills a new run when it has written half of its third checkpoint.
  void leave_half_a_checkpoint() {
    if (begun()) finish();
    REQUIRE(kill_at_call("fsync run/checkpoints/step-*.tmp/optimizer*", 3, "before"));
  }

  // Calls of a whole run, and of one that goes on after half a checkpoint: how often each kind occurs in a whole one.
  std::map<std::string, int> kinds_of_calls() {
    const Faults count;
    std::map<std::string, int> kinds;
    REQUIRE(workshop_.end(start_, &count).code == 0);
    for (const std::string& call : workshop_.calls()) kinds[kind_of(call)]++;
    start_anew();
    leave_half_a_checkpoint();
    REQUIRE(workshop_.end(resume_, &count).code == 0);
    for (const std::string& call : workshop_.calls()) kinds[kind_of(call)] += 0;
    start_anew();
    return kinds;
  }

  std::map<std::string, int> kills;
  int resumed = 0, finished = 0;

 private:
  void start_anew() {
    workshop_.replace_run();
    saved_ = 0;
  }

  const Words& next() {
    const bool resumable = fs::exists(workshop_.run() + "/options.ini");
    resumed += resumable;
    return resumable ? resume_ : start_;
  }

  // What must hold after a program was killed; or, where it ended by itself, after the run.
  bool killed(const Ended& ended, const std::string& where) {
    INFO("killed " << where << ": " << ended.text());
    if (ended.signal == SIGKILL) {
      kills[where]++;
      REQUIRE_NOTHROW(check_folder(workshop_.run(), saved_));
      saved_ = newest(intact_checkpoints(workshop_.run()));
      return true;
    }
    REQUIRE(ended.code == 0);
    REQUIRE(difference(Result(workshop_.run()), expected_) == "");
    REQUIRE(leftovers(workshop_.run()).empty());
    finished++;
    start_anew();
    return false;
  }

  // Call and path without numbers: a pattern of FAULTS_CALLS.
  static std::string kind_of(const std::string& call) {
    std::string kind;
    for (char c : call) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit) kind += c;
      if (digit && !kind.ends_with('*')) kind += '*';
    }
    return kind;
  }

  Workshop workshop_;
  Words start_, resume_;
  Dice dice_;
  Result expected_;
  uint64_t bytes_;      // of the metrics of the whole run
  uint64_t saved_ = 0;  // the newest checkpoint that was there
};

}  // namespace

TEST_CASE("runs that are killed come to the same bits", "[durable][kills]") {
  struct {
    const char* normalizer;
    Words options;
  } const runs[] = {{"softmax", {"--data", "../data", "--keep", "1", "--threads", "1"}},
                    {"ssmax", {"--data", "../data", "--keep", "2", "--threads", "2", "--checkpoint-sync"}},
                    {"sa_softmax", {"--text", "../text.txt", "--keep", "2", "--threads", "2"}}};
  constexpr int kRandom = 34;  // kills of each run at random moments: over 100 of the three
  int random = 0, resumed = 0, finished = 0;
  uint64_t seed = 1;
  std::map<std::string, int> kills;
  for (const auto& [normalizer, options] : runs) {
    INFO(normalizer);
    Course course(normalizer, options, seed++);
    for (int i = 0; i < kRandom;) i += course.kill_at_random();
    random += kRandom;
    if (course.begun()) course.finish();

    for (const auto& [kind, count] : course.kinds_of_calls())
      for (const char* when : {"before", "half", "after"}) {
        if (when == std::string("half") && !kind.starts_with("write")) continue;
        INFO(when << " " << kind);
        // Where the run is, or in one in which the call is sure to come.
        bool hit = course.kill_at_call(kind, 1 + (count > 1), when);
        if (!hit) {
          if (count == 0) course.leave_half_a_checkpoint();
          hit = course.kill_at_call(kind, 1, when);
        }
        CHECK(hit);
      }
    if (course.begun()) course.finish();
    resumed += course.resumed;
    finished += course.finished;
    for (const auto& [where, times] : course.kills) kills[where] += times;
  }
  int total = 0;
  for (const auto& [where, times] : kills) total += times;
  CHECK(total >= random);
  std::cout << total << " kills, " << random << " of them at random moments; " << resumed << " resumes, " << finished
            << " runs came to their end\n";
  for (const auto& [where, times] : kills) std::cout << "  " << times << "  " << where << "\n";
}
