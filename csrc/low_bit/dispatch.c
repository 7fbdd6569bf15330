/* The kernels of this library in the order in which they are tried, and the functions Python calls.
 * A kernel's number is its place here; what a machine runs is asked of each at run time.
 */
#include "swar.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define ON_X86 1
#endif

static const low_bit_kernel *const KERNELS[] = {
#if defined(ON_X86)
    &low_bit_avx512vbmi, &low_bit_avx2, &low_bit_int8_avx2,
#endif
#if defined(__aarch64__)
    &low_bit_neon,
#endif
    &low_bit_swar_table,
    &low_bit_portable, /* takes everything: those behind it are used only where they are asked for */
    &low_bit_swar_buffer,
    &low_bit_swar_carry, &low_bit_swar_carry_32, &low_bit_scalar, &low_bit_scalar_blocked,
};

EXPORT int32_t modicum_low_bit_kernels(void) { return (int32_t)(sizeof(KERNELS) / sizeof(KERNELS[0])); }

EXPORT const char *modicum_low_bit_name(int32_t kernel) { return KERNELS[kernel]->name; }

EXPORT int32_t modicum_low_bit_runs_here(int32_t kernel) { return KERNELS[kernel]->runs_here(); }

EXPORT int32_t modicum_low_bit_supports(int32_t kernel, const low_bit_shape *shape, int32_t weights, int32_t bits,
                                        int32_t wide) {
    return KERNELS[kernel]->supports(shape, weights, bits, wide);
}

EXPORT int64_t modicum_low_bit_packed_bytes(int32_t kernel, const low_bit_shape *shape, int32_t weights, int32_t wide) {
    return KERNELS[kernel]->packed_bytes(shape, weights, wide);
}

EXPORT void modicum_low_bit_pack(int32_t kernel, const low_bit_shape *shape, int32_t weights, int32_t wide,
                                 const int8_t *from, void *to) {
    KERNELS[kernel]->pack(shape, weights, wide, from, to);
}

EXPORT int64_t modicum_low_bit_scratch_bytes(int32_t kernel, const low_bit_shape *shape, int32_t weights, int32_t wide,
                                             int64_t rows) {
    return KERNELS[kernel]->scratch_bytes(shape, weights, wide, rows);
}

EXPORT void modicum_low_bit_convolve(int32_t kernel, const low_bit_shape *shape, int32_t weights, int32_t wide,
                                     const uint8_t *x, const void *packed, int64_t first, int64_t last, void *scratch,
                                     const low_bit_finish *finish, void *out) {
    KERNELS[kernel]->convolve(shape, weights, wide, x, packed, first, last, scratch, finish, out);
}

/* `count` additions that wait for each other, one a cycle on any processor: how long a cycle takes, for benchmarks. */
EXPORT uint64_t modicum_low_bit_additions(uint64_t count) {
    uint64_t sum = count;
    for (uint64_t i = 0; i < count; ++i) {
        sum += i;
#if defined(__GNUC__)
        __asm__ volatile("" : "+r"(sum)); /* no closed form, please */
#endif
    }
    return sum;
}
