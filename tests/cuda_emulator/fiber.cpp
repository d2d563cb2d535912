// Fibers by hand for x86-64, about 4 ns a switch; by ucontext, about 200 ns, everywhere else.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if !defined(__x86_64__) || defined(EMU_UCONTEXT)
#include <ucontext.h>
#endif

namespace emu {
namespace {

constexpr unsigned kMaxStacks = 1024;
constexpr size_t kGuardBytes = 64 * 1024;  // a whole number of pages whatever their size
constexpr size_t kStride = kStackBytes + kGuardBytes;
constexpr unsigned kColours = 16;

char* g_stacks = nullptr;
bool g_made[kMaxStacks];

char* reserve() {
  void* space = mmap(nullptr, kStride * kMaxStacks, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(space);
}

// Where the first frame of a stack starts: at another cache line for each of 16 stacks, since all of them at the same
// distance would share a few sets of the first-level cache.
char* top(unsigned index) { return stack(index) + kStackBytes - (index % kColours) * 64; }

}  // namespace

char* stack(unsigned index) {
  if (!g_stacks) g_stacks = reserve();
  char* lowest = g_stacks + index * kStride + kGuardBytes;
  if (!g_made[index]) {
    if (mprotect(lowest, kStackBytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    g_made[index] = true;
  }
  return lowest;
}

bool in_stacks(uintptr_t address) {
  return g_stacks && address - reinterpret_cast<uintptr_t>(g_stacks) < kStride * kMaxStacks;
}

#if defined(__x86_64__) && !defined(EMU_UCONTEXT)

// Pushes what a callee must keep, changes the stack and jumps to where that one stopped. A jump, not a return: the
// processor predicts returns from calls, and every one of these would be mispredicted.
asm(R"(
.pushsection .text
.balign 16
.local emu_switch
.type emu_switch, @function
emu_switch:
  popq %rcx
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rcx
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %rcx
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  jmpq *%rcx
.size emu_switch, .-emu_switch
.popsection
)");
extern "C" void emu_switch(void** save, void* continue_at);

void prepare(Context& context, unsigned index, void (*entry)()) {
  // Seven words to pop, then one that stands for the return address, so that the stack is aligned as after a call.
  uintptr_t* frame = reinterpret_cast<uintptr_t*>(top(index)) - 10;
  frame[0] = reinterpret_cast<uintptr_t>(entry);
  for (int i = 1; i < 10; ++i) frame[i] = 0;
  context.place = frame;
}

void switch_context(Context& from, Context& to) { emu_switch(&from.place, to.place); }

#else

namespace {

// A context that waits is on the heap; it is made once for each Context and kept.
ucontext_t& allocated(Context& context) {
  if (!context.place) context.place = new ucontext_t;
  return *static_cast<ucontext_t*>(context.place);
}

}  // namespace

void prepare(Context& context, unsigned index, void (*entry)()) {
  ucontext_t& place = allocated(context);
  getcontext(&place);
  place.uc_stack.ss_sp = stack(index);
  place.uc_stack.ss_size = static_cast<size_t>(top(index) - stack(index));
  place.uc_link = nullptr;
  makecontext(&place, entry, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(&allocated(from), &allocated(to)); }

#endif

}  // namespace emu
