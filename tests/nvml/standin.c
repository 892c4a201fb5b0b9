/* A stand-in for NVIDIA's libnvidia-ml.so.1: the functions that stages/workload/probes/gpus.py calls, with the
 * signatures and struct layouts of nvml.h, under the versioned names that nvidia-ml-py loads.
 *
 * What it answers is in the text file that NVML_STANDIN names, read again where it has changed: lines `key value`, first those
 * of the system, then those of each card after a line `card`. A key that is not there is answered NOT_SUPPORTED, a
 * value `error N` with the nvmlReturn_t N. Two keys name a function: `hangs NAME` never returns from it, `crashes NAME`
 * is a segmentation fault in it.
 *
 * A number may change as time goes on: `345;3.5:1980` is 345, and 1980 from 3.5 s after the system's `began` (seconds
 * since 1970). The counter `energy_millijoules of_power` is the card's `power_milliwatts` times the time since then.
 *
 *     cc -shared -fPIC -o libnvidia-ml.so.1 standin.c
 *
 * With -DBEFORE_510 it lacks what drivers before 510 do (Kepler's last one, 470, is such a driver). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { SYSTEM = -1 };
enum { CLOCK_SM = 1, CLOCK_MEM = 2 };

typedef int nvmlReturn_t;
typedef void *nvmlDevice_t; /* here the card's index plus 1 */
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t; /* its second and third version */

/* ------------------------------------------------------------------------------------------------- the text file */

