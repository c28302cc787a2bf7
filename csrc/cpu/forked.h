// Whether OpenMP can still be used.
//
// A child of fork has its parent's memory but none of its threads. libgomp does not notice: it would hand work to the
// threads that the parent had, and wait for them forever. So whatever opens a parallel region asks here first, and
// runs on the calling thread alone in a forked child.
#pragma once

namespace fastrnn {

// True in a child of fork, from the moment of the fork on.
bool forked();

}  // namespace fastrnn
