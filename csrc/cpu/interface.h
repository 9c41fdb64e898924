// The plain C interface of a fused recurrence: one symbol a cell, block size and format.
//
// A library that lacks a symbol cannot run that case; nobody has to keep a list. Formats are
// those of the drive u; states, weights and their gradients are of type Element, which is
// float32 for a drive in bfloat16. Shapes are those of recurrence.h.
#pragma once

#include "recurrence.h"

#define PARATIME_RECURRENCE(name, Cell, format, Element, Drive)                                 \
  PARATIME_EXPORT void paratime_##name##_forward_##format(                                      \
      int64_t batch, int64_t steps, int64_t channels, const Drive* u, const Element* weight,    \
      const Element* h0, const uint8_t* reset, const int64_t* lengths, Drive* y,                \
      int64_t y_stride, Element* memory, Element* final, int32_t threads) {                     \
    paratime::forward<paratime::Cell, Element, Drive>(                                          \
        {batch, steps, channels, u, weight, h0, reset, lengths, threads}, y, y_stride, memory,  \
        final);                                                                                 \
  }                                                                                             \
  PARATIME_EXPORT void paratime_##name##_backward_##format(                                     \
      int64_t batch, int64_t steps, int64_t channels, const Drive* u, const Element* weight,    \
      const Element* h0, const uint8_t* reset, const int64_t* lengths, const Drive* y,          \
      const Element* memory, const Drive* g, const Element* g_final, Drive* d_u,                \
      Element* d_weight_of_each, Element* d_weight, Element* d_h0, int32_t threads) {           \
    paratime::backward<paratime::Cell, Element, Drive>(                                         \
        {batch, steps, channels, u, weight, h0, reset, lengths, threads}, y, memory, g,         \
        g_final, d_u, d_weight_of_each, d_weight, d_h0);                                        \
  }                                                                                             \
  PARATIME_EXPORT void paratime_##name##_linearize_##format(                                    \
      int64_t steps, int64_t channels, const Drive* u, const Element* weight, const Element* h, \
      Element* next, Element* jac) {                                                            \
    paratime::linearize<paratime::Cell>(steps, channels, u, weight, h, next, jac);              \
  }

#define PARATIME_RECURRENCE_FORMATS(name, Cell)            \
  PARATIME_RECURRENCE(name, Cell, float32, float, float)   \
  PARATIME_RECURRENCE(name, Cell, float64, double, double) \
  PARATIME_RECURRENCE(name, Cell, bfloat16, float, paratime::BFloat16)
