#include "train/build_info.h"

#include <cstdio>
#include <cstdlib>

// The Makefile passes the commit as a string literal, with "-dirty" appended where the tree had changes.
#ifndef ATTNORM_GIT
#define ATTNORM_GIT "unknown"
#endif

std::string git_text() { return ATTNORM_GIT; }

std::string compiler_text() {
#if defined(__clang__)
  return "clang++ " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
         std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
  return "g++ " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
         std::to_string(__GNUC_PATCHLEVEL__);
#else
  return "unknown compiler";
#endif
}

std::string simd_text() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
  return "AVX2+FMA";
#elif defined(__SSE2__)
  return "SSE2";
#elif defined(__ARM_NEON)
  return "NEON";
#else
  return "none";
#endif
}

std::string version_text() {
  return std::string(kVersion) + " (git " + git_text() + ", " + compiler_text() + ", " + simd_text() + ")";
}

#if defined(__x86_64__) || defined(__i386__)

#define REQUIRE(feature, name)                                                                                    \
  if (!__builtin_cpu_supports(feature))                                                                           \
  return "this program was compiled for a CPU with " name                                                         \
         ", which this one lacks; rebuild it with 'make' on this machine, or with 'make PORTABLE=1' for any CPU " \
         "with AVX2"

// Only compares and string literals: see build_info.h.
const char* cpu_problem() {
  __builtin_cpu_init();
#ifdef __SSE4_2__
  REQUIRE("sse4.2", "SSE4.2");
#endif
#ifdef __POPCNT__
  REQUIRE("popcnt", "POPCNT");
#endif
#ifdef __AVX__
  REQUIRE("avx", "AVX");
#endif
#ifdef __AVX2__
  REQUIRE("avx2", "AVX2");
#endif
#ifdef __FMA__
  REQUIRE("fma", "FMA");
#endif
#ifdef __BMI__
  REQUIRE("bmi", "BMI");
#endif
#ifdef __BMI2__
  REQUIRE("bmi2", "BMI2");
#endif
#ifdef __AVX512F__
  REQUIRE("avx512f", "AVX-512F");
#endif
#ifdef __AVX512VL__
  REQUIRE("avx512vl", "AVX-512VL");
#endif
#ifdef __AVX512BW__
  REQUIRE("avx512bw", "AVX-512BW");
#endif
#ifdef __AVX512DQ__
  REQUIRE("avx512dq", "AVX-512DQ");
#endif
#ifdef __AVX512CD__
  REQUIRE("avx512cd", "AVX-512CD");
#endif
#ifdef __AVX512VBMI__
  REQUIRE("avx512vbmi", "AVX-512VBMI");
#endif
#ifdef __AVX512VBMI2__
  REQUIRE("avx512vbmi2", "AVX-512VBMI2");
#endif
#ifdef __AVX512IFMA__
  REQUIRE("avx512ifma", "AVX-512IFMA");
#endif
#ifdef __AVX512VNNI__
  REQUIRE("avx512vnni", "AVX-512VNNI");
#endif
#ifdef __AVX512BITALG__
  REQUIRE("avx512bitalg", "AVX-512BITALG");
#endif
#ifdef __AVX512VPOPCNTDQ__
  REQUIRE("avx512vpopcntdq", "AVX-512VPOPCNTDQ");
#endif
  return nullptr;
}

namespace {
// 101 is the first priority open to programs, so this runs before every other initializer.
[[gnu::constructor(101)]] void refuse_wrong_cpu() {
  if (const char* sentence = cpu_problem()) {
    std::fputs("attnorm: ", stderr);
    std::fputs(sentence, stderr);
    std::fputs("\n", stderr);
    std::_Exit(2);
  }
}
}  // namespace

#else

const char* cpu_problem() { return nullptr; }  // compilers for other CPUs use nothing above their architecture's base

#endif
