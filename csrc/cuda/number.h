// The numbers that the cells of cells.h compute with on a device: an element and the units for its
// activations. None of them takes a branch or calls a function.
#pragma once

#include "device.h"

namespace paratime {

// float32 on the special-function units, exp2 and reciprocal: within 2e-7 of the exact values.
struct Fast {
  static PARATIME_DEVICE float sigmoid(float x) {
    return reciprocal_fast(1 + exp2_fast(x * -1.44269504f));
  }
  static PARATIME_DEVICE float tanh(float x) {
    return 1 - 2 * reciprocal_fast(1 + exp2_fast(x * 2.88539008f));
  }
};

// tanh by its own unit, within 5e-4, for outputs of bfloat16. Gates stay exact: a small one, which
// keeps a state for long, would vanish in that error.
struct Coarse {
  static PARATIME_DEVICE float sigmoid(float x) { return Fast::sigmoid(x); }
  static PARATIME_DEVICE float tanh(float x) { return tanh_coarse(x); }
};

// float64 to its rounding. Quotients go through an approximate reciprocal and Newton steps, since
// the division operator calls a function for its extreme cases, which the clamps exclude.
struct Precise {
  static PARATIME_DEVICE double sigmoid(double x) {
    const Reduced<double> e = reduce(clamp(-x, Format<double>::lowest, 700.0));
    return quotient(1.0, 1 + power_of_two<double>(e.n) * (1 + e.growth));
  }
  static PARATIME_DEVICE double tanh(double x) {
    constexpr double saturated = Format<double>::saturated;
    const Reduced<double> e = reduce(clamp(x + x, -saturated, saturated));
    const double scale = power_of_two<double>(e.n);
    const double expm1 = scale * e.growth + (scale - 1);
    return quotient(expm1, expm1 + 2);
  }

 private:
  static PARATIME_DEVICE double quotient(double x, double y) {
    double r = reciprocal_fast(y);
    r += r * (1 - y * r);
    r += r * (1 - y * r);
    const double q = x * r;
    return q + r * (x - y * q);
  }
};

template <class E, class Units>
struct Number {
  E value;

  Number() = default;
  PARATIME_DEVICE Number(E x) : value(x) {}

  PARATIME_DEVICE Number operator-() const { return -value; }
  PARATIME_DEVICE Number& operator+=(Number x) { return value += x.value, *this; }

  friend PARATIME_DEVICE Number operator+(Number x, Number y) { return x.value + y.value; }
  friend PARATIME_DEVICE Number operator-(Number x, Number y) { return x.value - y.value; }
  friend PARATIME_DEVICE Number operator*(Number x, Number y) { return x.value * y.value; }
  friend PARATIME_DEVICE Number sigmoid(Number x) { return Units::sigmoid(x.value); }
  friend PARATIME_DEVICE Number tanh(Number x) { return Units::tanh(x.value); }
};

// The element and the units that a format of drives is computed with.
template <class Drive>
struct FormatOf {
  using Element = float;
  using Units = Fast;
};
template <>
struct FormatOf<BFloat16> {
  using Element = float;
  using Units = Coarse;
};
template <>
struct FormatOf<double> {
  using Element = double;
  using Units = Precise;
};

template <class Drive>
using ElementOf = typename FormatOf<Drive>::Element;

template <class Drive>
using NumberOf = Number<ElementOf<Drive>, typename FormatOf<Drive>::Units>;

}  // namespace paratime
