// Programs as child processes: several at a time, each with its output in a file.
#pragma once

#include <string>
#include <vector>

// Runs a program to its end and returns its exit code, 128 + n where signal n ended it. What it prints is appended to
// `log`. Failure where it cannot be started.
int run_process(const std::vector<std::string>& words, const std::string& log);

// From now on the first SIGINT or SIGTERM is passed on to every child that runs, which then saves and ends; the second
// ends this program too.
void pass_on_interrupts();
// Failure, saying how to go on, after the first.
void stop_if_interrupted();

// The last line of a file that is not blank, "" where there is none.
std::string last_line(const std::string& path);
