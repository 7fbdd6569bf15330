/* What stands between low-bit layers where it could not be folded into them: scale and shift, a sum of two branches, ReLU,
 * codes, in one pass; and maxima over windows, of codes and of numbers.
 *
 * Every operation is rounded as torch rounds it one by one, so that codes are those of training: compile with
 * -ffp-contract=off. Data are channels last.
 */
#include <stdint.h>
#include <string.h>

#include "../platform.h"
#include "pointwise.h"

#define CHUNK 512

/* n <= CHUNK neighbours; scale and shift stand beside them. */
static INLINE void chunk(const low_bit_pointwise *p, int64_t at, int64_t n, const float *restrict scale,
                         const float *restrict shift) {
    float v[CHUNK];
    const float *restrict x = p->x + at;
    if (scale != NULL) {
        for (int64_t i = 0; i < n; ++i) {
            v[i] = (x[i] * scale[i]) + shift[i];
        }
    } else {
        memcpy(v, x, (size_t)n * sizeof(float));
    }
    if (p->y != NULL) {
        const float *restrict y = p->y + at;
        for (int64_t i = 0; i < n; ++i) {
            v[i] = v[i] + y[i];
        }
    }
    if (p->act == 1) {
        for (int64_t i = 0; i < n; ++i) {
            v[i] = v[i] > 0.0f ? v[i] : 0.0f;
        }
    } else if (p->act == 2) {
        float slope = p->slope;
        for (int64_t i = 0; i < n; ++i) {
            v[i] = v[i] > 0.0f ? v[i] : v[i] * slope;
        }
    }
    if (p->numbers != NULL) {
        memcpy(p->numbers + at, v, (size_t)n * sizeof(float));
    }
    if (p->codes != NULL) {
        const float whole = 12582912.0f; /* 1.5 * 2^23: adding and taking it away rounds to nearest, ties to even */
        float low = (float)p->low, top = (float)p->top, inverse = p->inverse;
        uint8_t *restrict codes = p->codes + at;
        for (int64_t i = 0; i < n; ++i) {
            float q = v[i] * inverse;
            q = q > low ? q : low;
            q = q < top ? q : top;
            codes[i] = (uint8_t)(int32_t)((q + whole) - whole);
        }
    }
}

EXPORT CLONES void modicum_low_bit_pointwise(const low_bit_pointwise *p) {
    int64_t total = p->pixels * p->channels;
    if (total == 0) {
        return;
    }
    if (p->scale == NULL) {
        for (int64_t at = 0; at < total; at += CHUNK) {
            chunk(p, at, total - at < CHUNK ? total - at : CHUNK, NULL, NULL);
        }
        return;
    }
    if (p->channels > CHUNK) {
        for (int64_t pixel = 0; pixel < p->pixels; ++pixel) {
            for (int64_t c = 0; c < p->channels; c += CHUNK) {
                int64_t n = p->channels - c < CHUNK ? p->channels - c : CHUNK;
                chunk(p, pixel * p->channels + c, n, p->scale + c, p->shift + c);
            }
        }
        return;
    }
    float scale[CHUNK], shift[CHUNK]; /* of as many pixels as there is room for, so that loops are long */
    int64_t period = CHUNK / p->channels * p->channels;
    for (int64_t i = 0; i < period; ++i) {
        scale[i] = p->scale[i % p->channels];
        shift[i] = p->shift[i % p->channels];
    }
    for (int64_t at = 0; at < total; at += period) {
        chunk(p, at, total - at < period ? total - at : period, scale, shift);
    }
}

#define POOL(NAME, TYPE)                                                                                               \
    /* out[c] = max(out[c], pixel[c]); its own function, so that a compiler knows that these are different places. */  \
    static INLINE void NAME##_row(TYPE *restrict out, const TYPE *restrict pixel, int64_t n) {                         \
        for (int64_t c = 0; c < n; ++c) {                                                                              \
            out[c] = out[c] > pixel[c] ? out[c] : pixel[c];                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    EXPORT CLONES void NAME(const low_bit_pool *shape, const TYPE *x, TYPE *out) {                                     \
        low_bit_pool s = *shape;                                                                                       \
        int64_t channels = s.channels;                                                                                 \
        for (int64_t row = 0; row < s.batch * s.out_height; ++row) {                                                   \
            const TYPE *picture = x + row / s.out_height * s.height * s.width * channels;                              \
            int64_t top = row % s.out_height * s.stride_h - s.pad_h;                                                   \
            for (int64_t column = 0; column < s.out_width; ++column, out += channels) {                                \
                int64_t left = column * s.stride_w - s.pad_w;                                                          \
                int first = 1;                                                                                         \
                for (int64_t ky = 0; ky < s.kernel_h; ++ky) {                                                          \
                    int64_t y = top + ky * s.dilation_h;                                                               \
                    if (y < 0 || y >= s.height) {                                                                      \
                        continue;                                                                                      \
                    }                                                                                                  \
                    for (int64_t kx = 0; kx < s.kernel_w; ++kx) {                                                      \
                        int64_t z = left + kx * s.dilation_w;                                                          \
                        if (z < 0 || z >= s.width) {                                                                   \
                            continue;                                                                                  \
                        }                                                                                              \
                        const TYPE *pixel = picture + (y * s.width + z) * channels;                                    \
                        if (first) {                                                                                   \
                            memcpy(out, pixel, (size_t)channels * sizeof(TYPE));                                       \
                            first = 0;                                                                                 \
                        } else {                                                                                       \
                            NAME##_row(out, pixel, channels);                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                if (first) { /* no tap inside */                                                                       \
                    memset(out, 0, (size_t)channels * sizeof(TYPE));                                                   \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

POOL(modicum_low_bit_pool_codes, uint8_t)
POOL(modicum_low_bit_pool_numbers, float)
