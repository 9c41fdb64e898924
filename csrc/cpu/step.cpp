// One step of a stack of layers: a list of operations on rows of fixed buffers, run by one call.
//
// For a small model a step is a few dozen operations of a microsecond or less, and to dispatch them
// one by one costs many times that. Python writes the list once (paratime/ops/program.py); norms,
// convolutions and recurrences are the kernels of the other files. Every row is computed by itself,
// in one order, so that neither its neighbours nor threads change a bit of any result.
#include "draw.h"

namespace paratime {

// How often the program has run, on how many rows it does.
struct Turn {
  int64_t number, rows;
  int32_t threads;
};

// As `Operation` in program.py lays it out; what sizes, numbers and pointers mean is up to `run`.
struct Operation {
  void (*run)(const Operation&, const Turn&);
  int64_t sizes[4];
  double numbers[4];
  void* at[6];

  template <class T>
  T* in(int i) const {
    return static_cast<T*>(at[i]);
  }
};

constexpr int64_t kPanel = 64;  // outputs of a linear map whose weights lie together: `PANEL`

// y = base + scale (W x + bias) for rows x (rows, inputs) and y (rows, outputs). W comes in panels
// (ceil(outputs / kPanel), inputs, kPanel), filled up with zeros, so that it is read once, from
// end to end. A bias that is null is 0; a null scale is 1, and then there is no base.
template <class Element>
struct Linear {
  int64_t inputs, outputs;
  const Element *x, *panels, *bias, *scale, *base;
  Element* y;

  using V = Vector<Element>;
  static constexpr int vectors = kPanel / width<Element>;
  static constexpr int most_rows = std::max(1, 16 / vectors);  // their sums stay in registers

  explicit Linear(const Operation& o)
      : inputs(o.sizes[0]),
        outputs(o.sizes[1]),
        x(o.in<Element>(0)),
        panels(o.in<Element>(1)),
        bias(o.in<Element>(2)),
        scale(o.in<Element>(3)),
        base(o.in<Element>(4)),
        y(o.in<Element>(5)) {}

  template <int n>
  void of_rows(int64_t panel, int64_t row) const {
    V sums[n][vectors] = {};
    const Element* weights = panels + panel * inputs * kPanel;
    const Element* from = x + row * inputs;
    for (int64_t k = 0; k < inputs; ++k, weights += kPanel)
      for (int v = 0; v < vectors; ++v) {
        const V w = load(weights + v * width<Element>, width<Element>);
        for (int i = 0; i < n; ++i) sums[i][v] += w * from[i * inputs + k];
      }
    const Tile tile{panel * kPanel, std::min((panel + 1) * kPanel, outputs)};
    for (int i = 0; i < n; ++i) {
      const int64_t at = (row + i) * outputs;
      const V* sum = sums[i];
      tile.for_each_vector<Element>([&](Span s) {
        V result = *sum++;
        if (bias) result += load(bias + s.lane, s.n);
        if (scale) result = load(base + at + s.lane, s.n) + load(scale + s.lane, s.n) * result;
        store(y + at + s.lane, result, s.n);
      });
    }
  }

  void run(const Turn& turn) const {
    const int64_t rows = turn.rows, count = (outputs + kPanel - 1) / kPanel;
#pragma omp parallel for num_threads(turn.threads) if (turn.threads > 1 && count > 1)
    for (int64_t panel = 0; panel < count; ++panel) {
      int64_t row = 0;
      for (; row + most_rows <= rows; row += most_rows) of_rows<most_rows>(panel, row);
      for (; row < rows; ++row) of_rows<1>(panel, row);
    }
  }
};

// y = silu(gate) value, for the two halves of rows x (rows, 2 channels).
template <class Element>
void swiglu(const Operation& o, const Turn& turn) {
  const int64_t channels = o.sizes[0];
  const Element* x = o.in<Element>(0);
  Element* y = o.in<Element>(1);
  for (int64_t row = 0; row < turn.rows; ++row, x += 2 * channels, y += channels)
    Tile{0, channels}.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
      const Vector<Element> gate = load(x + s.lane, s.n);
      store(y + s.lane, gate * sigmoid(gate) * load(x + channels + s.lane, s.n), s.n);
    });
}

// y = table[token], for tokens (rows,) and rows of channels.
template <class Element>
void embed(const Operation& o, const Turn& turn) {
  const int64_t channels = o.sizes[0], *tokens = o.in<int64_t>(0);
  Element* y = o.in<Element>(2);
  for (int64_t row = 0; row < turn.rows; ++row, y += channels) {
    const Element* from = o.in<Element>(1) + tokens[row] * channels;
    std::copy(from, from + channels, y);
  }
}

