#include "train/experiments/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "data/error.h"

extern char** environ;

namespace {

constexpr size_t kMostChildren = 1024;
std::array<std::atomic<pid_t>, kMostChildren> children;  // 0: a free place; a signal handler may read atomics
std::atomic<bool> is_interrupted = false;

void on_interrupt(int number, siginfo_t* info, void*) {
  const int reason = errno;
  if (is_interrupted.exchange(true)) {
    signal(number, SIG_DFL);
    raise(number);
  }
  // Ctrl-C is sent by the terminal, to the children too; a second signal would end them at once.
  const bool all_have_it = number == SIGINT && info->si_code != SI_USER;
  for (std::atomic<pid_t>& child : children)
    if (const pid_t pid = child; pid > 0 && !all_have_it) kill(pid, SIGTERM);
  errno = reason;
}

struct Place {  // in `children`, for as long as the child runs
  std::atomic<pid_t>* place = nullptr;
  explicit Place(pid_t pid) {
    for (std::atomic<pid_t>& child : children)
      if (pid_t free = 0; child.compare_exchange_strong(free, pid)) {
        place = &child;
        return;
      }
  }
  ~Place() {
    if (place) *place = 0;
  }
};

}  // namespace

int run_process(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = 0;
  const int problem = posix_spawn(&pid, words[0].c_str(), &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (problem != 0) throw Failure("'" + words[0] + "' cannot be started (" + std::strerror(problem) + ")");
  const Place place(pid);
  if (is_interrupted) kill(pid, SIGTERM);  // it may have come between the start and now
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) throw Failure("'" + words[0] + "' was lost (" + std::strerror(errno) + ")");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void pass_on_interrupts() {
  for (int number : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    action.sa_sigaction = on_interrupt;
    action.sa_flags = SA_SIGINFO;
    sigaction(number, &action, nullptr);
  }
}

void stop_if_interrupted() {
  if (is_interrupted) throw Failure("interrupted; the same command goes on where this one stopped");
}

std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line))
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  return last;
}
