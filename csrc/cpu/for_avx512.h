// What a file is compiled for that includes this first: AVX-512.
#pragma once
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define FASTRNN_TARGET avx512
#define FASTRNN_VECTOR_BYTES 64
#define FASTRNN_REGISTERS 32