// The next tokens of rows of logits (rows, vocabulary): written to tokens (rows,), and to a history
// (rows, columns) in the column of this turn, which is also that of the random number that draws
// them. Where logits are no numbers, the history has -1, and the token is some other.
template <class Element>
void draw(const Operation& o, const Turn& turn) {
  static thread_local Draw next;
  const int64_t vocabulary = o.sizes[0], columns = o.sizes[1], window = o.sizes[2];
  const double* f = o.numbers;
  const Filters filters{f[0], f[1], f[2], f[3], o.sizes[3]};
  const auto of_row = [](int64_t* base, int64_t at) { return base ? base + at : nullptr; };
  for (int64_t row = 0; row < turn.rows; ++row) {
    const int64_t at = row * columns + turn.number % columns;
    const Occurred occurred{of_row(o.in<int64_t>(4), row * (vocabulary + 1)),
                            of_row(o.in<int64_t>(5), row * window), window};
    const int64_t token = next(o.in<Element>(0) + row * vocabulary, vocabulary, filters,
                               occurred.counts, o.in<double>(1)[at]);
    o.in<int64_t>(3)[at] = token;
    o.in<int64_t>(2)[row] = std::max<int64_t>(token, 0);
    occurred.add(o.in<int64_t>(2)[row], turn.number);
  }
}

}  // namespace paratime

using paratime::Operation;
using paratime::Turn;

// Run a program for the turns [first, last).
PARATIME_EXPORT void paratime_run_program(const Operation* operations, int64_t count, int64_t rows,
                                     int64_t first, int64_t last, int32_t threads) {
  for (Turn turn{first, rows, threads}; turn.number < last; ++turn.number)
    for (int64_t i = 0; i < count; ++i) operations[i].run(operations[i], turn);
}

// The operation `name`, of an operation o and a turn.
#define PARATIME_STEP(name, format) \
  PARATIME_EXPORT void paratime_step_##name##_##format(const Operation& o, const Turn& turn)

#define PARATIME_STEP_NORM(format, Element)                                                      \
  PARATIME_EXPORT void paratime_rms_norm_##format(                                               \
      int64_t, int64_t, int64_t, const Element*, const Element*, const Element*, int64_t,        \
      int64_t, double, Element*, Element*, int32_t);                                             \
  PARATIME_STEP(norm, format) {                                                                  \
    const Element *x = o.in<Element>(0), *weight = o.in<Element>(1), *gate = o.in<Element>(2);   \
    paratime_rms_norm_##format(turn.rows, 1, o.sizes[0], x, weight, gate, o.sizes[1], 0,         \
                               o.numbers[0], o.in<Element>(3), nullptr, turn.threads);           \
  }

// The memory is carried in place, by way of `next`.
#define PARATIME_STEP_CONV(format, Element)                                                      \
  PARATIME_EXPORT void paratime_causal_conv_##format(                                            \
      int64_t, int64_t, int64_t, int64_t, const Element*, int64_t, int64_t, const Element*,      \
      const Element*, const Element*, const uint8_t*, const int64_t*, Element*, Element*,        \
      int32_t);                                                                                  \
  PARATIME_STEP(conv, format) {                                                                  \
    const int64_t channels = o.sizes[0], taps = o.sizes[1], apart = o.sizes[2];                  \
    const Element *x = o.in<Element>(0), *weight = o.in<Element>(1), *bias = o.in<Element>(2);   \
    Element *memory = o.in<Element>(3), *next = o.in<Element>(4), *y = o.in<Element>(5);         \
    paratime_causal_conv_##format(turn.rows, 1, channels, taps, x, apart, apart, weight, bias,   \
                                  memory, nullptr, nullptr, y, next, turn.threads);              \
    std::copy(next, next + turn.rows * (taps - 1) * channels, memory);                           \
  }

// The state is carried in place.
#define PARATIME_STEP_RECURRENCE(name, format, Element)                                          \
  PARATIME_EXPORT void paratime_##name##_forward_##format(                                       \
      int64_t, int64_t, int64_t, const Element*, const Element*, const Element*, const uint8_t*, \
      const int64_t*, Element*, int64_t, Element*, Element*, int32_t);                           \
  PARATIME_STEP(name, format) {                                                                  \
    const Element *u = o.in<Element>(0), *weight = o.in<Element>(1);                             \
    Element *state = o.in<Element>(2), *y = o.in<Element>(3);                                    \
    paratime_##name##_forward_##format(turn.rows, 1, o.sizes[0], u, weight, state, nullptr,      \
                                       nullptr, y, o.sizes[1], nullptr, state, turn.threads);    \
  }

#define PARATIME_STEPS(format, Element)                                             \
  PARATIME_STEP(embed, format) { paratime::embed<Element>(o, turn); }               \
  PARATIME_STEP(linear, format) { paratime::Linear<Element>(o).run(turn); }         \
  PARATIME_STEP(swiglu, format) { paratime::swiglu<Element>(o, turn); }             \
  PARATIME_STEP(draw, format) { paratime::draw<Element>(o, turn); }                 \
  PARATIME_STEP_NORM(format, Element)                                               \
  PARATIME_STEP_CONV(format, Element)                                               \
  PARATIME_STEP_RECURRENCE(gru1, format, Element)                                   \
  PARATIME_STEP_RECURRENCE(gru2, format, Element)                                   \
  PARATIME_STEP_RECURRENCE(gru4, format, Element)                                   \
  PARATIME_STEP_RECURRENCE(gru8, format, Element)                                   \
  PARATIME_STEP_RECURRENCE(lstm1, format, Element)                                  \
  PARATIME_STEP_RECURRENCE(lstm2, format, Element)                                  \
  PARATIME_STEP_RECURRENCE(lstm4, format, Element)                                  \
  PARATIME_STEP_RECURRENCE(lstm8, format, Element)

PARATIME_STEPS(float32, float)
PARATIME_STEPS(float64, double)
