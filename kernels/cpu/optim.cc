// In-place optimizer steps for many parameters at once. float16 and bfloat16 state is updated in float32 and rounded
// once.
#include <cmath>

#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Whether the list has a number and it is infinite or NaN.
bool forbids(const ArrayList& only_if_finite) {
  if (only_if_finite.count == 0) return false;
  const std::byte* number = first_byte(only_if_finite[0]);
  return !(only_if_finite[0].dtype == DType::float64 ? std::isfinite(*reinterpret_cast<const double*>(number))
                                                     : std::isfinite(*reinterpret_cast<const float*>(number)));
}

bool is_double(const ArrayList& arrays) { return arrays.count > 0 && arrays[0].dtype == DType::float64; }

// The gradient with weight decay. If decay is 0 the parameter is left out, because 0 times an infinite one is NaN.
template <class T>
T decayed(T grad, T decay, T parameter) {
  return decay == 0 ? grad : grad + decay * parameter;
}

struct Sgd {
  double learning_rate, momentum, dampening, weight_decay;
  bool nesterov;
};

template <class T>
void plain_sgd_loop(int64_t n, void* const* operands, const void* context) {
  const Sgd& sgd = *static_cast<const Sgd*>(context);
  auto* parameter = static_cast<T*>(operands[0]);
  auto* grad = static_cast<const T*>(operands[1]);
  const T learning_rate = static_cast<T>(sgd.learning_rate), decay = static_cast<T>(sgd.weight_decay);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) parameter[i] -= learning_rate * decayed(grad[i], decay, parameter[i]);
}

template <class T>
void momentum_loop(int64_t n, void* const* operands, const void* context) {
  const Sgd& sgd = *static_cast<const Sgd*>(context);
  auto* parameter = static_cast<T*>(operands[0]);
  auto* velocity = static_cast<T*>(operands[1]);
  auto* grad = static_cast<const T*>(operands[2]);
  const T learning_rate = static_cast<T>(sgd.learning_rate), decay = static_cast<T>(sgd.weight_decay);
  const T momentum = static_cast<T>(sgd.momentum), fresh = static_cast<T>(1 - sgd.dampening);
  const bool nesterov = sgd.nesterov;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T g = decayed(grad[i], decay, parameter[i]);
    const T v = momentum * velocity[i] + fresh * g;
    velocity[i] = v;
    parameter[i] -= learning_rate * (nesterov ? g + momentum * v : v);
  }
}

struct Adam {
  double learning_rate, beta1, beta2, eps;
  double coupled_decay, kept;                  // decay added to the gradient; parameter's factor under decoupled decay
  double first_correction, second_correction;  // 1 / (1 - beta^step)
};

template <class T>
void adam_loop(int64_t n, void* const* operands, const void* context) {
  const Adam& adam = *static_cast<const Adam*>(context);
  auto* parameter = static_cast<T*>(operands[0]);
  auto* first_moment = static_cast<T*>(operands[1]);
  auto* second_moment = static_cast<T*>(operands[2]);
  auto* grad = static_cast<const T*>(operands[3]);
  const T beta1 = static_cast<T>(adam.beta1), fresh1 = static_cast<T>(1 - adam.beta1);
  const T beta2 = static_cast<T>(adam.beta2), fresh2 = static_cast<T>(1 - adam.beta2);
  const T step_size = static_cast<T>(adam.learning_rate * adam.first_correction);
  const T correction = static_cast<T>(adam.second_correction), eps = static_cast<T>(adam.eps);
  const T decay = static_cast<T>(adam.coupled_decay), kept = static_cast<T>(adam.kept);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T g = decayed(grad[i], decay, parameter[i]);
    const T m = beta1 * first_moment[i] + fresh1 * g;
    const T v = beta2 * second_moment[i] + fresh2 * g * g;
    first_moment[i] = m;
    second_moment[i] = v;
    parameter[i] = kept * parameter[i] - step_size * m / (std::sqrt(v * correction) + eps);
  }
}

}  // namespace

void sgd_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities, double learning_rate,
              double momentum, double dampening, double weight_decay, bool nesterov, const ArrayList& only_if_finite) {
  if (forbids(only_if_finite)) return;
  const Sgd sgd{learning_rate, momentum, dampening, weight_decay, nesterov};
  if (momentum == 0) {
    const ArrayList lists[] = {parameters, grads};
    elementwise(is_double(parameters) ? plain_sgd_loop<double> : plain_sgd_loop<float>, lists, 2, 1, 1, true, &sgd);
  } else {
    const ArrayList lists[] = {parameters, velocities, grads};
    elementwise(is_double(parameters) ? momentum_loop<double> : momentum_loop<float>, lists, 3, 2, 2, true, &sgd);
  }
}

void adam_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,
               const ArrayList& second_moments, double learning_rate, double beta1, double beta2, double eps,
               double weight_decay, bool decoupled, int64_t step, const ArrayList& only_if_finite) {
  if (forbids(only_if_finite)) return;
  const double t = static_cast<double>(step);
  const Adam adam{learning_rate,
                  beta1,
                  beta2,
                  eps,
                  decoupled ? 0 : weight_decay,
                  decoupled ? 1 - learning_rate * weight_decay : 1,
                  1 / (1 - std::pow(beta1, t)),
                  1 / (1 - std::pow(beta2, t))};
  const ArrayList lists[] = {parameters, first_moments, second_moments, grads};
  elementwise(is_double(parameters) ? adam_loop<double> : adam_loop<float>, lists, 4, 4, 3, true, &adam);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
