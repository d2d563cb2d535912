#include "train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace {

std::atomic<bool> is_interrupted = false;

void print_at_once(const char* sentence) {  // what a signal handler may do
  [[maybe_unused]] auto ignored = write(STDERR_FILENO, sentence, std::strlen(sentence));
}

void on_interrupt(int number) {
  const int reason = errno;  // whatever is interrupted may be about to look at it
  if (is_interrupted.exchange(true)) {
    signal(number, SIG_DFL);
    raise(number);
  } else if (isatty(STDERR_FILENO)) {
    print_at_once("\ntrain: finishing this update, then saving; once more to end at once and lose what is not saved\n");
  }
  errno = reason;
}

void on_bus_error(int) {
  print_at_once("train: a token file became shorter while it was in use, or its disk fails; checkpoints are intact\n");
  _exit(1);
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action = {}, before = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(number, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
}

}  // namespace

void catch_signals() {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) handle(number, on_interrupt);
  handle(SIGBUS, on_bus_error);
  handle(SIGPIPE, SIG_IGN);
}

bool interrupted() { return is_interrupted; }
