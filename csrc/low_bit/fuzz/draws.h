/* What both fuzz programs draw with: number n of a seed is the same whatever was drawn for those before it. */
#ifndef MODICUM_FUZZ_DRAWS_H
#define MODICUM_FUZZ_DRAWS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;

static inline uint64_t next(void) { /* splitmix64 */
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline int64_t draw(int64_t low, int64_t high) { return low + (int64_t)(next() % (uint64_t)(high - low + 1)); }

static inline int one_in(int64_t n) { return draw(1, n) == 1; }

static inline float real(float range) { return range * ((float)draw(-10000, 10000) / 10000.0f); }

static inline int64_t outputs(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    const int64_t free = size + 2 * pad - dilation * (kernel - 1) - 1;
    return free < 0 ? 0 : free / stride + 1;
}

/* One side of a layer. Large strides, paddings and dilations come together, or else nothing of the picture is seen. */
static inline void draw_side(int64_t *size, int64_t *kernel, int64_t *stride, int64_t *pad, int64_t *dilation, int64_t *out) {
    *size = one_in(20) ? 0 : draw(1, one_in(4) ? 24 : 8);
    *kernel = one_in(6) ? draw(1, 7) : one_in(2) ? 3 : 1;
    *stride = one_in(3) ? draw(2, 4) : 1;
    *dilation = one_in(4) ? draw(2, 4) : 1;
    *pad = one_in(2) ? draw(0, 3) : *dilation * (*kernel - 1) / 2;
    if (one_in(10)) {
        *stride = draw(1, INT64_C(1) << draw(1, 31));
        *pad = one_in(2) ? draw(0, 5) : *stride * draw(0, 2) + draw(0, 3);
    } else if (one_in(15)) {
        *dilation = draw(1, INT64_C(1) << draw(1, 31));
        *pad = *dilation * (*kernel - 1) / 2;
    }
    *out = outputs(*size, *kernel, *stride, *pad, *dilation);
}

/* A block of exactly so many bytes; at least one, so that no two blocks share an address. */
static inline void *block(int64_t bytes) {
    void *to = NULL;
    if (posix_memalign(&to, 64, bytes > 0 ? (size_t)bytes : 1) != 0) {
        fprintf(stderr, "fuzz: no memory for %" PRId64 " bytes\n", bytes);
        exit(2);
    }
    return to;
}

static inline void seed_number(uint64_t seed, int64_t number) {
    state = seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)number * UINT64_C(0xaf251af3b0f025b5);
}

#endif
