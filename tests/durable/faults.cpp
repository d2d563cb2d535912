// A library that counts the calls by which a program changes files, and lets one of them go wrong: the disk is full,
// the process is killed. For Linux; the tests in this folder preload it into attnorm's programs:
//
//   LD_PRELOAD=build/tests/faults.so FAULTS_IN=$PWD/runs FAULTS_LOG=calls FAULTS='12 fail ENOSPC' build/softmax/train
//
// FAULTS_IN     the folder, as an absolute path: calls that change what lies below it, or it, are counted from 1
// FAULTS_LOG    a file that gets a line for each such call before it is made: "7 rename a -> b", its number, its name
//               and its paths in the folder ("." for the folder itself)
// FAULTS_CALLS  only calls whose name and path, as in the log, match this pattern are counted: 'rename */step-*'
// FAULTS        which call, and what happens there; without it the calls are only counted. '12' is the twelfth, '12-'
//               the twelfth and every later one, and
//     fail E       it fails, with the reason E: ENOSPC, EDQUOT, EIO, EROFS, EINTR or EINVAL
//     short        a write takes half the bytes, and says so
//     kill-before  the process ends by SIGKILL: the call is not made,
//     kill-half    ... has written half the bytes (what writes nothing is not made),
//     kill-after   ... or has been made
//     delay S      it begins S seconds later
//
// Seen are calls through the tables of the dynamic linker, so those of libstdc++ too, but not what the C library does
// by itself: neither fwrite() nor fflush() nor fclose() is counted.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace {

// What FAULTS says. Everything here is plain memory: a program may call from a signal handler.
struct Fault {
  unsigned long first = 0, last = 0;  // numbers of the calls; 0: none
  char action[16] = "";
  char argument[16] = "";  // E or S

  Fault() {
    const char* text = getenv("FAULTS");
    char* end = nullptr;
    if (!text) return;
    first = last = strtoul(text, &end, 10);
    if (*end == '-') last = ULONG_MAX, end++;
    sscanf(end, "%15s %15s", action, argument);
  }
  bool does(const char* name) const { return strcmp(action, name) == 0; }
  int reason() const {
    constexpr struct {
      const char* name;
      int number;
    } kReasons[] = {{"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO},
                    {"EROFS", EROFS},   {"EINTR", EINTR},   {"EINVAL", EINVAL}};
    for (const auto& known : kReasons)
      if (strcmp(known.name, argument) == 0) return known.number;
    abort();
  }
};

// The function of the C library that has this name.
template <class F>
F* real(F*, const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) real(&name, #name)

struct Path {
  char text[PATH_MAX] = "";

  // A path that a call is given, relative to an open folder.
  Path(int folder, const char* path) {
    char base[PATH_MAX] = "";
    if (path[0] != '/') {
      if (folder == AT_FDCWD && !getcwd(base, sizeof base)) base[0] = '\0';
      if (folder != AT_FDCWD) snprintf(base, sizeof base, "%s", Path(folder).text);
    }
    if (snprintf(text, sizeof text, "%s%s%s", base, base[0] ? "/" : "", path) >= int(sizeof text)) text[0] = '\0';
  }

  // That of an open file; empty unless it is open for writing or a folder.
  explicit Path(int descriptor) {
    char link[40];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fstat(descriptor, &status) != 0) return;
    if ((flags & O_ACCMODE) == O_RDONLY && !S_ISDIR(status.st_mode)) return;
    const ssize_t size = readlink(link, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = '\0';
  }

  // The part below FAULTS_IN ("." for itself); nullptr if it is elsewhere.
  const char* inside() const {
    const char* folder = getenv("FAULTS_IN");
    const size_t size = folder ? strlen(folder) : 0;
    if (size == 0 || strncmp(text, folder, size) != 0) return nullptr;
    return text[size] == '/' ? text + size + 1 : text[size] == '\0' ? "." : nullptr;
  }
};

// Counts a call and writes it down. True if the fault is here.
bool counted(const Fault& fault, const char* name, const Path& path, const Path* to) {
  static std::atomic<unsigned long> calls{0};
  static const int log = [] {
    const char* file = getenv("FAULTS_LOG");
    return file ? REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
  }();
  if (!path.inside()) return false;
  char call[2 * PATH_MAX + 32];
  snprintf(call, sizeof call, "%s %s%s%s", name, path.inside(), to ? " -> " : "",
           to && to->inside() ? to->inside() : "");
  const char* pattern = getenv("FAULTS_CALLS");
  if (pattern && fnmatch(pattern, call, 0) != 0) return false;
  const unsigned long number = ++calls;
  if (log >= 0) dprintf(log, "%lu %s\n", number, call);
  return number >= fault.first && number <= fault.last;
}

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

void wait_seconds(double seconds) {
  timespec left{time_t(seconds), long((seconds - double(time_t(seconds))) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// Makes a call, call(bytes), or lets it go wrong. `bytes`: what a write is asked to write, else 0.
template <class Call>
auto make(const char* name, const Path& path, size_t bytes, Call call, const Path* to = nullptr) {
  static const Fault fault;
  const int reason = errno;
  const bool here = counted(fault, name, path, to);
  errno = reason;
  if (!here) return call(bytes);
  if (fault.does("fail")) {
    if (strcmp(name, "close") == 0) call(0);  // a descriptor is gone in any case
    errno = fault.reason();
    return decltype(call(bytes))(-1);
  }
  if (fault.does("short")) return call(bytes > 1 ? bytes / 2 : bytes);
  if (fault.does("delay")) {
    wait_seconds(atof(fault.argument));
    return call(bytes);
  }
  if (fault.does("kill-half") && bytes > 0) call(bytes / 2);
  if (fault.does("kill-after")) call(bytes);
  if (strncmp(fault.action, "kill-", 5) == 0) die();
  abort();
}

// Opening is a change where the file may be made, cut or written.
template <class Open>
int make_open(const Path& path, int flags, Open open_it) {
  if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC))) return open_it();
  return make("open", path, 0, [&](size_t) { return open_it(); });
}

mode_t mode_of(int flags, va_list arguments) { return flags & O_CREAT ? va_arg(arguments, mode_t) : 0; }

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return make_open({AT_FDCWD, path}, flags, [&] { return REAL(open)(path, flags, mode); });
}

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return make_open({folder, path}, flags, [&] { return REAL(openat)(folder, path, flags, mode); });
}

