// Files, locks and checkpoints of a run where something goes wrong.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/file_descriptor.h"
#include "model/parameters.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/folder_lock.h"
#include "train/metrics.h"
#include "train/saver.h"

namespace fs = std::filesystem;

namespace {

// The exit code of a child process that runs `body`.
template <class Body>
int in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a file descriptor is closed once, and what it refuses is told", "[core][durability]") {
  TempDir folder;
  const std::string path = folder / "file";
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT, 0666));
  REQUIRE(file);
  CHECK(write_all(file, "some", 4));
  CHECK(sync(file));
  const int number = file.number();
  FileDescriptor moved = std::move(file);
  CHECK_FALSE(file);
  CHECK(moved.number() == number);
  CHECK(moved.close());
  CHECK(moved.close());  // nothing to close is no error
  CHECK(fcntl(number, F_GETFD) == -1);
  CHECK(read_file(path) == "some");
  FileDescriptor reading(open(path.c_str(), O_RDONLY));
  CHECK_FALSE(write_all(reading, "x", 1));
  CHECK(errno == EBADF);
  CHECK_FALSE(FileDescriptor(open((folder / "none").c_str(), O_RDONLY)));
}

TEST_CASE("a pipe that takes little at a time gets everything", "[core][durability]") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  FileDescriptor reading(ends[0]), writing(ends[1]);
  const std::string text(1 << 20, 'x');
  size_t received = 0;
  std::thread reader([&] {
    char part[1000];
    for (ssize_t got; (got = read(reading.number(), part, sizeof part)) > 0;) received += size_t(got);
  });
  CHECK(write_all(writing, text.data(), text.size()));
  writing.close();
  reader.join();
  CHECK(received == text.size());
}

TEST_CASE("a second process is refused with the first one's number", "[core][durability]") {
  TempDir run;
  std::optional<FolderLock> lock(std::in_place, run.path.string());
  CHECK(read_file(run / "lock").starts_with(std::to_string(getpid()) + " on "));
  const std::string mine = "is in use by process " + std::to_string(getpid());
  auto second = [&] {
    const std::string sentence = error_text([&] { FolderLock again(run.path.string()); });
    return sentence.find(mine) != std::string::npos ? 0 : 1;
  };
  CHECK(in_child(second) == 0);
  CHECK(fs::exists(run / "lock"));  // the one who was refused leaves it alone
  lock.reset();
  CHECK_FALSE(fs::exists(run / "lock"));
  CHECK(in_child(second) == 1);
}

TEST_CASE("a lock left by a process that was killed does no harm", "[core][durability]") {
  TempDir run;
  auto killed = [&]() -> int {
    new FolderLock(run.path.string());
    _exit(0);  // without a destructor, as by SIGKILL
  };
  CHECK(in_child(killed) == 0);
  CHECK(fs::exists(run / "lock"));
  write_file(run / "lock", std::string(300, '9'));  // whatever it holds
  const FolderLock lock(run.path.string());
  CHECK(read_file(run / "lock").starts_with(std::to_string(getpid()) + " on "));
  CHECK(read_file(run / "lock").ends_with("\n"));
}

TEST_CASE("a folder that is not there cannot be locked", "[core][durability]") {
  TempDir folder;
  CHECK_THROWS_AS(FolderLock(folder / "none"), Failure);
}

TEST_CASE("metrics are cut before the first record of a later step", "[core][durability]") {
  TempDir run;
  {
    Metrics metrics(run.path.string());
    CHECK(metrics.empty());
    metrics.write({{"event", "start"}, {"step", 0}});
    for (int step = 1; step <= 6; step++) metrics.write({{"event", "step"}, {"step", step}});
    metrics.write({{"event", "checkpoint"}, {"step", 4}});  // it took two updates to write
    metrics.write({{"event", "step"}, {"step", 7}});
    CHECK_FALSE(metrics.empty());
  }
  Metrics::truncate(run.path.string(), 4);
  CHECK(read_file(run / "metrics.jsonl").ends_with("{\"event\":\"step\",\"step\":4}\n"));
  write_file(run / "metrics.jsonl", read_file(run / "metrics.jsonl") + R"({"event":"step","st)");  // torn by a kill
  Metrics::truncate(run.path.string(), 4);
  CHECK(read_file(run / "metrics.jsonl").ends_with("{\"event\":\"step\",\"step\":4}\n"));
}

