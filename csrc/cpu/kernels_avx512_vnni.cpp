// Products with int8 weights by AVX512-VNNI. All else of such a processor is AVX-512's.
#if defined(__x86_64__)
#include "before_instruction_set.h"

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,avx512vnni")
#define FASTRNN_TARGET avx512_vnni
#define FASTRNN_VECTOR_BYTES 64
#define FASTRNN_REGISTERS 32
#define FASTRNN_VNNI 1
#include "int8_products.h"
#endif
