// What this binary is and where it may run.
//
// Before main, every program that links build_info.cpp compares the vector instructions it was compiled for with the
// CPU, and ends with cpu_problem()'s sentence and exit code 2 where one is missing. That early because any code of the
// program, even what prints an error, may hold such an instruction and would die of SIGILL without a word.
#pragma once

#include <string>

inline constexpr const char* kVersion = "0.1.0";

std::string git_text();       // commit, with "-dirty" where the tree had changes; "unknown" outside a checkout
std::string compiler_text();  // "g++ 12.2.0", "clang++ 14.0.6"
std::string simd_text();      // the widest vectors compiled in: "AVX-512", "AVX2+FMA", "SSE2", "NEON" or "none"
std::string version_text();   // "0.1.0 (git 1a2b3c4, g++ 12.2.0, AVX-512)"

// Null where this CPU has every instruction set that the binary was compiled for, else one sentence that names the
// missing one and what to do.
const char* cpu_problem();
