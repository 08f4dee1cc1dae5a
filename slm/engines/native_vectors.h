// Vectors of the processor that the code is compiled for: the compiler's own types.
//
// LANES is what one register holds: 16 floats with AVX-512, 8 with AVX2, 4 with NEON and SSE. Sums
// over lanes are taken in blocks of 16 whatever the register, so that their order is one.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

constexpr int BLOCK = 16;  // keys, or rows of values and of their gates, that lie side by side
constexpr int PARTS = BLOCK / LANES;
constexpr int LINE = 16;  // floats that memory hands over at a time

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));

inline Floats load(const float* at) { return *reinterpret_cast<const Floats*>(at); }
inline void store(float* at, Floats values) { *reinterpret_cast<Floats*>(at) = values; }
inline Floats filled(float value) { return value - Floats{}; }

// Weights as they are stored: float32, bfloat16 or int8. Compilers make single steps of the general
// form for bytes, so that it is the last resort.
inline Floats widened(const float* at) { return load(at); }
inline Floats widened(const uint16_t* at) {
    const Words words = __builtin_convertvector(*reinterpret_cast<const Halves*>(at), Words) << 16;
    return (Floats)words;  // the same bits
}
inline Floats widened(const int8_t* at) {
#if defined(__AVX512F__)
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
#elif defined(__AVX2__)
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#elif defined(__aarch64__)
    uint32_t four;
    std::memcpy(&four, at, sizeof(four));
    const int16x8_t shorts = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return (Floats)vcvtq_f32_s32(vmovl_s16(vget_low_s16(shorts)));
#else
    return __builtin_convertvector(*reinterpret_cast<const Bytes*>(at), Floats);
#endif
}

// Sum and maximum of the 16 lanes of a block, from the first on.
inline float total(const Floats* parts) {
    float sum = 0;
    for (int lane = 0; lane < BLOCK; ++lane) sum += parts[lane / LANES][lane % LANES];
    return sum;
}

inline float highest(const Floats* parts) {
    float most = parts[0][0];
    for (int lane = 1; lane < BLOCK; ++lane) most = std::max(most, parts[lane / LANES][lane % LANES]);
    return most;
}

// e^x to 2 units in the last place for x <= 88; 0 below -87.
inline Floats exponential(Floats x) {
    const Ints alive = x > -87.0f;
    const Floats clamped = alive ? (x < 88.0f ? x : filled(88.0f)) : filled(0.0f);
    const Floats scaled = clamped * 1.44269504f;
    const Ints power = __builtin_convertvector(scaled + (scaled < 0 ? filled(-.5f) : filled(.5f)), Ints);
    const Floats whole = __builtin_convertvector(power, Floats);
    const Floats r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats poly = r * 1.9875691500e-4f + 1.3981999507e-3f;
    poly = poly * r + 8.3334519073e-3f;
    poly = poly * r + 4.1665795894e-2f;
    poly = poly * r + 1.6666665459e-1f;
    poly = poly * r + 5.0000001201e-1f;
    const Floats mantissa = poly * r * r + r + 1.0f;
    const Ints exponent = (power + 127) << 23;
    return alive ? mantissa * (Floats)exponent : filled(0.0f);
}

// As `slm.engines.merged_weights.unit`.
inline void unit(const float* x, int64_t width, float eps, float* out) {
    Floats squares[PARTS] = {};
    int64_t d = 0;
    for (; d + BLOCK <= width; d += BLOCK)
        for (int p = 0; p < PARTS; ++p) squares[p] += load(x + d + p * LANES) * load(x + d + p * LANES);
    float square = total(squares);
    for (; d < width; ++d) square += x[d] * x[d];
    const float norm = eps > 0 ? std::sqrt(square + width * eps) : std::max(std::sqrt(square), 1e-12f);
    for (int64_t i = 0; i < width; ++i) out[i] = x[i] / norm;
}

inline void unit_rows(const float* x, int64_t rows, int64_t width, float eps, float* out) {
    for (int64_t row = 0; row < rows; ++row) unit(x + row * width, width, eps, out + row * width);
}

// Part of some items that a thread does.
struct Share {
    int64_t thread, threads;
    int64_t begin(int64_t count) const { return thread * count / threads; }
    int64_t end(int64_t count) const { return (thread + 1) * count / threads; }
};

}  // namespace
