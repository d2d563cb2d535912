// A file of the operating system, open for reading or writing. Files that must survive a crash are written through it
// rather than through stdio: a refused write is seen where it happens.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}  // takes what open() returned; below 0: none
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor() { close(); }

  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

  // The system's verdict on all that was written: false with errno set where it refuses.
  bool close();

 private:
  int number_ = -1;
};

// Each returns false with errno set where the system refuses.

// Writes all bytes at the file's position; where a write is cut short, it goes on with the rest. Some of the bytes may be
// in the file after a failure.
bool write_all(const FileDescriptor& file, const void* bytes, size_t count);

// Waits until what was written has reached the disk.
bool sync(const FileDescriptor& file);
