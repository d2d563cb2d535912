#define EMU_DEFINES_BUILTIN_VARIABLES
#include "scheduler.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "fiber.h"
#include "symbols.h"

// What device.h declares constant for the thread that reads them.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {

Now now;
Statistics counted;

namespace {

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

// The threads that can run, each at most once.
struct Queue {
  uint16_t threads[kMaxThreads];
  unsigned head = 0, count = 0;

  void push(unsigned thread) { threads[(head + count++) % kMaxThreads] = static_cast<uint16_t>(thread); }
  uint16_t& at(unsigned i) { return threads[(head + i) % kMaxThreads]; }
  unsigned pop() {
    --count;
    return threads[head++ % kMaxThreads];
  }
};

constexpr uint32_t kEndlessAccesses = 1u << 26;  // of one thread that lets no other run: it waits for what cannot come

Launch g_launch;
alignas(16) unsigned char g_arguments[kMaxParameterBytes];  // in the executable's image, which kernels may read
Thread g_threads[kMaxThreads];
Warp g_warps[kMaxThreads / kLanes];
uint3 g_index[kMaxThreads];
Queue g_queue;
unsigned g_free_stacks[kMaxThreads];
unsigned g_free_stack_count = 0;
Context g_host;
Context g_nowhere;  // of a thread that has ended

unsigned g_thread_count = 0, g_waiting = 0, g_first_waiting = 0, g_exited = 0;
uint64_t g_clock = 0;
uint64_t g_block = 0;
uint64_t g_random = 0;
Schedule g_schedule = Schedule::forward;
uint32_t g_preempt = 0;
Stamp g_last_progress = 0;  // who ran when the accesses were last counted
bool g_in_fiber = false;
std::string g_error;

uint64_t random_number() {
  g_random ^= g_random << 13;
  g_random ^= g_random >> 7;
  g_random ^= g_random << 17;
  return g_random * 0x2545f4914f6cdd1d;
}

unsigned random_below(unsigned n) { return static_cast<unsigned>(((random_number() >> 32) * n) >> 32); }

// The same numbers for every launch, so that an error does not depend on what ran before it.
void seed_random(uint64_t seed) { g_random = (seed + 1) * 0x9e3779b97f4a7c15 | 1; }

uint32_t next_preemption() { return g_preempt ? 1 + random_below(2 * g_preempt - 1) : kEndlessAccesses; }

Stamp tick() { return static_cast<Stamp>(++g_clock) << kTimeShift; }

// --- going from thread to thread --------------------------------------------------------------------------------------

void become(unsigned thread) {
  now.thread = thread;
  now.stamp = g_clock << kTimeShift | g_block << kBlockShift | thread << kThreadShift;
  now.warp_horizon = g_warps[thread / kLanes].full;
  now.stack = reinterpret_cast<uintptr_t>(stack(g_threads[thread].stack));
  threadIdx = g_index[thread];
}

[[noreturn]] void report_stuck();

unsigned take_next() {
  if (g_queue.count == 0) report_stuck();
  if (g_schedule == Schedule::random) std::swap(g_queue.at(0), g_queue.at(random_below(g_queue.count)));
  return g_queue.pop();
}

void push_all() {
  const unsigned n = g_thread_count;
  for (unsigned i = 0; i < n; ++i) g_queue.push(g_schedule == Schedule::reverse ? n - 1 - i : i);
}

void push_lanes(unsigned warp, unsigned mask) {
  for (unsigned i = 0; i < kLanes; ++i) {
    const unsigned lane = g_schedule == Schedule::reverse ? kLanes - 1 - i : i;
    if (!(mask >> lane & 1)) continue;
    g_threads[warp * kLanes + lane].state = State::ready;
    g_queue.push(warp * kLanes + lane);
  }
}

void thread_main();

// Continues or starts `next`; returns when the thread of `from` is continued.
void go_to(unsigned next, Context& from) {
  Thread& thread = g_threads[next];
  if (thread.state == State::fresh) {
    thread.state = State::ready;
    thread.stack = g_free_stacks[--g_free_stack_count];
    prepare(thread.context, thread.stack, &thread_main);
  }
  become(next);
  ++counted.switches;
  switch_context(from, thread.context);
}

void give_way() {
  Thread& me = g_threads[now.thread];
  const unsigned next = take_next();
  if (next == now.thread) {
    become(next);
    return;
  }
  go_to(next, me.context);
}

// Back to the host for good: the other threads are never continued.
[[noreturn]] void leave() {
  switch_context(g_nowhere, g_host);
  __builtin_unreachable();
}

// The bottom of every stack: threads that have not started yet continue on the stack of one that has ended.
void thread_main() {
  for (;;) {
    begin_async_copies(now.thread);
    g_launch.call(g_launch.kernel, g_arguments);
    end_async_copies(now.thread);
    Thread& me = g_threads[now.thread];
    me.state = State::exited;
    if (++g_exited == g_thread_count) leave();
    const unsigned next = take_next();
    if (g_threads[next].state == State::fresh) {
      g_threads[next].state = State::ready;
      g_threads[next].stack = me.stack;
      become(next);
    } else {
      g_free_stacks[g_free_stack_count++] = me.stack;
      go_to(next, g_nowhere);
    }
  }
}

// --- blocks -----------------------------------------------------------------------------------------------------------

void begin_block(uint64_t block) {
  g_block = block;
  blockIdx = {static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
              static_cast<unsigned>(block / gridDim.x / gridDim.y)};
  g_waiting = g_exited = 0;
  g_queue.count = 0;
  g_free_stack_count = 0;
  for (unsigned i = g_thread_count; i > 0; --i) {
    g_threads[i - 1].state = State::fresh;
    g_free_stacks[g_free_stack_count++] = i - 1;
  }
  for (unsigned i = 0; i < (g_thread_count + kLanes - 1) / kLanes; ++i) {
    g_warps[i].full = 0;
    g_warps[i].partial = false;
    g_warps[i].in_exchange = 0;
  }
  now.barrier_horizon = tick();
  begin_shared_memory(g_launch.dynamic_bytes, g_launch.shared_limit);
  push_all();
}

void run_block(uint64_t block) {
  begin_block(block);
  const unsigned first = take_next();
  // The callbacks look at `running`, so it must be true exactly while a fiber runs.
  g_in_fiber = now.running = true;
  now.checking = options().check;
  go_to(first, g_host);
  g_in_fiber = now.running = now.checking = false;
  if (!g_error.empty()) throw Error(std::exchange(g_error, ""));
}

void index_threads(const dim3& block) {
  unsigned i = 0;
  for (unsigned z = 0; z < block.z; ++z) {
    for (unsigned y = 0; y < block.y; ++y) {
      for (unsigned x = 0; x < block.x; ++x) g_index[i++] = {x, y, z};
    }
  }
}

void begin_launch(const Launch& launch) {
  constexpr uint64_t kLateClock = 0xf0000000;
  if (g_clock > kLateClock) {
    forget_accesses();
    g_clock = 0;
  }
  g_launch = launch;
  std::memcpy(g_arguments, launch.arguments, launch.argument_bytes);
  gridDim = launch.grid;
  blockDim = launch.block;
  g_thread_count = launch.block.x * launch.block.y * launch.block.z;
  index_threads(launch.block);
  g_schedule = options().schedule;
  g_preempt = options().preempt;
  seed_random(options().seed);
  now.until_preempt = next_preemption();
  now.launch_horizon = tick();
}

std::vector<uint32_t> order_of_blocks(uint64_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  if (g_schedule == Schedule::reverse) std::reverse(order.begin(), order.end());
  if (g_schedule == Schedule::random) {
    for (uint64_t i = count; i > 1; --i) std::swap(order[i - 1], order[random_below(static_cast<unsigned>(i))]);
  }
  return order;
}

// --- waiting ----------------------------------------------------------------------------------------------------------

std::string hex(unsigned mask) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", mask);
  return text;
}

