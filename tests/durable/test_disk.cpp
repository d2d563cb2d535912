// A disk that fails at any call by which a run changes files: the run ends with a sentence, what it had saved stays,
// and it goes on to the bits that it would have had.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <sstream>

#include "tests/catch.h"
#include "tests/durable/runs.h"
#include "tests/error_text.h"

namespace fs = std::filesystem;

namespace {

const Words kStart = {"ssmax/train", "--preset", "tiny", "--data", "../data", "--out", "run", "--threads", "1"};
const Words kShort =
    kStart + Words{"--steps",      "4", "--warmup-steps",    "2", "--layers", "1", "--checkpoint-every", "2",
                   "--eval-every", "3", "--attention-every", "3"};
const Words kResume = {"ssmax/train", "--out", "run", "--resume"};

// The run goes on, or starts again where nothing was begun, and comes to this.
void check_goes_on(const Workshop& workshop, const Words& words, const Result& expected) {
  const bool begun = fs::exists(workshop.run() + "/options.ini");
  const Ended ended = workshop.end(begun ? kResume : words);
  INFO((begun ? "resumed: " : "started again: ") << ended.text());
  CHECK(ended.code == 0);
  CHECK(difference(Result(workshop.run()), expected) == "");
  CHECK(leftovers(workshop.run()).empty());
}

// What a failure of this call may leave unsaid: the file was synced before, nobody needs it any more, or the folder
// above the run's is not ours.
bool may_be_silent(const std::string& call) {
  return call.starts_with("close ") || call.starts_with("unlink run/lock") || call == "fsync .";
}

// Lets every call of a run, which begins in a folder as `before` or, where that is empty, in none, fail in every way.
void visit_every_call(const Workshop& workshop, const Words& words, const std::string& before, const Result& expected) {
  workshop.replace_run(before);
  const uint64_t saved = newest(intact_checkpoints(workshop.run()));
  int failures = 0, interruptions = 0;
  auto visit = [&](const Faults& faults) {
    workshop.replace_run(before);
    const Ended ended = workshop.end(words, &faults);
    const size_t n = std::stoul(faults.what);
    const auto calls = workshop.calls();  // a thread that saves makes them in another order every time
    const std::string call = n <= calls.size() ? calls[n - 1] : "";
    INFO(faults.what << ": " << call << "\n" << ended.text());
    if (faults.calls != "*") {
      CHECK(ended.code == 0);
      interruptions++;
    } else if (ended.code == 0) {
      CHECK(may_be_silent(call));
    } else {
      CHECK((ended.code == 1 || !fs::exists(workshop.run())));  // 2: not even the folder could be made
      CHECK(is_sentence(ended.err, reason_text(faults.what.substr(faults.what.rfind(' ') + 1))));
      failures++;
    }
    CHECK_NOTHROW(check_folder(workshop.run(), saved));
    check_goes_on(workshop, words, expected);
  };

  const Faults count, count_writes{"", "write *"};
  REQUIRE(workshop.end(words, &count).code == 0);
  const size_t calls = workshop.calls().size();
  REQUIRE(calls > 50);
  for (size_t n = 1; n <= calls; n++) {  // the reasons take turns: a program does not ask for them
    visit({std::to_string(n) + (n % 2 ? " fail ENOSPC" : " fail EIO")});
    visit({std::to_string(n) + (n % 2 ? "- fail EDQUOT" : "- fail EROFS")});
  }
  workshop.replace_run(before);
  REQUIRE(workshop.end(words, &count_writes).code == 0);
  const size_t writes = workshop.calls().size();
  for (size_t n = 1; n <= writes; n++)
    visit({std::to_string(n) + (n % 3 == 0 ? " fail EINTR" : n % 3 == 1 ? " short" : "- short"), "write *"});
  std::cout << calls << " calls, " << writes << " of them writes: " << failures << " failures, " << interruptions
            << " writes cut short or interrupted\n";
}

// --- in a child, before the program runs -----------------------------------------------------------------------------

// Files may not grow beyond this.
std::function<void()> limit_files(size_t bytes) {
  return [bytes] {
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  };
}

// Root is refused what permissions refuse.
void obey_permissions() { prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0); }

