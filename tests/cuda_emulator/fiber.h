// Fibers: stacks that the scheduler goes between without the operating system's help.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emu {

inline constexpr size_t kStackBytes = 64 * 1024;  // a thread's local memory

// Where something continues that another fiber runs ahead of.
struct Context {
  void* place = nullptr;  // the stack pointer, or what the portable version needs
};

// The lowest address of stack `index`; it ends kStackBytes above. Below it lies a page that nobody may touch. Stacks
// are made when they are first asked for and kept.
char* stack(unsigned index);

bool in_stacks(uintptr_t address);

// Makes `context` call `entry`, which must never return, on stack `index`.
void prepare(Context& context, unsigned index, void (*entry)());

// Saves the present place into `from` and continues at `to`.
void switch_context(Context& from, Context& to);

}  // namespace emu
