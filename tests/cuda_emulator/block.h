// The block that runs, as the scheduler and what its threads wait at know it.
#pragma once

#include <cstdint>
#include <string>

#include "fiber.h"
#include "scheduler.h"

namespace emu {

enum class State : uint8_t { fresh, ready, at_barrier, in_exchange, exited };

struct Thread {
  Context context;
  unsigned stack = 0;
  State state = State::fresh;
  Caller caller{};  // where it waits
  const Collective* operation = nullptr;
  unsigned mask = 0;
  uint64_t tag = 0;
};

// Who has seen what in a warp since the block began. `seen[a][b]`: accesses of lane b with earlier stamps came before
// what lane a does now; only kept once a __syncwarp names less than the whole warp.
struct Warp {
  Stamp full = 0;
  bool partial = false;
  Stamp seen[kLanes][kLanes];
  unsigned in_exchange = 0;  // lanes that wait for others
  unsigned last = 0;         // the lane that came last
  Deposit deposits[kLanes];
};

struct Block {
  Thread threads[kMaxThreads];
  Warp warps[kMaxThreads / kLanes];
  unsigned thread_count = 0;
  unsigned waiting = 0;        // at the barrier
  unsigned first_waiting = 0;  // who came there first
  unsigned exited = 0;
};
extern Block current;

// The next time of the clock, for a launch, a barrier or a __syncwarp.
Stamp tick();

// Puts threads that may go on into the queue: all of the block, or some lanes of a warp.
void push_all();
void push_lanes(unsigned warp, unsigned mask);

// Lets others run until somebody puts this thread into the queue and its turn comes.
void give_way();

// Called when the queue is empty and not all threads have ended.
[[noreturn]] void report_stuck();

std::string describe_caller(Caller caller);

}  // namespace emu