void print_to_full_disk() {
  if (dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO) < 0) _exit(126);
}

void close_standard_streams() {
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(stream);
}

// A folder that a file system of its own, in memory, is mounted on.
struct SmallDisk {
  std::string folder;
  bool mounted;

  SmallDisk(const std::string& on, const char* size)
      : folder(on), mounted(mount("tmpfs", on.c_str(), "tmpfs", 0, size) == 0) {}
  ~SmallDisk() {
    if (mounted) umount2(folder.c_str(), MNT_DETACH);
  }
  bool resize(const char* size) { return mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT, size) == 0; }
};

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

// --- every call ------------------------------------------------------------------------------------------------------

TEST_CASE("any call of a new run may fail", "[durable][disk]") {
  const bool sync = GENERATE(true, false);
  INFO((sync ? "--checkpoint-sync" : "checkpoints by a thread"));
  Workshop workshop;
  const Words words = kShort + (sync ? Words{"--checkpoint-sync", "--keep", "1"} : Words{"--keep", "2"});
  const Result expected = undisturbed(workshop, words);
  visit_every_call(workshop, words, "", expected);
}

TEST_CASE("any call of a run that goes on may fail", "[durable][disk]") {
  Workshop workshop;
  const Words words = kShort + Words{"--checkpoint-sync", "--keep", "1"};
  const Result expected = undisturbed(workshop, words);
  workshop.replace_run();
  const Faults faults{"2 kill-before", "fsync run/checkpoints/step-*.tmp/optimizer*"};
  REQUIRE(workshop.end(words, &faults).signal == SIGKILL);
  fs::rename(workshop.run(), workshop / "before");
  visit_every_call(workshop, kResume, workshop / "before", expected);
}

TEST_CASE("any call of prepare may fail, or be the last", "[durable][disk]") {
  Workshop workshop;
  const Words words = {"prepare", "--input", "../text.txt", "--out", "run"};
  const Faults count;
  REQUIRE(workshop.end(words, &count).code == 0);
  fs::rename(workshop.run(), workshop / "whole");
  auto intact = [&](const std::string& name) {
    return read_file(workshop.run() + "/" + name) == read_file(workshop / ("whole/" + name));
  };
  const size_t calls = workshop.calls().size();
  for (size_t n = 1; n <= calls; n++)
    for (const char* what : {" fail EIO", "- fail ENOSPC", " short", " kill-before", " kill-half"}) {
      workshop.replace_run();
      const Faults faults{std::to_string(n) + what};
      const Ended ended = workshop.end(words, &faults);
      const std::string call = workshop.calls().at(n - 1);
      INFO(faults.what << ": " << call << "\n" << ended.text());
      if (contains(what, "kill")) {
        CHECK(ended.signal == SIGKILL);
      } else if (ended.code == 0) {
        CHECK((contains(what, "short") || may_be_silent(call)));
      } else {
        CHECK(ended.code == (call.starts_with("open") || call.starts_with("mkdir") ? 2 : 1));  // 2: no such place
        CHECK(is_sentence(ended.err, reason_text(contains(what, "EIO") ? "EIO" : "ENOSPC")));
      }
      if (fs::exists(workshop.run()))
        for (const auto& entry : fs::directory_iterator(workshop.run()))
          if (entry.path().extension() != ".tmp") CHECK(intact(entry.path().filename().string()));
      REQUIRE(workshop.end(words).code == 0);
      for (const char* name : {"train.bin", "val.bin", "test.bin", "tokens.json"}) CHECK(intact(name));
      CHECK(leftovers(workshop.run()).empty());
    }
  std::cout << calls << " calls of prepare\n";
}