int creat(const char* path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

ssize_t write(int file, const void* bytes, size_t size) {
  return make("write", Path(file), size, [&](size_t some) { return REAL(write)(file, bytes, some); });
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  return make("pwrite", Path(file), size, [&](size_t some) { return REAL(pwrite)(file, bytes, some, offset); });
}

// The parts one after the other: a program must not rely on more than that.
ssize_t writev(int file, const iovec* parts, int count) {
  while (count > 0 && parts->iov_len == 0) parts++, count--;
  return count > 0 ? write(file, parts->iov_base, parts->iov_len) : 0;
}

int close(int file) {
  const int flags = fcntl(file, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) return REAL(close)(file);
  return make("close", Path(file), 0, [&](size_t) { return REAL(close)(file); });
}

int rename(const char* from, const char* to) noexcept {
  const Path target(AT_FDCWD, to);
  auto call = [&](size_t) { return REAL(rename)(from, to); };
  return make("rename", {AT_FDCWD, from}, 0, call, &target);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  const Path target(to_folder, to);
  auto call = [&](size_t) { return REAL(renameat2)(from_folder, from, to_folder, to, flags); };
  return make("renameat2", {from_folder, from}, 0, call, &target);
}

// What is left changes one file or folder and moves no bytes.
#define PASS(name, path, ...) make(#name, path, 0, [&](size_t) { return REAL(name)(__VA_ARGS__); })
int fsync(int file) { return PASS(fsync, Path(file), file); }
int fdatasync(int file) { return PASS(fdatasync, Path(file), file); }
int ftruncate(int file, off_t size) noexcept { return PASS(ftruncate, Path(file), file, size); }
int truncate(const char* path, off_t size) noexcept { return PASS(truncate, Path(AT_FDCWD, path), path, size); }
int unlink(const char* path) noexcept { return PASS(unlink, Path(AT_FDCWD, path), path); }
int unlinkat(int at, const char* path, int flags) noexcept { return PASS(unlinkat, Path(at, path), at, path, flags); }
int remove(const char* path) noexcept { return PASS(remove, Path(AT_FDCWD, path), path); }
int rmdir(const char* path) noexcept { return PASS(rmdir, Path(AT_FDCWD, path), path); }
int mkdir(const char* path, mode_t mode) noexcept { return PASS(mkdir, Path(AT_FDCWD, path), path, mode); }

static_assert(sizeof(off_t) == 8, "the names with 64 are others than those without");
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int openat64(int folder, const char* path, int flags, ...) __attribute__((alias("openat")));
int creat64(const char* path, mode_t mode) __attribute__((alias("creat")));
ssize_t pwrite64(int file, const void* bytes, size_t size, off_t offset) __attribute__((alias("pwrite")));
int ftruncate64(int file, off_t size) noexcept __attribute__((alias("ftruncate")));
int truncate64(const char* path, off_t size) noexcept __attribute__((alias("truncate")));

}  // extern "C"
