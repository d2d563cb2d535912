// The handler of SIGSEGV. In a kernel the fault becomes an error like any other. On the host, where nothing can be
// thrown from here, it says which device memory was touched; then the handler that was there before, or the system,
// ends the program.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "memory.h"
#include "runtime.h"
#include "scheduler.h"

namespace emu {
namespace {

constexpr size_t kHandlerStackBytes = 64 * 1024;

alignas(16) char g_handler_stack[kHandlerStackBytes];
struct sigaction g_previous;

[[noreturn]] void report_in_kernel(uintptr_t address) {
  begin_report();
  if (address == 0) {
    fail("memory fault that gives no address: probably a misaligned 128-bit access, or a null pointer");
  }
  char text[20];
  std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(address));
  fail("memory fault at " + std::string(text) + ": the local memory of a thread is used up, or an access was not " +
       "instrumented");
}

void handle(int, siginfo_t* info, void*) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (now.running) report_in_kernel(address);
  if (in_device_pool(address)) {
    const std::string text = "emulator: host code touches device memory: " + describe_address(address) + "\n";
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(1);
  }
  sigaction(SIGSEGV, &g_previous, nullptr);  // and the fault happens again
}

}  // namespace

// Others, as test frameworks do for each test, may have put theirs in front.
void watch_faults() {
  struct sigaction ours {};
  ours.sa_sigaction = &handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  struct sigaction present;
  sigaction(SIGSEGV, &ours, &present);
  if (present.sa_sigaction != &handle) g_previous = present;
  stack_t stack{};
  stack.ss_sp = g_handler_stack;
  stack.ss_size = kHandlerStackBytes;
  sigaltstack(&stack, nullptr);
}

}  // namespace emu
