// What threads of a block wait at: the barrier of the block and the operations of a warp; and what is said when nobody
// can go on.
#include <cstdio>
#include <cstring>
#include <string>

#include "block.h"

namespace emu {
namespace {

std::string hex(unsigned mask) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", mask);
  return text;
}

bool same_line(Caller a, Caller b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void release_barrier() {
  current.waiting = 0;
  now.barrier_horizon = tick();
  for (unsigned i = 0; i < current.thread_count; ++i) current.threads[i].state = State::ready;
  push_all();
}

[[noreturn]] void report_two_barriers(const Thread& me, const Thread& other) {
  begin_report();
  fail("__syncthreads at two places: thread " + std::to_string(now.thread) + " waits at " + describe_caller(me.caller) +
           ", thread " + std::to_string(&other - current.threads) + " at " + describe_caller(other.caller),
       me.caller);
}

bool same_exchange(const Thread& a, const Thread& b) {
  return a.operation == b.operation && a.mask == b.mask && a.tag == b.tag && same_line(a.caller, b.caller);
}

std::string describe_wait(const Thread& thread) {
  switch (thread.state) {
    case State::at_barrier:
      return "waits at __syncthreads (" + describe_caller(thread.caller) + ")";
    case State::in_exchange:
      return "waits at " + std::string(thread.operation->name) + " with mask " + hex(thread.mask) + " (" +
             describe_caller(thread.caller) + ")";
    case State::exited:
      return "has exited";
    default:
      return "runs";
  }
}

void check_mask(const Collective& operation, unsigned mask, Caller caller) {
  const unsigned lane = now.thread % kLanes;
  if (!(mask >> lane & 1)) {
    begin_report();
    fail(
        std::string(operation.name) + ": mask " + hex(mask) + " does not name the calling lane " + std::to_string(lane),
        caller);
  }
  const unsigned lanes = current.thread_count - now.thread / kLanes * kLanes;
  if (lanes < kLanes && mask >> lanes != 0) {
    begin_report();
    fail(std::string(operation.name) + ": mask " + hex(mask) + " names lane " + std::to_string(lanes) +
             ", but the last warp of this block has " + std::to_string(lanes) + " lanes",
         caller);
  }
}

// Two lanes that wait for each other at different operations would wait forever. Who agrees with the last lane that
// came agrees with all that one agreed with.
void check_agreement(const Warp& warp, unsigned first) {
  const Thread& me = current.threads[now.thread];
  unsigned others = warp.in_exchange & me.mask;
  if (others >> warp.last & 1 && same_exchange(me, current.threads[first + warp.last])) return;
  for (; others != 0; others &= others - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(others));
    const Thread& other = current.threads[first + lane];
    if (same_exchange(me, other) || !(other.mask >> (now.thread - first) & 1)) continue;
    begin_report();
    fail("different warp operations: lane " + std::to_string(now.thread - first) + " " + describe_wait(me) + ", lane " +
             std::to_string(lane) + " " + describe_wait(other),
         me.caller);
  }
}

bool all_have_come(const Warp& warp, unsigned first) {
  const Thread& me = current.threads[now.thread];
  if ((warp.in_exchange & me.mask) != me.mask) return false;
  for (unsigned mask = me.mask; mask != 0; mask &= mask - 1) {
    if (!same_exchange(me, current.threads[first + static_cast<unsigned>(__builtin_ctz(mask))])) return false;
  }
  return true;
}

// What each lane of the mask has seen, now all of them have.
void order_lanes(Warp& warp, unsigned mask, unsigned lanes) {
  const Stamp time = tick();
  if (mask == (lanes < kLanes ? (1u << lanes) - 1 : kEveryLane)) {
    warp.full = time;
    return;
  }
  if (!warp.partial) std::memset(warp.seen, 0, sizeof warp.seen);
  warp.partial = true;
  Stamp merged[kLanes] = {};
  for (unsigned b = 0; b < kLanes; ++b) {
    for (unsigned a = 0; a < kLanes; ++a) {
      if (mask >> a & 1 && warp.seen[a][b] > merged[b]) merged[b] = warp.seen[a][b];
    }
    if (mask >> b & 1) merged[b] = time;
  }
  for (unsigned a = 0; a < kLanes; ++a) {
    if (mask >> a & 1) std::memcpy(warp.seen[a], merged, sizeof merged);
  }
}

void release_lanes(Warp& warp, unsigned first, const Collective& operation, unsigned mask) {
  operation.combine(warp.deposits, mask);
  if (operation.orders_memory) order_lanes(warp, mask, current.thread_count - first);
  warp.in_exchange &= ~mask;
  push_lanes(first / kLanes, mask);
}

// A lane that `thread`, which waits in an exchange, waits for; one that has exited if there is one.
unsigned awaited_lane(unsigned thread) {
  const unsigned first = thread / kLanes * kLanes;
  unsigned found = thread;
  for (unsigned mask = current.threads[thread].mask; mask != 0; mask &= mask - 1) {
    const unsigned other = first + static_cast<unsigned>(__builtin_ctz(mask));
    if (current.threads[other].state == State::exited) return other;
    if (found == thread && !same_exchange(current.threads[thread], current.threads[other])) found = other;
  }
  return found;
}

}  // namespace

