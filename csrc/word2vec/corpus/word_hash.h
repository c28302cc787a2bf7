// A hash function for words. It is inline because it runs for every word of a corpus.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fastrnn::word2vec {

inline uint64_t mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <class T>
inline T load(const char* at) {
  T value;
  memcpy(&value, at, sizeof(T));
  return value;
}

// Eight bytes at a time, each mixed in by a multiplication of 64 by 64 bits. The last eight bytes may overlap earlier
// ones, and shorter words are read as two overlapping halves, because copying the exact number of remaining bytes would
// take longer than everything else. The constants are odd, with about as many ones as zeros, which is enough for the
// tables.
inline uint64_t hash(std::string_view text) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15, kLast = 0xD6E8FEB86659FD93;
  const char* at = text.data();
  size_t left = text.size();
  uint64_t state = kFactor ^ left;
  if (left >= 8) {
    for (; left > 8; left -= 8, at += 8) state = mix(state ^ load<uint64_t>(at), kFactor);
    return mix(state ^ load<uint64_t>(at + left - 8), kLast);
  }
  uint64_t word = 0;
  if (left >= 4)
    word = uint64_t{load<uint32_t>(at)} << 32 | load<uint32_t>(at + left - 4);
  else if (left > 0)
    word = load<uint8_t>(at) | load<uint8_t>(at + left / 2) << 8 | load<uint8_t>(at + left - 1) << 16;
  return mix(state ^ word, kLast);
}

}  // namespace fastrnn::word2vec
