// What generated cells call next to exp, sigmoid and tanh, on numbers and on vectors of lanes alike.
//
// Functions that few cells need are those of the C library, lane by lane.
#pragma once

#include <math.h>

#include "activations.h"

namespace paratime {

template <class V, class F>
PARATIME_INLINE V by_lane(V x, const F& f) {
  using E = typename Lanes<V>::Element;
  if constexpr (sizeof(V) == sizeof(E)) {
    return f(x);
  } else {
    for (unsigned i = 0; i < sizeof(V) / sizeof(E); ++i) x[i] = f(E(x[i]));
    return x;
  }
}

template <class V, class F>
PARATIME_INLINE V by_lane(V x, V y, const F& f) {
  using E = typename Lanes<V>::Element;
  if constexpr (sizeof(V) == sizeof(E)) {
    return f(x, y);
  } else {
    for (unsigned i = 0; i < sizeof(V) / sizeof(E); ++i) x[i] = f(E(x[i]), E(y[i]));
    return x;
  }
}

// The same function in both precisions.
#define PARATIME_OF_LIBRARY(name)                                              \
  PARATIME_INLINE float name##_of(float x) { return ::name##f(x); }            \
  PARATIME_INLINE double name##_of(double x) { return ::name(x); }             \
  template <class V>                                                           \
  PARATIME_INLINE V name(V x) {                                                \
    using E = typename Lanes<V>::Element;                                      \
    return by_lane(x, [](E lane) { return name##_of(lane); });                 \
  }
#define PARATIME_OF_LIBRARY2(name)                                             \
  PARATIME_INLINE float name##_of(float x, float y) { return ::name##f(x, y); } \
  PARATIME_INLINE double name##_of(double x, double y) { return ::name(x, y); } \
  template <class V>                                                           \
  PARATIME_INLINE V name(V x, V y) {                                           \
    using E = typename Lanes<V>::Element;                                      \
    return by_lane(x, y, [](E a, E b) { return name##_of(a, b); });            \
  }

PARATIME_OF_LIBRARY(sqrt)
PARATIME_OF_LIBRARY(sin)
PARATIME_OF_LIBRARY(cos)
PARATIME_OF_LIBRARY(erf)
PARATIME_OF_LIBRARY2(pow)
PARATIME_OF_LIBRARY2(atan2)
PARATIME_OF_LIBRARY2(hypot)

// What log needs of a format: the smallest normal number, a power of two that makes smaller ones
// normal, and R of log(1 + f) = 2 s + s z R(z), with s = f / (2 + f) and z = s^2 <= 0.0295, the
// Chebyshev interpolant of its series 2/3 + 2/5 z + ..., to the rounding of the format.
template <class Element>
struct Logarithm;

template <>
struct Logarithm<float> {
  static constexpr float smallest = 1.17549435e-38f, raise = 33554432.0f, raised = 25.0f;
  static constexpr float root_half = 0.70710678f;

  template <class V>
  static PARATIME_INLINE V series(V z) {
    return 0.666666850f + z * (0.399887806f + z * 0.295799494f);
  }
};

template <>
struct Logarithm<double> {
  static constexpr double smallest = 2.2250738585072014e-308, raise = 18014398509481984.0;
  static constexpr double raised = 54.0, root_half = 0.70710678118654752;

  template <class V>
  static PARATIME_INLINE V series(V z) {
    const V z2 = z * z;
    const V even = 0.666666666666666969 + z2 * (0.285714286259754849 +
                   z2 * (0.181828891252617221 + z2 * 0.146164496850434059));
    const V odd = 0.399999999998995045 + z2 * (0.222222111347950799 + z2 * 0.153317216005560413);
    return even + z * odd;
  }
};

// x = 2^n (1 + f) with 1 + f from sqrt(1/2) to sqrt(2); log(x) = n ln 2 + log(1 + f), which loses
// nothing near x = 1 (Tang, ACM Transactions on Mathematical Software 16, 1990).
template <class V>
PARATIME_INLINE V log(V x) {
  using E = typename Lanes<V>::Element;
  using F = Format<E>;
  using L = Logarithm<E>;
  using Bits = typename Lanes<V>::Bits;
  const V small = x < L::smallest ? V{} + L::raised : V{};
  const V normal = x < L::smallest ? x * L::raise : x;
  const Bits bits = bits_as<Bits>(normal);
  const Bits e = (bits - bits_as<Bits>(V{} + L::root_half)) >> F::mantissa;
  const V n = bits_as<V>(bits_as<Bits>(V{} + F::shifter) + e) - F::shifter - small;
  const V f = bits_as<V>(bits - (e << F::mantissa)) - 1;
  const V s = f / (2 + f), z = s * s, half = f * f * E(0.5);
  const V low = s * (half + z * L::series(z)) + n * F::ln2_low;
  const V found = n * F::ln2_high + (f - (half - low));
  const V infinite = V{} + E(__builtin_inf()), none = V{} + E(__builtin_nan(""));
  const V edge = x == 0 ? -infinite : x < 0 ? none : x;  // x is infinite or a NaN otherwise
  return (x > 0) & (x < infinite) ? found : edge;
}

// log(1 + x), by log of the rounded 1 + x and what rounding lost (Goldberg, ACM Computing Surveys
// 23, 1991).
template <class V>
PARATIME_INLINE V log1p(V x) {
  const V u = 1 + x, lost = (x - (u - 1)) / u;
  return lost == lost ? log(u) + lost : log(u);
}

// exp(x) - 1 without cancellation near 0.
template <class V>
PARATIME_INLINE V expm1(V x) {
  using E = typename Lanes<V>::Element;
  const Reduced<V> e = reduce(clamp(x, E(-Format<E>::saturated), E(20)));
  const V scale = power_of_two<V>(e.n);
  return x > 20 ? exp(x) - 1 : scale * e.growth + (scale - 1);
}

template <class V>
PARATIME_INLINE V rsqrt(V x) {
  return 1 / sqrt(x);
}

// Of a NaN all four make a NaN; the absolute value of -0 is 0.
template <class V>
PARATIME_INLINE V abs(V x) {
  return x < 0 ? -x : x + 0;
}
template <class V>
PARATIME_INLINE V sign(V x) {
  return x > 0 ? V{} + 1 : x < 0 ? V{} - 1 : x;
}
template <class V>
PARATIME_INLINE V maximum(V x, V y) {
  return x > y ? x : x != x ? x : y;
}
template <class V>
PARATIME_INLINE V minimum(V x, V y) {
  return x < y ? x : x != x ? x : y;
}

// log(1 + exp(x)).
template <class V>
PARATIME_INLINE V softplus(V x) {
  return maximum(x, V{}) + log1p(exp(-abs(x)));
}

// log(exp(x) + exp(y)), also where both are infinite.
template <class V>
PARATIME_INLINE V logaddexp(V x, V y) {
  const V larger = maximum(x, y), apart = abs(x - y);
  return larger + log1p(exp(x == y ? V{} : -apart));
}

}  // namespace paratime