void sync_threads(Caller caller) {
  if (!now.running) fail("__syncthreads is called outside a kernel");
  Thread& me = current.threads[now.thread];
  me.caller = caller;
  me.state = State::at_barrier;
  if (current.waiting++ == 0) current.first_waiting = now.thread;
  if (!same_line(caller, current.threads[current.first_waiting].caller))
    report_two_barriers(me, current.threads[current.first_waiting]);
  if (current.waiting == current.thread_count) release_barrier();
  give_way();
}

void exchange(const Collective& operation, unsigned mask, uint64_t tag, int lane, void* value, size_t bytes,
              Caller caller) {
  if (!now.running) fail(std::string(operation.name) + " is called outside a kernel");
  check_mask(operation, mask, caller);
  const unsigned first = now.thread / kLanes * kLanes;
  Thread& me = current.threads[now.thread];
  Warp& warp = current.warps[first / kLanes];
  Deposit& deposit = warp.deposits[now.thread - first];
  me.caller = caller;
  me.operation = &operation;
  me.mask = mask;
  me.tag = tag;
  me.state = State::in_exchange;
  std::memcpy(deposit.bytes, value, bytes);
  deposit.lane = lane;
  check_agreement(warp, first);
  warp.last = now.thread - first;
  warp.in_exchange |= 1u << warp.last;
  if (all_have_come(warp, first)) release_lanes(warp, first, operation, mask);
  give_way();
  std::memcpy(value, deposit.bytes, bytes);
}

bool ordered_in_warp(Stamp earlier) {
  const unsigned other = thread_of(earlier), first = now.thread / kLanes * kLanes;
  if (other - first >= kLanes) return false;
  const Warp& warp = current.warps[first / kLanes];
  return earlier < warp.full || (warp.partial && earlier < warp.seen[now.thread - first][other - first]);
}

void report_stuck() {
  begin_report();
  unsigned exchanging = kMaxThreads, at_barrier = kMaxThreads, exited = kMaxThreads;
  for (unsigned i = current.thread_count; i-- > 0;) {
    const State state = current.threads[i].state;
    if (state == State::at_barrier) at_barrier = i;
    if (state == State::exited) exited = i;
    if (state != State::in_exchange) continue;
    const bool settled = exchanging < kMaxThreads && current.threads[awaited_lane(exchanging)].state == State::exited;
    if (!settled || current.threads[awaited_lane(i)].state == State::exited) exchanging = i;
  }
  if (exchanging < kMaxThreads) {
    const unsigned other = awaited_lane(exchanging);
    now.thread = exchanging;
    fail("deadlock: lane " + std::to_string(exchanging % kLanes) + " " + describe_wait(current.threads[exchanging]) +
             " for lane " + std::to_string(other % kLanes) + ", which " + describe_wait(current.threads[other]),
         current.threads[exchanging].caller);
  }
  now.thread = at_barrier;
  fail("__syncthreads reached by " + std::to_string(current.waiting) + " of " + std::to_string(current.thread_count) +
           " threads; thread " + std::to_string(exited) + " has exited",
       current.threads[at_barrier].caller);
}

}  // namespace emu
