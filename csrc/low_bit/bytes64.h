/* 64 bytes as one vector: AVX-512 VBMI, or arrays of bytes with LOW_BIT_EMULATE, so that it can be tested anywhere. */
#ifndef MODICUM_BYTES64_H
#define MODICUM_BYTES64_H

#include <stdint.h>
#include <string.h>

#include "../platform.h"

#if defined(LOW_BIT_EMULATE)

typedef struct {
    uint8_t byte[64];
} v64;

static INLINE v64 v64_load(const void *from) {
    v64 a;
    memcpy(&a, from, 64);
    return a;
}

static INLINE void v64_store(void *to, v64 a) { memcpy(to, &a, 64); }

/* The first n <= 64 bytes, zeros behind them: nothing more is read. */
static INLINE v64 v64_load_some(const void *from, int64_t n) {
    v64 a = {{0}};
    memcpy(&a, from, (size_t)n);
    return a;
}

static INLINE v64 v64_zero(void) {
    v64 a = {{0}};
    return a;
}

/* The same eight bytes eight times. */
static INLINE v64 v64_repeat8(const void *from) {
    v64 a;
    for (int i = 0; i < 64; i += 8) {
        memcpy(a.byte + i, from, 8);
    }
    return a;
}

static INLINE v64 v64_add(v64 a, v64 b) {
    for (int i = 0; i < 64; ++i) {
        a.byte[i] = (uint8_t)(a.byte[i] + b.byte[i]);
    }
    return a;
}

static INLINE v64 v64_sub(v64 a, v64 b) {
    for (int i = 0; i < 64; ++i) {
        a.byte[i] = (uint8_t)(a.byte[i] - b.byte[i]);
    }
    return a;
}

/* Byte i is byte index[i] mod 64 of the table; with `keep`, zero where its bit i is 0. */
static INLINE v64 v64_look_up(v64 index, v64 table) {
    for (int i = 0; i < 64; ++i) {
        index.byte[i] = table.byte[index.byte[i] & 63];
    }
    return index;
}

static INLINE v64 v64_look_up_some(uint64_t keep, v64 index, v64 table) {
    index = v64_look_up(index, table);
    for (int i = 0; i < 64; ++i) {
        index.byte[i] = keep >> i & 1 ? index.byte[i] : 0;
    }
    return index;
}

#else
#include <immintrin.h>

typedef __m512i v64;

static INLINE v64 v64_load(const void *from) { return _mm512_loadu_si512(from); }
static INLINE void v64_store(void *to, v64 a) { _mm512_storeu_si512(to, a); }
static INLINE v64 v64_load_some(const void *from, int64_t n) {
    return _mm512_maskz_loadu_epi8(n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1, from);
}
static INLINE v64 v64_zero(void) { return _mm512_setzero_si512(); }
static INLINE v64 v64_repeat8(const void *from) {
    int64_t word;
    memcpy(&word, from, 8);
    return _mm512_set1_epi64(word);
}
static INLINE v64 v64_add(v64 a, v64 b) { return _mm512_add_epi8(a, b); }
static INLINE v64 v64_sub(v64 a, v64 b) { return _mm512_sub_epi8(a, b); }
static INLINE v64 v64_look_up(v64 index, v64 table) { return _mm512_permutexvar_epi8(index, table); }
static INLINE v64 v64_look_up_some(uint64_t keep, v64 index, v64 table) {
    return _mm512_maskz_permutexvar_epi8(keep, index, table);
}

#endif
#endif
