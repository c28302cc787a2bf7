// What a file is compiled for that includes this first: whatever vectors the compiler's default target has.
#pragma once
#define FASTRNN_TARGET generic
#define FASTRNN_VECTOR_BYTES 16
#define FASTRNN_REGISTERS 16
