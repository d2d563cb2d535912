// Keeps each thread on a CPU of its own while two libraries with threads take turns. Left to itself the system may put a
// thread that wakes up on the CPU of another, because the other library's thread spins on its own one, and leave both
// there for 50 ms: seen as half the speed in some rounds. Does nothing where the system is not Linux.
#pragma once

#include <vector>

class BoundThreads {
 public:
  // Binds OpenMP's threads, in their order, to the CPUs that the process may use.
  BoundThreads();
  ~BoundThreads();  // frees them
  BoundThreads(const BoundThreads&) = delete;
  BoundThreads& operator=(const BoundThreads&) = delete;

  // Runs load(), and binds the threads that it starts likewise, from the second CPU on: the caller works as well.
  template <class F>
  auto around(F load) {
    std::vector<int> before = threads();
    auto result = load();
    bind_new(before);
    return result;
  }

 private:
  static std::vector<int> threads();  // of this process
  void bind_new(const std::vector<int>& before);
  std::vector<int> cpus_;
};
