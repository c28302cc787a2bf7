// What a file is compiled for that includes this first: AVX2.
#pragma once
#pragma GCC target("avx2,fma,f16c")
#define FASTRNN_TARGET avx2
#define FASTRNN_VECTOR_BYTES 32
#define FASTRNN_REGISTERS 16
