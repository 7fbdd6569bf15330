/* What all kernels say to compilers: what is exported, and for which levels of x86-64 a function is compiled. */
#ifndef MODICUM_PLATFORM_H
#define MODICUM_PLATFORM_H

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__clang__) && defined(__linux__)
#define EXPORT /* clang makes no clones of a function with a visibility of its own: CMakeLists.txt hides nothing there */
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__)
#if defined(__clang__) && __clang_major__ < 18
#define CLONES /* clang called such a function NAME.ifunc alone (llvm-project, pull request 71706): nobody asks for that */
#elif defined(__clang__)
#define CLONES __attribute__((target_clones("avx2", "default"))) /* clang knows no levels here */
#else
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
#else
#define CLONES
#endif

#if defined(__GNUC__)
#define INLINE inline __attribute__((always_inline))
#else
#define INLINE inline
#endif

#endif
