#define EMU_DEFINES_BUILTIN_VARIABLES
#include "scheduler.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "block.h"
#include "fiber.h"
#include "symbols.h"

// What device.h declares constant for the thread that reads them.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {

constinit thread_local Now now;
Statistics counted;
Block current;

namespace {

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
uint3 g_index[kMaxThreads];
Queue g_queue;
unsigned g_free_stacks[kMaxThreads];
unsigned g_free_stack_count = 0;
Context g_host;
Context g_nowhere;  // of a thread that has ended

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

// --- going from thread to thread -------------------------------------------------------------------------------------

void become(unsigned thread) {
  now.thread = thread;
  now.stamp = g_clock << kTimeShift | g_block << kBlockShift | thread << kThreadShift;
  now.warp_horizon = current.warps[thread / kLanes].full;
  now.stack = reinterpret_cast<uintptr_t>(stack(current.threads[thread].stack));
  threadIdx = g_index[thread];
}

unsigned take_next() {
  if (g_queue.count == 0) report_stuck();
  if (g_schedule == Schedule::random) std::swap(g_queue.at(0), g_queue.at(random_below(g_queue.count)));
  return g_queue.pop();
}

void thread_main();

// Continues or starts `next`; returns when the thread of `from` is continued.
void go_to(unsigned next, Context& from) {
  Thread& thread = current.threads[next];
  if (thread.state == State::fresh) {
    thread.state = State::ready;
    thread.stack = g_free_stacks[--g_free_stack_count];
    prepare(thread.context, thread.stack, &thread_main);
  }
  become(next);
  ++counted.switches;
  switch_context(from, thread.context);
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
    Thread& me = current.threads[now.thread];
    me.state = State::exited;
    if (++current.exited == current.thread_count) leave();
    const unsigned next = take_next();
    if (current.threads[next].state == State::fresh) {
      current.threads[next].state = State::ready;
      current.threads[next].stack = me.stack;
      become(next);
    } else {
      g_free_stacks[g_free_stack_count++] = me.stack;
      go_to(next, g_nowhere);
    }
  }
}

// --- blocks ----------------------------------------------------------------------------------------------------------

void begin_block(uint64_t block) {
  g_block = block;
  blockIdx = {static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
              static_cast<unsigned>(block / gridDim.x / gridDim.y)};
  current.waiting = current.exited = 0;
  g_queue.count = 0;
  g_free_stack_count = 0;
  for (unsigned i = current.thread_count; i > 0; --i) {
    current.threads[i - 1].state = State::fresh;
    g_free_stacks[g_free_stack_count++] = i - 1;
  }
  for (unsigned i = 0; i < (current.thread_count + kLanes - 1) / kLanes; ++i) {
    current.warps[i].full = 0;
    current.warps[i].partial = false;
    current.warps[i].in_exchange = 0;
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
  current.thread_count = launch.block.x * launch.block.y * launch.block.z;
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

Stamp tick() { return static_cast<Stamp>(++g_clock) << kTimeShift; }

void push_all() {
  const unsigned n = current.thread_count;
  for (unsigned i = 0; i < n; ++i) g_queue.push(g_schedule == Schedule::reverse ? n - 1 - i : i);
}

void push_lanes(unsigned warp, unsigned mask) {
  for (unsigned i = 0; i < kLanes; ++i) {
    const unsigned lane = g_schedule == Schedule::reverse ? kLanes - 1 - i : i;
    if (!(mask >> lane & 1)) continue;
    current.threads[warp * kLanes + lane].state = State::ready;
    g_queue.push(warp * kLanes + lane);
  }
}

void give_way() {
  Thread& me = current.threads[now.thread];
  const unsigned next = take_next();
  if (next == now.thread) {
    become(next);
    return;
  }
  go_to(next, me.context);
}

const Statistics& statistics() { return counted; }

void run(const Launch& launch) {
  begin_launch(launch);
  const uint64_t blocks = static_cast<uint64_t>(gridDim.x) * gridDim.y * gridDim.z;
  ++counted.launches;
  counted.threads += blocks * current.thread_count;
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

std::string describe_caller(Caller caller) { return std::string(caller.file) + ":" + std::to_string(caller.line); }

std::string describe_thread(unsigned thread) { return describe_index(g_index[thread]); }

std::string describe_block(uint64_t block) {
  return describe_index({static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
                         static_cast<unsigned>(block / gridDim.x / gridDim.y)});
}

}  // namespace emu
