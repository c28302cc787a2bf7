// Products with int8 weights by AVX-VNNI. All else of such a processor is AVX2's.
#if defined(__x86_64__)
#include "before_instruction_set.h"

#pragma GCC target("avx2,fma,f16c,avxvnni")
#define FASTRNN_TARGET avx2_vnni
#define FASTRNN_VECTOR_BYTES 32
#define FASTRNN_REGISTERS 16
#define FASTRNN_VNNI 1
#include "int8_products.h"
#endif
