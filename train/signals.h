// What a training run does about signals.
#pragma once

// From now on the first Ctrl-C (SIGINT), SIGTERM or SIGHUP only sets interrupted(), and the second one ends the program at
// once; a reader of the log that goes away (SIGPIPE) does not end the run; and where a mapped token file became shorter or
// its disk fails (SIGBUS), the program ends with a sentence and exit code 1. A signal that was ignored before, as nohup
// asks for, stays ignored.
void catch_signals();

bool interrupted();