TEST_CASE("what a power failure could take is synced before it is relied on", "[core][durable][disk]") {
  Workshop workshop;
  const Faults count;
  REQUIRE(workshop.end(kShort + Words{"--checkpoint-sync", "--keep", "1"}, &count).code == 0);
  std::set<std::string> known, unsynced;  // files with new bytes, folders with new names
  int placed = 0, removed = 0;
  for (const std::string& call : workshop.calls()) {
    std::istringstream words(call);
    std::string name, path, arrow, to;
    words >> name >> path >> arrow >> to;
    INFO(call);
    if (path == "run/lock") continue;
    if (name == "rename" && path.ends_with(".tmp")) {  // it gets its name: all of it is on the disk
      for (const std::string& lost : unsynced) CHECK_FALSE((lost == path || lost.starts_with(path + "/")));
    }
    if (name == "rename" && path.ends_with(".tmp") && contains(fs::path(to).filename().string(), "step-")) {
      unsynced.erase("run/checkpoints");           // knows it as *.tmp, perhaps
      CHECK(unsynced == std::set<std::string>{});  // the metrics, the options, and the names of all folders above it
      placed++;
    }
    if (name == "rename" && to.ends_with(".tmp")) {  // an old checkpoint goes: the new one has its name on the disk
      CHECK_FALSE(unsynced.count("run/checkpoints"));
      removed++;
    }
    if (name == "write" || name == "ftruncate") unsynced.insert(path);
    if (name == "fsync") unsynced.erase(path);
    const bool made = (name == "mkdir" || name == "open") && known.insert(path).second;
    if (made || name == "rename" || name.starts_with("unlink") || name == "remove") unsynced.insert(parent_of(path));
  }
  CHECK(placed == 2);
  CHECK(removed == 1);
}

// --- real disks ------------------------------------------------------------------------------------------------------

TEST_CASE("a limit on the size of files ends a run, which goes on without", "[core][durable][disk]") {
  const size_t limit = GENERATE(4000, 20000, 60000, 120000);
  INFO("at most " << limit << " bytes");
  Workshop workshop;
  const Result expected = undisturbed(workshop, kShort);
  workshop.replace_run();
  const Ended ended = workshop.end(kShort, nullptr, limit_files(limit));
  INFO(ended.text());
  CHECK(ended.code == 1);
  CHECK(is_sentence(ended.err, "File too large"));
  CHECK_NOTHROW(check_folder(workshop.run(), 0));
  check_goes_on(workshop, kShort, expected);
}

TEST_CASE("a full disk ends a run, which goes on when there is room", "[core][durable][disk]") {
  Workshop workshop;
  const Words words = kShort + Words{"--keep", "1"};
  const Result expected = undisturbed(workshop, words);
  workshop.replace_run();
  SmallDisk disk(workshop / "work", "size=400k");  // one checkpoint takes 280 KB
  if (!disk.mounted) {
    WARN("skipped: no file system can be mounted here");
    return;
  }
  const Ended ended = workshop.end(words);
  INFO(ended.text());
  CHECK(ended.code == 1);
  CHECK(is_sentence(ended.err, reason_text("ENOSPC")));
  CHECK_NOTHROW(check_folder(workshop.run(), 2));
  REQUIRE(disk.resize("size=4m"));
  check_goes_on(workshop, words, expected);
}

