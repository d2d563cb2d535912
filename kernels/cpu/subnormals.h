// Subnormal numbers, those below 1.2e-38 in size, as 0: operands and results of this thread's arithmetic, while one of
// these lives. They come in crowds, where gradients pass something that is all but shut, and a processor is slow with
// them: an AVX-512 multiply-add was measured at 39 ns instead of 0.75. What they add to any other number is lost in
// rounding, and AdamW's epsilon swallows them.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace cpu {

class SubnormalsAsZero {
 public:
  SubnormalsAsZero() : saved_(control()) { set_control(saved_ | kFlush); }
  ~SubnormalsAsZero() { set_control(saved_); }
  SubnormalsAsZero(const SubnormalsAsZero&) = delete;
  SubnormalsAsZero& operator=(const SubnormalsAsZero&) = delete;

 private:
#if defined(__SSE__)
  using Control = unsigned;
  static constexpr Control kFlush = 0x8040;  // MXCSR: FTZ, results; DAZ, operands
  static Control control() { return _mm_getcsr(); }
  static void set_control(Control control) { _mm_setcsr(control); }
#elif defined(__aarch64__)
  using Control = uint64_t;
  static constexpr Control kFlush = Control(1) << 24;  // FPCR: FZ, both
  static Control control() {
    Control control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    return control;
  }
  static void set_control(Control control) { asm volatile("msr fpcr, %0" : : "r"(control) : "memory"); }
#else
  using Control = unsigned;
  static constexpr Control kFlush = 0;
  static Control control() { return 0; }
  static void set_control(Control) {}
#endif

  Control saved_;
};

}  // namespace cpu