/* What the file holds, read again where it has changed; "" where there is none. */
static const char *contents(void) {
    static char text[1 << 16];
    static struct stat known;
    struct stat now;
    const char *path = getenv("NVML_STANDIN");
    FILE *file;
    if (!path || stat(path, &now))
        return "";
    if (now.st_ino == known.st_ino && now.st_size == known.st_size && now.st_mtim.tv_sec == known.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return text;
    file = fopen(path, "r");
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = 0;
    if (file)
        fclose(file);
    known = now;
    return text;
}

/* The value that belongs to a key of the system or of a card, in a buffer of its own; NULL where there is none. */
static const char *look_up(int card, const char *key) {
    static char line[4096];
    size_t length = strlen(key);
    const char *rest = contents();
    int at = SYSTEM;
    while (*rest && at <= card) {
        size_t size = strcspn(rest, "\n"), kept = size < sizeof line ? size : sizeof line - 1;
        memcpy(line, rest, kept);
        line[kept] = 0;
        rest += size + (rest[size] == '\n');
        if (!strcmp(line, "card"))
            at++;
        else if (at == card && !strncmp(line, key, length) && (line[length] == ' ' || !line[length]))
            return line + length + (line[length] == ' ');
    }
    return NULL;
}

static int card_of(nvmlDevice_t device) { return (int)(size_t)device - 1; }

/* The text of a key, after the hang, crash or error that the file asks for. */
static nvmlReturn_t text_of(int card, const char *function, const char *key, const char **text) {
    const char *named = look_up(card, "hangs");
    if (named && !strcmp(named, function))
        for (;;)
            pause();
    named = look_up(card, "crashes");
    if (named && !strcmp(named, function))
        *(volatile int *)0 = 0;
    if (card != SYSTEM && look_up(card, "lost"))
        return GPU_IS_LOST;
    *text = look_up(card, key);
    if (!*text)
        return NOT_SUPPORTED;
    return strncmp(*text, "error ", 6) ? SUCCESS : atoi(*text + 6);
}

static nvmlReturn_t copy_of(int card, const char *function, const char *key, char *to, unsigned int size) {
    const char *text;
    nvmlReturn_t status = text_of(card, function, key, &text);
    if (status == SUCCESS && strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    if (status == SUCCESS)
        strcpy(to, text);
    return status;
}

/* The seconds since the system's `began`. */
static double elapsed(void) {
    const char *began = look_up(SYSTEM, "began");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return began ? (double)now.tv_sec + (double)now.tv_nsec / 1e9 - strtod(began, NULL) : 0;
}

/* The last value of `345;3.5:1980` that has begun, and the sum of each times the seconds that it has lasted. */
static unsigned long long course(const char *text, double until, double *sum) {
    char *rest;
    unsigned long long value = strtoull(text, &rest, 0);
    double since = 0;
    *sum = 0;
    while (*rest == ';') {
        double next = strtod(rest + 1, &rest);
        unsigned long long its = strtoull(rest + 1, &rest, 0);
        if (next > until)
            break;
        *sum += (double)value * (next - since);
        since = next;
        value = its;
    }
    *sum += (double)value * (until - since);
    return value;
}

static nvmlReturn_t long_of(int card, const char *function, const char *key, unsigned long long *to) {
    const char *text;
    char copy[256];
    double sum;
    nvmlReturn_t status = text_of(card, function, key, &text);
    if (status != SUCCESS)
        return status;
    strncpy(copy, text, sizeof copy - 1); /* which the look at the time overwrites */
    copy[sizeof copy - 1] = 0;
    *to = course(copy, strchr(copy, ';') ? elapsed() : 0, &sum);
    return SUCCESS;
}

static nvmlReturn_t number_of(int card, const char *function, const char *key, unsigned int *to) {
    unsigned long long number;
    nvmlReturn_t status = long_of(card, function, key, &number);
    if (status == SUCCESS)
        *to = (unsigned int)number;
    return status;
}

/* --------------------------------------------------------------------------------------------------- the system */

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    unsigned int done;
    nvmlReturn_t status = number_of(SYSTEM, __func__, "init", &done);
    (void)flags;
    return status == NOT_SUPPORTED ? SUCCESS : status;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(nvmlReturn_t error) {
    switch (error) {
    case SUCCESS: return "Success";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return copy_of(SYSTEM, __func__, "driver", version, length);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    return number_of(SYSTEM, __func__, "cuda", (unsigned int *)version);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) {
    char key[32];
    nvmlReturn_t status;
    sprintf(key, "process_%u", pid);
    status = copy_of(SYSTEM, __func__, key, name, length);
    return status == NOT_SUPPORTED ? NOT_FOUND : status;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { return number_of(SYSTEM, __func__, "count", count); }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    unsigned int count;
    nvmlReturn_t status = nvmlDeviceGetCount_v2(&count);
    if (status == SUCCESS && index >= count)
        return INVALID_ARGUMENT;
    *device = (nvmlDevice_t)(size_t)(index + 1);
    return look_up((int)index, "no_handle") ? GPU_IS_LOST : status;
}

/* ---------------------------------------------------------------------------------------------------- one card */

/* nvmlReturn_t NAME(device, unsigned int *) */
#define NUMBER(name, key) \
    nvmlReturn_t name(nvmlDevice_t device, unsigned int *to) { return number_of(card_of(device), __func__, key, to); }

NUMBER(nvmlDeviceGetNumGpuCores, "cores")
NUMBER(nvmlDeviceGetMemoryBusWidth, "memory_bus_bits")
NUMBER(nvmlDeviceGetPowerManagementLimit, "power_limit_milliwatts")
NUMBER(nvmlDeviceGetPowerUsage, "power_milliwatts")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_max_generation")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie_max_width")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    return copy_of(card_of(device), __func__, "name", name, length);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    return copy_of(card_of(device), __func__, "uuid", uuid, length);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    nvmlReturn_t status = long_of(card_of(device), __func__, "memory_total", &memory->total);
    if (status == SUCCESS)
        status = long_of(card_of(device), __func__, "memory_used", &memory->used);
    if (status == SUCCESS)
        memory->free = memory->total - memory->used;
    return status;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    const char *text;
    nvmlReturn_t status = text_of(card_of(device), __func__, "compute_capability", &text);
    if (status == SUCCESS && sscanf(text, "%d.%d", major, minor) != 2)
        return INVALID_ARGUMENT;
    return status;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *megahertz) {
    const char *key = type == CLOCK_MEM ? "memory_megahertz" : "sm_megahertz";
    return type == CLOCK_SM || type == CLOCK_MEM ? number_of(card_of(device), __func__, key, megahertz) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *megahertz) {
    const char *key = type == CLOCK_MEM ? "max_memory_megahertz" : "max_sm_megahertz";
    return type == CLOCK_SM || type == CLOCK_MEM ? number_of(card_of(device), __func__, key, megahertz) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    *pending = 0;
    return number_of(card_of(device), __func__, "ecc", current);
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    *pending = 0;
    return number_of(card_of(device), __func__, "mig", current);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius) {
    return sensor ? INVALID_ARGUMENT : number_of(card_of(device), __func__, "temperature", celsius);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    rates->memory = 0;
    return number_of(card_of(device), __func__, "busy_percent", &rates->gpu);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons) {
    return long_of(card_of(device), __func__, "throttle_reasons", reasons);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
    const char *text;
    char power[256];
    double sum;
    nvmlReturn_t status = text_of(card_of(device), __func__, "energy_millijoules", &text);
    if (status != SUCCESS || strcmp(text, "of_power"))
        return status == SUCCESS ? long_of(card_of(device), __func__, "energy_millijoules", millijoules) : status;
    text = look_up(card_of(device), "power_milliwatts");
    if (!text)
        return NOT_SUPPORTED;
    strncpy(power, text, sizeof power - 1);
    power[sizeof power - 1] = 0;
    course(power, elapsed(), &sum);
    *millijoules = (unsigned long long)sum;
    return SUCCESS;
}

/* The value is a list: `17:1288490188 99:none` are two processes, of the second of which no amount is known. */
static nvmlReturn_t list_of(int card, const char *function, const char *key, unsigned int *count, nvmlProcessInfo_t *to) {
    const char *text;
    unsigned int found = 0, room = to ? *count : 0;
    nvmlReturn_t status = text_of(card, function, key, &text);
    if (status != SUCCESS)
        return status;
    for (; *text; text += strspn(text, " "), found++) {
        unsigned int pid = (unsigned int)strtoul(text, (char **)&text, 10);
        unsigned long long used = strncmp(text, ":none", 5) ? strtoull(text + 1, NULL, 10) : ~0ULL;
        text += strcspn(text, " ");
        if (found < room)
            to[found] = (nvmlProcessInfo_t){pid, used, ~0U, ~0U};
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name, key) \
    nvmlReturn_t name(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *to) { \
        return list_of(card_of(device), __func__, key, count, to); \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute_processes")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics_processes")
#ifndef BEFORE_510
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute_processes")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics_processes")

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons) {
    return long_of(card_of(device), __func__, "throttle_reasons", reasons);
}
#endif