std::string describe_caller(Caller caller) { return std::string(caller.file) + ":" + std::to_string(caller.line); }

bool same_line(Caller a, Caller b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void release_barrier() {
  g_waiting = 0;
  now.barrier_horizon = tick();
  for (unsigned i = 0; i < g_thread_count; ++i) g_threads[i].state = State::ready;
  push_all();
}

[[noreturn]] void report_two_barriers(const Thread& me, const Thread& other) {
  begin_report();
  fail("__syncthreads at two places: thread " + std::to_string(now.thread) + " waits at " + describe_caller(me.caller) +
           ", thread " + std::to_string(&other - g_threads) + " at " + describe_caller(other.caller),
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
  const unsigned lanes = g_thread_count - now.thread / kLanes * kLanes;
  if (lanes < kLanes && mask >> lanes != 0) {
    begin_report();
    fail(std::string(operation.name) + ": mask " + hex(mask) + " names lane " + std::to_string(lanes) +
             ", but the last warp of this block has " + std::to_string(lanes) + " lanes",
         caller);
  }
}

// Two lanes that wait for each other at different operations would wait forever. Who agrees with the last lane that came
// agrees with all that one agreed with.
void check_agreement(const Warp& warp, unsigned first) {
  const Thread& me = g_threads[now.thread];
  unsigned others = warp.in_exchange & me.mask;
  if (others >> warp.last & 1 && same_exchange(me, g_threads[first + warp.last])) return;
  for (; others != 0; others &= others - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(others));
    const Thread& other = g_threads[first + lane];
    if (same_exchange(me, other) || !(other.mask >> (now.thread - first) & 1)) continue;
    begin_report();
    fail("different warp operations: lane " + std::to_string(now.thread - first) + " " + describe_wait(me) + ", lane " +
             std::to_string(lane) + " " + describe_wait(other),
         me.caller);
  }
}

bool all_have_come(const Warp& warp, unsigned first) {
  const Thread& me = g_threads[now.thread];
  if ((warp.in_exchange & me.mask) != me.mask) return false;
  for (unsigned mask = me.mask; mask != 0; mask &= mask - 1) {
    if (!same_exchange(me, g_threads[first + static_cast<unsigned>(__builtin_ctz(mask))])) return false;
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
  if (operation.orders_memory) order_lanes(warp, mask, g_thread_count - first);
  warp.in_exchange &= ~mask;
  push_lanes(first / kLanes, mask);
}

// --- nobody can run ---------------------------------------------------------------------------------------------------

// A lane that `thread`, which waits in an exchange, waits for; one that has exited if there is one.
unsigned awaited_lane(unsigned thread) {
  const unsigned first = thread / kLanes * kLanes;
  unsigned found = thread;
  for (unsigned mask = g_threads[thread].mask; mask != 0; mask &= mask - 1) {
    const unsigned other = first + static_cast<unsigned>(__builtin_ctz(mask));
    if (g_threads[other].state == State::exited) return other;
    if (found == thread && !same_exchange(g_threads[thread], g_threads[other])) found = other;
  }
  return found;
}

[[noreturn]] void report_stuck() {
  begin_report();
  unsigned exchanging = kMaxThreads, at_barrier = kMaxThreads, exited = kMaxThreads;
  for (unsigned i = g_thread_count; i-- > 0;) {
    const State state = g_threads[i].state;
    if (state == State::at_barrier) at_barrier = i;
    if (state == State::exited) exited = i;
    if (state != State::in_exchange) continue;
    const bool settled = exchanging < kMaxThreads && g_threads[awaited_lane(exchanging)].state == State::exited;
    if (!settled || g_threads[awaited_lane(i)].state == State::exited) exchanging = i;
  }
  if (exchanging < kMaxThreads) {
    const unsigned other = awaited_lane(exchanging);
    now.thread = exchanging;
    fail("deadlock: lane " + std::to_string(exchanging % kLanes) + " " + describe_wait(g_threads[exchanging]) +
             " for lane " + std::to_string(other % kLanes) + ", which " + describe_wait(g_threads[other]),
         g_threads[exchanging].caller);
  }
  now.thread = at_barrier;
  fail("__syncthreads reached by " + std::to_string(g_waiting) + " of " + std::to_string(g_thread_count) +
           " threads; thread " + std::to_string(exited) + " has exited",
       g_threads[at_barrier].caller);
}

std::string describe_index(const uint3& index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

std::string describe_where(const std::string& place) {
  return ", in kernel " + function_name(g_launch.kernel) + ", block " + describe_block(g_block) + ", thread " +
         describe_thread(now.thread) + (place.empty() ? "" : ", at " + place) + " (" + describe(options()) + ")";
}

void check_progress() {
  const Stamp progress = now.stamp ^ counted.switches;
  if (progress != std::exchange(g_last_progress, progress)) return;
  begin_report();
  fail("the thread makes " + std::to_string(kEndlessAccesses) + " accesses without a barrier: it seems to wait for " +
       "another thread or block");
}

}  // namespace

const Statistics& statistics() { return counted; }

void run(const Launch& launch) {
  begin_launch(launch);
  const uint64_t blocks = static_cast<uint64_t>(gridDim.x) * gridDim.y * gridDim.z;
  ++counted.launches;
  counted.threads += blocks * g_thread_count;
  const std::vector<uint32_t> order = order_of_blocks(blocks);
  for (uint32_t block : order) run_block(block);
}

bool in_fiber() { return g_in_fiber; }

void begin_report() { now.running = now.checking = false; }

void fail(const std::string& what, const std::string& place) {
  if (!g_in_fiber) throw Error(what);
  begin_report();
  g_error = what + describe_where(place);
  leave();
}

void fail(const std::string& what, Caller caller) { fail(what, describe_caller(caller)); }

void preempt() {
  now.until_preempt = next_preemption();
  if (g_preempt == 0) return check_progress();
  if (g_queue.count == 0) return;
  g_queue.push(now.thread);
  give_way();
}

bool ordered_in_warp(Stamp earlier) {
  const unsigned other = thread_of(earlier), first = now.thread / kLanes * kLanes;
  if (other - first >= kLanes) return false;
  const Warp& warp = g_warps[first / kLanes];
  return earlier < warp.full || (warp.partial && earlier < warp.seen[now.thread - first][other - first]);
}

std::string describe_thread(unsigned thread) { return describe_index(g_index[thread]); }

std::string describe_block(uint64_t block) {
  return describe_index({static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
                         static_cast<unsigned>(block / gridDim.x / gridDim.y)});
}

void sync_threads(Caller caller) {
  if (!now.running) fail("__syncthreads is called outside a kernel");
  Thread& me = g_threads[now.thread];
  me.caller = caller;
  me.state = State::at_barrier;
  if (g_waiting++ == 0) g_first_waiting = now.thread;
  if (!same_line(caller, g_threads[g_first_waiting].caller)) report_two_barriers(me, g_threads[g_first_waiting]);
  if (g_waiting == g_thread_count) release_barrier();
  give_way();
}

void exchange(const Collective& operation, unsigned mask, uint64_t tag, int lane, void* value, size_t bytes,
              Caller caller) {
  if (!now.running) fail(std::string(operation.name) + " is called outside a kernel");
  check_mask(operation, mask, caller);
  const unsigned first = now.thread / kLanes * kLanes;
  Thread& me = g_threads[now.thread];
  Warp& warp = g_warps[first / kLanes];
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

}  // namespace emu
