/* A stand-in for NVIDIA's libcuda.so.1 whose driver hangs: it tells its version, and every other call never returns.
 *
 *     cc -shared -fPIC -o libcuda.so.1 hanging_cuda.c */
#include <string.h>
#include <unistd.h>

int cuInit(unsigned int flags) {
    (void)flags;
    for (;;)
        pause();
}

int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

/* How CUDA's runtime finds the other functions. */
int cuGetProcAddress(const char *symbol, void **found, int version, unsigned long long flags) {
    int (*hangs)(unsigned int) = cuInit;
    (void)symbol, (void)version, (void)flags;
    memcpy(found, &hangs, sizeof *found);
    return 0;
}

int cuGetProcAddress_v2(const char *symbol, void **found, int version, unsigned long long flags, void *status) {
    (void)status;
    return cuGetProcAddress(symbol, found, version, flags);
}
