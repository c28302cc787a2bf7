// sigmoid and tanh of 16 floats by tables, which AVX-512 looks up in one instruction for all lanes: in half the time of
// the series and divisions of activations.h. The pointwise part of LSTM takes 0.67 ns a unit instead of 1.28, of GRU
// 0.48 instead of 0.80 (AMD EPYC, Zen 5). Errors: tanh 1.1 units in the last place at worst, sigmoid 2.48, over all
// floats.
//
// activations_by_table.py prints the numbers.
#pragma once

namespace fastrnn::FASTRNN_TARGET {

using Table = float[16];
using Places = VectorTypes<float>::Integers;

// table[i modulo 16] in each lane.
FASTRNN_INLINE Vec<float>::Register look_up(const Table& table, Places i) {
  return __builtin_shuffle(Vec<float>::load(table).v, i);
}

// Around a center in each of 16 intervals, tanh is a polynomial of the distance from it. The intervals are those of
// x + 1: the last two bits of its exponent and the first two of its fraction are an interval's place. The tanh of a
// center is a float to within a fiftieth of a unit in the last place. From x = 9 on tanh is 1.
constexpr int tanh_degree = 6;
constexpr float tanh_limit = 9.25f;
alignas(64) constexpr Table tanh_table[] = {
    // The centers, then the coefficients of the powers 0, 1, 2 ...
    {0x1.3ff0e4p+0f, 0x1.bff09ap+0f, 0x1.1ff226p+1f, 0x1.60023p+1f, 0x1.bffdcp+1f, 0x1.1fe142p+2f, 0x1.5fe8bep+2f,
     0x1.9fef28p+2f, 0x1.fe2804p+2f, 9.f, 9.f, 9.f, 0.f, 0x1.80030ap-2f, 0x1.400592p-1f, 0x1.c0003ep-1f},
    {0x1.b249c2p-1f, 0x1.e1f878p-1f, 0x1.f4bd6ep-1f, 0x1.fbd52ep-1f, 0x1.ff1124p-1f, 0x1.ffdf88p-1f, 0x1.fffb9cp-1f,
     0x1.ffff68p-1f, 0x1.fffff8p-1f, 1.f, 1.f, 1.f, 0.f, 0x1.6ef7e4p-2f, 0x1.1bf85ap-1f, 0x1.68667p-1f},
    {0x1.1f41cep-2f, 0x1.d26162p-4f, 0x1.645bfp-5f, 0x1.099ea8p-6f, 0x1.dd4adap-9f, 0x1.03b92ap-11f, 0x1.190054p-14f,
     0x1.30017ep-17f, 0x1.0060b2p-21f, 0.f, 0.f, 0.f, 1.f, 0x1.be3ec8p-1f, 0x1.62807cp-1f, 0x1.024fdep-1f},
    {-0x1.e7506p-3f, -0x1.b706cep-4f, -0x1.5c859cp-5f, -0x1.07753ap-6f, -0x1.dc6b6p-9f, -0x1.03a81cp-11f,
     -0x1.18fd5ap-14f, -0x1.300098p-17f, -0x1.000f6p-21f, 0.f, 0.f, 0.f, -0x1.268bd4p-20f, -0x1.3fd6f2p-2f,
     -0x1.893bbp-2f, -0x1.6ba7acp-2f},
    {0x1.bbbf8p-4f, 0x1.01d81ap-4f, 0x1.bc25a2p-6f, 0x1.5988b2p-7f, 0x1.3c287p-9f, 0x1.59acf4p-12f, 0x1.763b0ap-15f,
     0x1.94e6cp-18f, 0x1.4f41bep-22f, 0.f, 0.f, 0.f, -0x1.5544c8p-2f, -0x1.6dc1b2p-3f, -0x1.23cba2p-6f, 0x1.4f1434p-4f},
    {-0x1.9bacc4p-7f, -0x1.817f2p-6f, -0x1.9414d6p-7f, -0x1.4e2988p-8f, -0x1.39eb02p-10f, -0x1.596ec4p-13f,
     -0x1.76459ap-16f, -0x1.94fa9ap-19f, -0x1.53585ap-23f, 0.f, 0.f, 0.f, -0x1.364d1p-10f, 0x1.584d8ep-3f,
     0x1.1a1c52p-3f, 0x1.f20836p-5f},
    {-0x1.42cf04p-6f, 0x1.c83adp-9f, 0x1.04c608p-8f, 0x1.f60ebp-10f, 0x1.0112e6p-11f, 0x1.1f7ef8p-14f, 0x1.382ffcp-17f,
     0x1.51eb06p-20f, 0x1.4136b2p-24f, 0.f, 0.f, 0.f, 0x1.250952p-3f, 0x1.3668e4p-6f, -0x1.bf66ap-5f, -0x1.e00016p-5f},
    {0x1.eeffecp-7f, 0x1.13706cp-9f, -0x1.776b96p-11f, -0x1.20c62p-11f, -0x1.4ab076p-13f, -0x1.7b73eap-16f,
     -0x1.9df8cap-19f, -0x1.c0ab32p-22f, -0x1.929974p-26f, 0.f, 0.f, 0.f, -0x1.2eea3p-5f, -0x1.1bc926p-4f,
     -0x1.3adceep-6f, 0x1.a7d6aap-7f},
};

// e^x = 2^(n / 16) (1 + r + r^2 (c0 + c1 r)) for r = x - n ln(2) / 16.
struct Power {
  static constexpr float steps_in_1 = 0x1.715476p+4f;                          // 16 / ln(2)
  static constexpr float step_high = 0x1.62ep-5f, step_low = 0x1.0bfbe8p-19f;  // ln(2) / 16; n * step_high is exact
  static constexpr float c0 = 0x1.000224p-1f, c1 = 0x1.555744p-3f;
};
alignas(64) constexpr Table power_table[] = {
    // 2^(j / 16) without j where n will be added to its bits; the logarithm of what rounding took from it.
    {0x1p+0f, 0x1.fb5586p-1f, 0x1.f72b84p-1f, 0x1.f387a6p-1f, 0x1.f06fep-1f, 0x1.edea64p-1f, 0x1.ebfdaep-1f,
     0x1.eab07ep-1f, 0x1.ea09e6p-1f, 0x1.ea1148p-1f, 0x1.eace54p-1f, 0x1.ec4918p-1f, 0x1.ee89fap-1f, 0x1.f199bep-1f,
     0x1.f5818ep-1f, 0x1.fa4afap-1f},
    {0.f, 0x1.8d96d4p-25f, -0x1.9c0c22p-27f, 0x1.964902p-25f, 0x1.125002p-25f, 0x1.370be4p-25f, -0x1.0a3552p-25f,
     -0x1.00d8acp-27f, 0x1.26055cp-26f, -0x1.05cb44p-25f, 0x1.67a1cap-28f, 0x1.a3b5e4p-28f, -0x1.f9c306p-27f,
     -0x1.6961b4p-28f, -0x1.a5217cp-28f, 0x1.61428ep-28f},
};

FASTRNN_INLINE Vec<float> tanh(Vec<float> x) {
  const Vec<float>::Register magnitude = at_most<float>(absolute<float>(x.v), tanh_limit);
  const Places interval = (Places)(magnitude + 1.0f) >> 21;
  const Vec<float>::Register distance = magnitude - look_up(tanh_table[0], interval);
  Vec<float>::Register sum = look_up(tanh_table[1 + tanh_degree], interval);
#pragma GCC unroll 8
  for (int k = tanh_degree; k > 0; --k) sum = sum * distance + look_up(tanh_table[k], interval);
  return Vec<float>(with_sign_of<float>(sum, x.v));
}

// 1 / (1 + e^-x). Where e^-x is too large the result is masked out: Newton's step would make NaN of 1 / inf. What such
// lanes hold until there does not matter.
FASTRNN_INLINE Vec<float> sigmoid(Vec<float> x) {
  using C = ExpConstants<float>;
  using Register = Vec<float>::Register;
  const uint16_t lanes = not_less(x.v, -C::limit);
  const Register bounded = at_most<float>(x.v, C::limit), shifted = C::round - bounded * Power::steps_in_1;
  const Register n = shifted - C::round, r = -bounded - n * Power::step_high - n * Power::step_low;
  const Places bits_of_n = (Places)shifted;  // the low ones
  const Register power = (Register)((Places)look_up(power_table[0], bits_of_n) + (bits_of_n << (C::mantissa - 4)));
  const Register e_r_minus_1 = (Power::c1 * r + Power::c0) * (r * r) + (r + look_up(power_table[1], bits_of_n));
  return Vec<float>(reciprocal(power * e_r_minus_1 + power + 1, lanes));
}

}  // namespace fastrnn::FASTRNN_TARGET
