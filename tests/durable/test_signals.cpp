// Runs that are asked to stop, wherever they are: what they have done is saved, and the command that they print goes
// on.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>

#include "tests/catch.h"
#include "tests/durable/runs.h"

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

const Words kStart = Words{"softmax/train", "--preset", "tiny", "--data", "../data", "--out", "run", "--threads", "2"} +
                     Words{"--schedule", "constant", "--warmup-steps", "0", "--attention-every", "0", "--keep", "1"};
const Words kResume = {"softmax/train", "--out", "run", "--resume"};

std::string last_line(const std::string& text) {
  const std::string lines = text.substr(0, text.find_last_not_of('\n') + 1);
  return lines.substr(lines.rfind('\n') + 1);
}

// The update after which the program says that it was interrupted; 0 if it does not.
uint64_t interrupted_after(const Ended& ended) {
  const std::string start = "train: interrupted after update ", line = last_line(ended.err);
  return ended.code == 1 && line.starts_with(start) ? std::stoull(line.substr(start.size())) : 0;
}

// The command that it prints.
std::string command_of(const Ended& ended) {
  const std::string before = "go on with: ", line = last_line(ended.err);
  const size_t at = line.find(before);
  return at == std::string::npos ? "false" : line.substr(at + before.size());
}

// Programs that keep every core busy.
struct Load {
  std::deque<Process> processes;

  Load() {
    const pid_t parent = getpid();
    for (int i = 0; i < 4; i++) {
      const pid_t pid = fork();
      if (pid == 0) {
        while (getppid() == parent) {
        }
        _exit(0);
      }
      processes.emplace_back(pid, "", "");
    }
  }
};

// The interrupted run goes on to a few updates more and comes to what nobody has interrupted.
void check_comes_to_the_same(const Workshop& workshop, uint64_t step, const Words& words) {
  const Words more = {"--steps", std::to_string(step + 3)};
  const Ended ended = workshop.end(kResume + more);
  INFO("resumed: " << ended.text());
  REQUIRE(ended.code == 0);
  CHECK(leftovers(workshop.run()).empty());
  const Result resumed(workshop.run());
  workshop.replace_run();
  CHECK(difference(resumed, undisturbed(workshop, words + more)) == "");
}

}  // namespace

TEST_CASE("a run that is asked to stop saves its update and says how to go on", "[core][durable][signals]") {
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP);
  const bool busy = GENERATE(false, true);
  ::signal(signal, SIG_DFL);  // under nohup, tests and what they start would ignore SIGHUP
  INFO("signal " << signal << (busy ? ", other programs on every core" : ""));
  Workshop workshop;
  std::optional<Load> load;
  if (busy) load.emplace();
  const Words words = kStart + Words{"--eval-every", "0", "--checkpoint-every", busy ? "7" : "0"};
  Process process = workshop.start(words + Words{"--steps", "1000000"});
  wait_until([&] { return steps_in(workshop.run()) > 3; });
  process.send(signal);
  const Ended ended = process.wait();
  INFO(ended.text());
  const uint64_t step = interrupted_after(ended);
  REQUIRE(step > 3);
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(newest(intact_checkpoints(workshop.run())) == step);
  CHECK(steps_in(workshop.run()) == step);
  CHECK(leftovers(workshop.run()).empty());

  Process copied = workshop.start({"/bin/sh", "-c", "exec " + command_of(ended)});
  wait_until([&] { return steps_in(workshop.run()) > step; });
  copied.send(signal);
  const Ended again = copied.wait();
  INFO("its command: " << again.text());
  const uint64_t later = interrupted_after(again);
  REQUIRE(later > step);
  load.reset();
  check_comes_to_the_same(workshop, later, words);
}

TEST_CASE("an evaluation ends before the run does", "[durable][signals]") {
  Workshop workshop(60000);  // 300 KB of validation tokens, which take some tenths of a second
  const Words words = kStart + Words{"--eval-every", "1", "--eval-tokens", "1000000"};
  Process process = workshop.start(words + Words{"--steps", "1000"});
  wait_until([&] { return steps_in(workshop.run()) == 1; });
  process.send(SIGTERM);
  const Ended ended = process.wait();
  INFO(ended.text());
  REQUIRE(interrupted_after(ended) == 1);
  const auto records = measured(workshop.run());
  REQUIRE(records.size() == 3);  // an evaluation before the first update, and one after it
  check_comes_to_the_same(workshop, 1, words);
}

TEST_CASE("a signal during a checkpoint waits for it, a second one does not", "[core][durable][signals]") {
  const std::string sync = GENERATE("true", "false");
  const int times = GENERATE(1, 2);
  INFO("--checkpoint-sync=" << sync << ", signals: " << times);
  Workshop workshop;
  const Words words = kStart + Words{"--checkpoint-every", "5", "--checkpoint-sync=" + sync};
  const Faults late{times == 1 ? "1 delay 1.5" : "1 delay 100", "write run/checkpoints/*10.tmp/optimizer.safetensors*"};
  Process process = workshop.start(words + Words{"--steps", "100000"}, &late);
  wait_until([&] { return workshop.calls().size() == 1; });
  process.send(SIGINT);
  std::this_thread::sleep_for(milliseconds(100));
  REQUIRE(process.running());
  if (times == 2) process.send(SIGINT);
  const auto begin = std::chrono::steady_clock::now();
  const Ended ended = process.wait();
  INFO(ended.text());
  uint64_t step = 5;
  if (times == 1) {
    step = interrupted_after(ended);
    REQUIRE(step >= 10);
  } else {
    CHECK(ended.signal == SIGINT);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
  }
  CHECK(newest(intact_checkpoints(workshop.run())) == step);
  check_comes_to_the_same(workshop, step, words);
}
