#include "data/file_descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

bool FileDescriptor::close() { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

bool write_all(const FileDescriptor& file, const void* bytes, size_t count) {
  constexpr size_t kMostAtOnce = size_t(1) << 30;  // macOS refuses 2 GiB
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(file.number(), next, std::min(count, kMostAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      if (written == 0) errno = ENOSPC;
      return false;
    }
    next += written;
    count -= size_t(written);
  }
  return true;
}

bool sync(const FileDescriptor& file) {
#ifdef F_FULLFSYNC  // macOS, where fsync leaves it in the disk's cache
  if (fcntl(file.number(), F_FULLFSYNC) == 0) return true;
#endif
  return fsync(file.number()) == 0;
}