TEST_CASE("an evaluation is known by its step and its tokens", "[core][durability]") {
  TempDir run;
  const std::string path = run.path.string();
  CHECK_FALSE(Metrics::evaluated(path, 4, 100));
  Metrics(path).write({{"event", "eval"}, {"step", 4}, {"tokens", 100}});
  CHECK(Metrics::evaluated(path, 4, 100));
  CHECK_FALSE(Metrics::evaluated(path, 4, 50));
  CHECK_FALSE(Metrics::evaluated(path, 5, 100));
}

TEST_CASE("metrics that were removed are noticed at the next record", "[core][durability]") {
  TempDir run;
  Metrics metrics(run.path.string());
  metrics.write({{"event", "start"}});
  fs::remove(run / "metrics.jsonl");
  CHECK(error_text<Failure>([&] {
          metrics.write({{"event", "step"}});
        }).find("metrics.jsonl' has been removed") != std::string::npos);
}

TEST_CASE("a line of metrics that does not fit is taken back", "[core][durability]") {
  TempDir run;
  const std::string path = run.path.string();
  Metrics(path).write({{"event", "start"}});
  const std::string before = read_file(run / "metrics.jsonl");
  auto full = [&] {  // in a process of its own, for the limit cannot be raised again
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{before.size() + 10, before.size() + 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    Metrics metrics(path);
    const std::string sentence = error_text<Failure>([&] { metrics.write({{"event", "step"}, {"step", 1}}); });
    return sentence.find("metrics.jsonl' cannot be written: File too large") != std::string::npos ? 0 : 1;
  };
  CHECK(in_child(full) == 0);
  CHECK(read_file(run / "metrics.jsonl") == before);
}

namespace {

// A model with numbers that tell blocks and places apart.
struct State {
  Config config;
  std::vector<float> parameters, m, v;
  TrainerState trainer;

  State() {
    config.L = 1, config.NH = 1, config.C = 4, config.T = 4, config.V = 8;
    for (auto [block, start] : {std::pair{&parameters, 1.0f}, {&m, 2.0f}, {&v, 3.0f}}) {
      block->resize(parameter_floats(config));
      for (size_t i = 0; i < block->size(); i++) (*block)[i] = start + float(i) / 1024;
    }
    trainer.step = 7;
  }
};

}  // namespace

TEST_CASE("a checkpoint is a copy of the moment it was asked for", "[core][durability]") {
  for (bool in_background : {true, false}) {
    INFO("in the background: " << in_background);
    TempDir run;
    State state;
    const State wanted = state;
    const Metrics metrics(run.path.string());
    Saver saver(run.path.string(), state.config, state.parameters.size(), in_background, metrics);
    CHECK_FALSE(saver.finished());
    CHECK_FALSE(saver.wait());
    saver.save(state.parameters.data(), state.m.data(), state.v.data(), state.trainer, 2);
    for (auto block : {&state.parameters, &state.m, &state.v}) std::fill(block->begin(), block->end(), -1.0f);
    if (!in_background) CHECK(fs::exists(run / "checkpoints/step-00000007"));
    const auto saved = saver.wait();
    REQUIRE(saved);
    CHECK(saved->step == 7);
    CHECK(saved->path == run / "checkpoints/step-00000007");
    CHECK(saved->seconds > 0);
    CHECK_FALSE(saver.wait());
    verify_checkpoint(saved->path, CheckpointUse::kTraining);
    load_parameters(saved->path, state.config, state.parameters.data(), LoadMode::kExact);
    load_optimizer(saved->path, state.config, state.m.data(), state.v.data(), LoadMode::kExact);
    for (const Tensor& tensor : parameter_tensors(state.config))
      for (size_t i = tensor.offset; i < tensor.offset + tensor.size; i++)
        REQUIRE(
            (state.parameters[i] == wanted.parameters[i] && state.m[i] == wanted.m[i] && state.v[i] == wanted.v[i]));
  }
}

TEST_CASE("what a checkpoint fails of comes with the next question", "[core][durability]") {
  for (bool in_background : {true, false}) {
    INFO("in the background: " << in_background);
    TempDir folder;
    const std::string run = folder / "run";
    fs::create_directory(run);
    State state;
    const Metrics metrics(run);
    Saver saver(run, state.config, state.parameters.size(), in_background, metrics);
    fs::remove_all(run);
    saver.save(state.parameters.data(), state.m.data(), state.v.data(), state.trainer, 2);
    CHECK(error_text<Failure>([&] { saver.wait(); }).find("checkpoints' cannot be made: No such file or directory") !=
          std::string::npos);
    CHECK_FALSE(fs::exists(run));  // a run that someone has removed is not made again
    CHECK_FALSE(saver.wait());     // once is enough
  }
}
