#include "symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

namespace emu {
namespace {

// What must be taken off an address to have the one that is in the program's file.
uintptr_t load_address() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uintptr_t*>(result) = info->dlpi_addr;  // the program itself comes first
        return 1;
      },
      &address);
  return address;
}

std::string hex(uintptr_t address) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(address));
  return text;
}

std::string first_line_of(const std::string& command) {
  std::string line;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    for (int c = fgetc(pipe); c != EOF && c != '\n'; c = fgetc(pipe)) line += static_cast<char>(c);
    while (fgetc(pipe) != EOF) continue;
    pclose(pipe);
  }
  return line;
}

std::string program_file() { return "/proc/" + std::to_string(getpid()) + "/exe"; }

// The functions of the program's symbol table by their address in the file.
std::map<uintptr_t, std::string> read_symbols() {
  std::map<uintptr_t, std::string> symbols;
  std::ostringstream content;
  content << std::ifstream("/proc/self/exe", std::ios::binary).rdbuf();
  const std::string file = content.str();
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(file.data());
  if (file.size() < sizeof *header || header->e_shoff == 0) return symbols;
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file.data() + header->e_shoff);
  for (unsigned i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbol = reinterpret_cast<const ElfW(Sym)*>(file.data() + sections[i].sh_offset);
    const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
    for (size_t n = sections[i].sh_size / sizeof *symbol; n > 0; --n, ++symbol) {
      if ((symbol->st_info & 15) == STT_FUNC) symbols.emplace(symbol->st_value, names + symbol->st_name);
    }
  }
  return symbols;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

}  // namespace

std::string source_line(const void* code) {
  static std::map<const void*, std::string> known;
  const auto found = known.find(code);
  if (found != known.end()) return found->second;
  const std::string place = hex(reinterpret_cast<uintptr_t>(code) - load_address());
  std::string line = first_line_of("addr2line -e " + program_file() + " " + place + " 2> /dev/null");
  line = line.substr(0, line.find(" (discriminator"));
  if (line.empty() || line[0] == '?') line = place;
  return known[code] = line;
}

std::string function_name(const void* function) {
  static const std::map<uintptr_t, std::string> symbols = read_symbols();
  const uintptr_t place = reinterpret_cast<uintptr_t>(function) - load_address();
  const auto found = symbols.find(place);
  return found == symbols.end() ? hex(place) : demangled(found->second);
}

}  // namespace emu