TEST_CASE("a folder that may not be written is refused, or ends the run", "[core][durable][disk]") {
  Workshop workshop;
  const fs::path work = workshop / "work", run = workshop.run();
  const auto read_only = fs::perms::owner_read | fs::perms::owner_exec;
  fs::permissions(work, read_only);
  if (workshop.end({"/bin/sh", "-c", ": > file"}, nullptr, obey_permissions).code == 0) {
    fs::permissions(work, fs::perms::owner_all);
    WARN("skipped: permissions do not bind this user");
    return;
  }
  const Ended refused = workshop.end(kShort, nullptr, obey_permissions);
  fs::permissions(work, fs::perms::owner_all);
  INFO(refused.text());
  CHECK(refused.code == 2);
  CHECK(is_sentence(refused.err, "Permission denied"));

  const Result expected = undisturbed(workshop, kShort);
  fs::remove_all(run / "checkpoints/step-00000004");
  fs::permissions(run / "checkpoints", read_only);
  const Ended ended = workshop.end(kResume, nullptr, obey_permissions);
  fs::permissions(run / "checkpoints", fs::perms::owner_all);
  INFO(ended.text());
  CHECK(ended.code == 1);
  CHECK(is_sentence(ended.err, "Permission denied"));
  CHECK_NOTHROW(check_folder(workshop.run(), 2));
  check_goes_on(workshop, kShort, expected);
}

TEST_CASE("a run whose folder has gone ends, and does not make it again", "[core][durable][disk]") {
  const bool removed = GENERATE(true, false), sync = GENERATE(true, false);
  INFO((removed ? "removed" : "moved away") << (sync ? ", --checkpoint-sync" : ""));
  Workshop workshop;
  const Words words = kStart + Words{"--steps", "1000000", "--checkpoint-every", "20", "--eval-every", "0"};
  Process process = workshop.start(words + (sync ? Words{"--checkpoint-sync"} : Words{}));
  wait_until([&] { return recorded_checkpoint(workshop.run()) > 0; });
  fs::rename(workshop.run(), workshop / "gone");
  if (removed) {
    std::error_code made_in_between;
    wait_until([&] { return fs::remove_all(workshop / "gone", made_in_between), !fs::exists(workshop / "gone"); });
  }
  const Ended ended = process.wait();
  INFO(ended.text());
  CHECK(ended.code == 1);
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(contains(ended.err, "'run/"));
  CHECK_FALSE(fs::exists(workshop.run()));
  if (!removed) CHECK(newest(intact_checkpoints(workshop / "gone")) >= 20);
}

TEST_CASE("a run loses nothing where its log cannot be printed", "[core][durable][disk]") {
  Workshop workshop;
  const Result expected = undisturbed(workshop, kShort);
  const Words sample = {"ssmax/sample", "--checkpoint", "run"},
              evaluate = {"ssmax/evaluate", "--checkpoint", "run", "--data", "../data"};
  for (const Words& words : {sample, evaluate, Words{"compare", "run"}}) {
    const Ended ended = workshop.end(words, nullptr, print_to_full_disk);
    INFO(words[0] << ": " << ended.text());
    CHECK(ended.code == 1);  // what it prints is all that it makes
    CHECK(contains(ended.err, "standard output"));
  }
  for (const auto& print : {print_to_full_disk, close_standard_streams}) {
    workshop.replace_run();
    const Ended ended = workshop.end(kShort, nullptr, print);
    INFO(ended.text());
    CHECK(ended.code == (print == close_standard_streams ? 0 : 1));
    CHECK(difference(Result(workshop.run()), expected) == "");
  }
}

TEST_CASE("a run does not end with the program that reads its log", "[core][durable][disk]") {
  Workshop workshop;
  const Words words = kStart + Words{"--steps", "300", "--checkpoint-every", "100", "--keep", "1"};
  const Result expected = undisturbed(workshop, words);
  workshop.replace_run();
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  Process process = workshop.start(words, nullptr, [&] {
    if (dup2(ends[1], STDOUT_FILENO) < 0) _exit(126);
    close(ends[0]);
    close(ends[1]);
  });
  close(ends[1]);
  wait_until([&] { return steps_in(workshop.run()) > 0; });
  close(ends[0]);
  const Ended ended = process.wait();
  INFO(ended.text());
  CHECK(ended.code == 1);
  CHECK(contains(ended.err, "standard output"));
  CHECK(difference(Result(workshop.run()), expected) == "");
}
