// The queue of the one stream, for the runtime's functions and cuBLAS.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace emu {

// Runs when the host synchronises, after everything that came before.
void enqueue(std::function<void()> work);

// Runs what is in the queue; throws what goes wrong there and forgets the rest.
void synchronise();

// Throws unless [pointer, pointer + bytes) lies in one live allocation of device or managed memory. `what` begins the
// message.
void require_device_range(const std::string& what, const void* pointer, size_t bytes);

// The same, and that all of it has been written.
void require_initialised(const std::string& what, const void* pointer, size_t bytes);

// Names accesses that the operating system stops: the host's to device memory, and of kernels what no callback has seen.
void watch_faults();

}  // namespace emu
