// Runs a kernel: block after block, the threads of a block as fibers, and the waiting of threads for each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "emulator.h"
#include "include/emulated/vector_types.h"
#include "shadow.h"

namespace emu {

inline constexpr unsigned kMaxThreads = 1024;  // of a block
inline constexpr unsigned kLanes = 32;
inline constexpr unsigned kEveryLane = 0xffffffff;

// What the callbacks need of the thread that runs; rewritten at each switch.
struct Now {
  bool running = false;        // a kernel's thread runs
  bool checking = false;       // and its accesses are checked
  uint32_t until_preempt = 0;  // accesses until the thread gives way
  Stamp stamp = 0;
  Stamp launch_horizon = 0;   // earlier stamps are of earlier launches
  Stamp barrier_horizon = 0;  // earlier stamps of this block are from before its last barrier
  Stamp warp_horizon = 0;     // earlier stamps of this warp are from before its last full __syncwarp
  uintptr_t stack = 0;
  unsigned thread = 0;
};
extern constinit thread_local Now now;
extern Statistics counted;

struct Launch {
  const void* kernel = nullptr;
  void (*call)(const void* kernel, const void* arguments) = nullptr;
  const void* arguments = nullptr;
  size_t argument_bytes = 0;
  dim3 grid, block;
  size_t dynamic_bytes = 0;
  size_t shared_limit = 0;  // static and dynamic together
};

// Runs all blocks of the launch; throws Error.
void run(const Launch& launch);

// Ends the launch from inside one of its threads: the host throws what happened, followed by where. On the host,
// throws. What words a message calls begin_report first: library code that both the emulator and an instrumented file
// contain may be the instrumented copy, which would call back.
void begin_report();
bool in_fiber();
[[noreturn]] void fail(const std::string& what, const std::string& place = "");
[[noreturn]] void fail(const std::string& what, Caller caller);

// Lets another thread run, at an access; or, where threads are not to be interrupted, looks whether they get on.
void preempt();

// True if an access of the running thread's warp with this stamp came before everything the running thread does now.
bool ordered_in_warp(Stamp earlier);

std::string describe_thread(unsigned thread);
std::string describe_block(uint64_t block);

// --- warps -----------------------------------------------------------------------------------------------------------

inline constexpr size_t kMaxExchanged = 48;

// What a lane brings to an operation of its warp, and what it takes away.
struct alignas(16) Deposit {
  unsigned char bytes[kMaxExchanged];
  int lane;  // the lane that it wants something from
};

// An operation that lanes of a warp execute together. `combine` replaces what each lane of the mask has deposited by
// its result, when all of them have come; what other lanes have deposited is not its business.
struct Collective {
  const char* name;
  void (*combine)(Deposit* lanes, unsigned mask);
  bool orders_memory;
};

// Deposits `bytes` of `value`, waits for the lanes of the mask, and returns the result in `value`. All lanes must be at
// the same operation with the same mask and tag, called from the same line.
void exchange(const Collective& operation, unsigned mask, uint64_t tag, int lane, void* value, size_t bytes,
              Caller caller);

// --- shared memory of the present block ------------------------------------------------------------------------------

void begin_shared_memory(size_t dynamic_bytes, size_t limit);
std::string describe_shared(uintptr_t address);

// --- cp.async --------------------------------------------------------------------------------------------------------

// Called for each thread that starts or ends.
void begin_async_copies(unsigned thread);
void end_async_copies(unsigned thread);

}  // namespace emu
