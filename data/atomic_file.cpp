#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "data/error.h"

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw Failure("'" + path + "' cannot be written: " + std::strerror(errno));
}

}  // namespace

void sync_folder(const std::string& folder) {
  int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int result = descriptor < 0 ? -1 : fsync(descriptor);
  int reason = errno;
  if (descriptor >= 0) close(descriptor);
  if (result != 0 && reason != EINVAL)  // EINVAL: a file system that needs no sync of folders
    throw Failure("'" + folder + "' cannot be synced: " + std::strerror(reason));
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path), temporary_(path + ".tmp"), file_(std::fopen(temporary_.c_str(), "wb")) {
  if (!file_) throw Error("'" + path + "' cannot be written: " + std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (!file_) return;
  std::fclose(file_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t count) {
  if (count == 0) return;  // then bytes may be null, which fwrite does not allow
  if (std::fwrite(bytes, 1, count, file_) != count) fail(path_);
}

void AtomicFile::overwrite_start(const void* bytes, size_t count) {
  if (std::fseek(file_, 0, SEEK_SET) != 0) fail(path_);
  write(bytes, count);
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) fail(path_);
  int closed = std::fclose(file_);
  file_ = nullptr;
  if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    int reason = errno;
    unlink(temporary_.c_str());
    errno = reason;
    fail(path_);
  }
  sync_folder(std::filesystem::path(path_).parent_path().string());
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}
