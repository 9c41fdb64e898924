// Vectors of lanes as g++ and clang spell them, as wide as the machine's registers.
#pragma once

#include "../activations.h"
#include "../formats.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define PARATIME_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define PARATIME_VECTOR_BYTES 32
#else
#define PARATIME_VECTOR_BYTES 16
#endif

namespace paratime {

template <class Element>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <class Element>
using Vector = typename VectorOf<Element>::type;

template <class Element>
constexpr int width = PARATIME_VECTOR_BYTES / sizeof(Element);

template <>
struct Lanes<Vector<float>> {
  using Element = float;
  typedef int32_t Bits __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

template <>
struct Lanes<Vector<double>> {
  using Element = double;
  typedef int64_t Bits __attribute__((vector_size(PARATIME_VECTOR_BYTES)));
};

// x86 has minimum and maximum in one instruction each, which return their second operand if either
// is a NaN; the compiler does not find them behind the comparisons of the portable clamp.
#if defined(__AVX512F__)
#define PARATIME_X86(operation) _mm512_##operation
#elif defined(__AVX2__)
#define PARATIME_X86(operation) _mm256_##operation
#elif defined(__SSE2__)
#define PARATIME_X86(operation) _mm_##operation
#endif
#ifdef PARATIME_X86
template <>
PARATIME_INLINE Vector<float> clamp(Vector<float> x, float low, float high) {
  return PARATIME_X86(min_ps)(Vector<float>{} + high, PARATIME_X86(max_ps)(Vector<float>{} + low, x));
}
template <>
PARATIME_INLINE Vector<double> clamp(Vector<double> x, double low, double high) {
  return PARATIME_X86(min_pd)(Vector<double>{} + high,
                              PARATIME_X86(max_pd)(Vector<double>{} + low, x));
}
#endif

// Read the first n lanes; the others are 0.
template <class Element>
PARATIME_INLINE Vector<Element> load(const Element* from, int n) {
  Vector<Element> x{};
  if (n == width<Element>)
    memcpy(&x, from, sizeof(x));
  else
    memcpy(&x, from, n * sizeof(Element));
  return x;
}

// Write the first n lanes.
template <class Element>
PARATIME_INLINE void store(Element* to, Vector<Element> x, int n) {
  if (n == width<Element>)
    memcpy(to, &x, sizeof(x));
  else
    memcpy(to, &x, n * sizeof(Element));
}

template <class Element>
PARATIME_INLINE Element total(Vector<Element> x) {
  Element sum = 0;
  for (int lane = 0; lane < width<Element>; ++lane) sum += x[lane];
  return sum;
}

typedef uint16_t Halves __attribute__((vector_size(PARATIME_VECTOR_BYTES / 2)));
typedef uint32_t Words __attribute__((vector_size(PARATIME_VECTOR_BYTES)));

PARATIME_INLINE Vector<float> load(const BFloat16* from, int n) {
  Halves half{};
  if (n == width<float>)
    memcpy(&half, from, sizeof(half));
  else
    memcpy(&half, from, n * sizeof(BFloat16));
  return bits_as<Vector<float>>(__builtin_convertvector(half, Words) << 16);
}

PARATIME_INLINE void store(BFloat16* to, Vector<float> x, int n) {
  const Words bits = bits_as<Words>(x);
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words quiet_nan = Words{} + 0x7fc0;
  const Halves half = __builtin_convertvector(x == x ? rounded : quiet_nan, Halves);
  if (n == width<float>)
    memcpy(to, &half, sizeof(half));
  else
    memcpy(to, &half, n * sizeof(BFloat16));
}

}  // namespace paratime
