// Names for addresses of code, for messages only.
#pragma once

#include <string>

namespace emu {

// "kernels/cuda/gelu.cu:27" from the debug information (-g), by addr2line; the address where that does not know.
std::string source_line(const void* code);

// The demangled name from the program's symbol table; the address if there is none.
std::string function_name(const void* function);

}  // namespace emu
