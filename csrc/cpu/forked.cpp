#include "forked.h"

#include <pthread.h>

namespace fastrnn {

namespace {

bool in_child = false;
const int handler = pthread_atfork(nullptr, nullptr, [] { in_child = true; });

}  // namespace

bool forked() { return in_child; }

}  // namespace fastrnn
