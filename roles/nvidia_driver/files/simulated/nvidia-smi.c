/* nvidia-smi stand-in: the table, -L, -q and --query-gpu of the real tool, with its exit codes (NVML's return code; 2 for a
 * bad argument, 6 for no device). Every screen says that the GPUs are simulated. */
#define _GNU_SOURCE
#include "smi.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIMULATED "SIMULATED GPU: no NVIDIA hardware here, compute runs on the CPU"
#define WIDTH 89

static const char *only;  /* -i: index, UUID or bus id; commas separate several */

static int wanted(unsigned index, nvmlDevice_t device) {
    char list[1024], *rest = list, *part, uuid[96] = "", number[16];
    nvmlPci_t pci = {.id = ""};
    if (!only) return 1;
    if (device) {
        nvmlDeviceGetUUID(device, uuid, sizeof uuid);
        nvmlDeviceGetPciInfo_v3(device, &pci);
    }
    snprintf(number, sizeof number, "%u", index);
    snprintf(list, sizeof list, "%s", only);
    while ((part = strsep(&rest, ",")) != NULL)
        if (!strcmp(part, number) || !strcmp(part, uuid) || (*pci.id && !strcasecmp(part, pci.id))) return 1;
    return 0;
}

static void line(const char *text) { printf("| %-*.*s |\n", WIDTH - 2, WIDTH - 2, text); }

static void rule(const char *parts) { printf("%s\n", parts); }

static void table_head(void) {
    char driver[96] = "?", text[128], library[96] = "?", *version;
    time_t now = time(NULL);
    int cuda = 0;
    nvmlSystemGetDriverVersion(driver, sizeof driver);
    nvmlSystemGetCudaDriverVersion_v2(&cuda);
    nvmlSystemGetNVMLVersion(library, sizeof library);
    version = strchr(library, '.');
    strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", localtime(&now));
    puts(text);
    rule("+-----------------------------------------------------------------------------------------+");
    line(SIMULATED);
    snprintf(text, sizeof text, "NVIDIA-SMI %-22.22s Driver Version: %-14.14s CUDA Version: %d.%d", version ? version + 1 : "?", driver,
             cuda / 1000, cuda % 1000 / 10);
    line(text);
    rule("+-----------------------------------------+------------------------+----------------------+");
    rule("| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |");
    rule("| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |");
    rule("|                                         |                        |               MIG M. |");
    rule("|=========================================+========================+======================|");
}

static void value(const char *field, unsigned index, nvmlDevice_t device, char *out, size_t size) {
    smi_field(field, index, 0, device, 1, out, size);
}

static void table_row(unsigned index, nvmlDevice_t device) {
    char name[96], bus[96], ecc[96], heat[96], draw[96], limit[96], used[96], total[96], busy[96], mig[96], on[96], text[64];
    value("name", index, device, name, sizeof name);
    value("pci.bus_id", index, device, bus, sizeof bus);
    value("ecc.errors.uncorrected.volatile.total", index, device, ecc, sizeof ecc);
    value("temperature.gpu", index, device, heat, sizeof heat);
    value("power.draw", index, device, draw, sizeof draw);
    value("power.limit", index, device, limit, sizeof limit);
    value("memory.used", index, device, used, sizeof used);
    value("memory.total", index, device, total, sizeof total);
    value("utilization.gpu", index, device, busy, sizeof busy);
    value("mig.mode.current", index, device, mig, sizeof mig);
    value("persistence_mode", index, device, on, sizeof on);
    printf("| %3u  %-30.30s %-3s |   %-16.16s Off | %20.20s |\n", index, name, *on == 'E' ? "On" : "Off", bus,
           *ecc == '[' ? "N/A" : ecc);
    snprintf(text, sizeof text, "%.0fW / %.0fW", atof(draw), atof(limit));
    printf("| N/A  %3.3sC   P0 %24.24s | ", heat, text);
    snprintf(text, sizeof text, "%.10sMiB / %.10sMiB", used, total);
    printf("%22.22s | %6.3s%%      Default |\n", text, busy);
    printf("|                                         |                        | %20.20s |\n", *mig == '[' ? "N/A" : mig);
    rule("+-----------------------------------------+------------------------+----------------------+");
}

/* The process that uses a GPU; 0 if none does. */
static int process_of(nvmlDevice_t device, nvmlProcess_t *row) {
    unsigned one = 1;
    return device && !nvmlDeviceGetComputeRunningProcesses_v3(device, &one, row) && one;
}

static void table_foot(unsigned count) {
    nvmlProcess_t row;
    nvmlDevice_t device;
    char text[160];
    int found = 0;
    putchar('\n');
    rule("+-----------------------------------------------------------------------------------------+");
    line("Processes:");
    line(" GPU   GI   CI              PID   Type   Process name                        GPU Memory");
    rule("|=========================================================================================|");
    for (unsigned i = 0; i < count; i++) {
        if (nvmlDeviceGetHandleByIndex_v2(i, &device) || !process_of(device, &row)) continue;
        snprintf(text, sizeof text, "%4u   N/A  N/A %16u      C   simulated %41lluMiB", i, row.pid, row.used >> 20);
        line(text);
        found++;
    }
    if (!found) line(" No running processes found");
    rule("+-----------------------------------------------------------------------------------------+");
}

static void list_row(unsigned index, nvmlDevice_t device) {
    char name[96] = "?", uuid[96] = "?";
    nvmlDeviceGetName(device, name, sizeof name);
    nvmlDeviceGetUUID(device, uuid, sizeof uuid);
    printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
}

static void say(int depth, const char *label, const char *text) { printf("%*s%-*s: %s\n", depth * 4, "", 42 - depth * 4, label, text); }

static void full_row(unsigned index, nvmlDevice_t device) {
    static const struct { int depth; const char *label, *field; } rows[] = {
        {1, "Product Name", "name"}, {1, "Persistence Mode", "persistence_mode"}, {1, "MIG Mode", NULL},
        {2, "Current", "mig.mode.current"}, {2, "Pending", "mig.mode.pending"}, {1, "Serial Number", "serial"},
        {1, "GPU UUID", "uuid"}, {1, "Minor Number", "minor_number"}, {1, "VBIOS Version", "vbios_version"}, {1, "PCI", NULL},
        {2, "Bus", "pci.bus"}, {2, "Domain", "pci.domain"}, {2, "Device Id", "pci.device_id"}, {2, "Bus Id", "pci.bus_id"},
        {1, "Performance State", "pstate"}, {1, "Clocks Event Reasons", NULL},
        {2, "Idle", "clocks_event_reasons.gpu_idle"}, {2, "SW Power Cap", "clocks_event_reasons.sw_power_cap"},
        {2, "HW Slowdown", "clocks_event_reasons.hw_slowdown"}, {3, "HW Thermal Slowdown", "clocks_event_reasons.hw_thermal_slowdown"},
        {3, "HW Power Brake Slowdown", "clocks_event_reasons.hw_power_brake_slowdown"},
        {2, "SW Thermal Slowdown", "clocks_event_reasons.sw_thermal_slowdown"}, {1, "FB Memory Usage", NULL},
        {2, "Total", "memory.total"}, {2, "Reserved", "memory.reserved"}, {2, "Used", "memory.used"}, {2, "Free", "memory.free"},
        {1, "Compute Mode", "compute_mode"}, {1, "Utilization", NULL}, {2, "GPU", "utilization.gpu"},
        {2, "Memory", "utilization.memory"}, {1, "ECC Mode", NULL}, {2, "Current", "ecc.mode.current"},
        {2, "Pending", "ecc.mode.pending"}, {1, "ECC Errors", NULL}, {2, "Volatile Correctable", "ecc.errors.corrected.volatile.total"},
        {2, "Volatile Uncorrectable", "ecc.errors.uncorrected.volatile.total"}, {1, "Remapped Rows", NULL},
        {2, "Correctable Error", "remapped_rows.correctable"}, {2, "Uncorrectable Error", "remapped_rows.uncorrectable"},
        {2, "Pending", "remapped_rows.pending"}, {2, "Remapping Failure Occurred", "remapped_rows.failure"},
        {1, "Temperature", NULL}, {2, "GPU Current Temp", "temperature.gpu"}, {1, "GPU Power Readings", NULL},
        {2, "Instantaneous Power Draw", "power.draw"}, {2, "Current Power Limit", "power.limit"},
        {2, "Default Power Limit", "power.default_limit"}, {1, "Clocks", NULL}, {2, "SM", "clocks.sm"},
        {2, "Memory", "clocks.mem"}, {1, "Max Clocks", NULL}, {2, "SM", "clocks.max.sm"}, {2, "Memory", "clocks.max.mem"},
    };
    char text[128];
    smi_field("pci.bus_id", index, 0, device, 0, text, sizeof text);
    printf("\nGPU %s\n", text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!rows[i].field) { printf("%*s%s\n", rows[i].depth * 4, "", rows[i].label); continue; }
        smi_field(rows[i].field, index, 0, device, 0, text, sizeof text - 2);
        if (!strcmp(rows[i].field, "temperature.gpu")) strcat(text, " C");
        say(rows[i].depth, rows[i].label, !strcmp(text, "[N/A]") ? "N/A" : text);
    }
    nvmlProcess_t row;
    if (!process_of(device, &row)) { say(1, "Processes", "None"); return; }
    puts("    Processes");
    snprintf(text, sizeof text, "%u", row.pid);
    say(2, "Process ID", text);
    snprintf(text, sizeof text, "%llu MiB", row.used >> 20);
    say(2, "Used GPU Memory", text);
}

static void full_head(unsigned count) {
    char text[128] = "?";
    time_t now = time(NULL);
    int cuda = 0;
    puts("\n==============NVSMI LOG (" SIMULATED ")==============\n");
    strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", localtime(&now));
    say(0, "Timestamp", text);
    nvmlSystemGetDriverVersion(text, sizeof text);
    say(0, "Driver Version", text);
    nvmlSystemGetCudaDriverVersion_v2(&cuda);
    snprintf(text, sizeof text, "%d.%d", cuda / 1000, cuda % 1000 / 10);
    say(0, "CUDA Version", text);
    snprintf(text, sizeof text, "%u", count);
    putchar('\n');
    say(0, "Attached GPUs", text);
}

static char *names[128];
static int name_count, bare, heading = 1;

static void query_row(unsigned index, unsigned count, nvmlDevice_t device) {
    char text[192];
    for (int i = 0; i < name_count; i++) {
        smi_field(names[i], index, count, device, bare, text, sizeof text);
        printf("%s%s", i ? ", " : "", text);
    }
    putchar('\n');
}

/* Split "a,b, c" into names; exit 2 at one that does not exist. */
static void query_fields(char *text) {
    char *part;
    while ((part = strsep(&text, ",")) != NULL) {
        while (isspace((unsigned char)*part)) part++;
        if (!smi_heading(part)) {
            printf("Field \"%s\" is not a valid field to query.\n\n", part);
            exit(2);
        }
        if (name_count < (int)(sizeof names / sizeof names[0])) names[name_count++] = part;
    }
}

static void query_format(char *text) {
    char *part;
    int csv = 0;
    while ((part = strsep(&text, ",")) != NULL) {
        while (isspace((unsigned char)*part)) part++;
        if (!strcmp(part, "csv")) csv = 1;
        else if (!strcmp(part, "noheader")) heading = 0;
        else if (!strcmp(part, "nounits")) bare = 1;
        else csv = -1;
        if (csv < 0) break;
    }
    if (csv == 1) return;
    puts("Not a valid format: use csv[,noheader][,nounits].");
    exit(2);
}

static void help(void) {
    puts("NVIDIA System Management Interface -- " SIMULATED "\n\n"
         "nvidia-smi [OPTION1 [ARG1]] ...\n"
         "    -h, --help                 this text\n"
         "    -L, --list-gpus            one line a GPU\n"
         "    -i, --id=                  index, UUID or PCI bus id; several with commas\n"
         "    -q, --query                everything known of each GPU\n"
         "        --query-gpu=           fields, see --help-query-gpu; needs --format\n"
         "        --format=              csv[,noheader][,nounits]\n"
         "        --version");
}

enum mode { TABLE, LIST, FULL, QUERY, VERSION };

/* The argument of --name=X or -i X; NULL if argv[*at] is not that option. */
static char *argument(int argc, char **argv, int *at, const char *longer, const char *shorter) {
    size_t length = strlen(longer);
    char *text = argv[*at];
    if (!strncmp(text, longer, length) && text[length] == '=') return text + length + 1;
    if ((!strcmp(text, longer) || (shorter && !strcmp(text, shorter))) && *at + 1 < argc) return argv[++*at];
    return shorter && !strncmp(text, shorter, 2) && text[1] != '-' && text[2] == '=' ? text + 3 : NULL;
}

int main(int argc, char **argv) {
    enum mode mode = TABLE;
    int formatted = 0, shown = 0, status = 0;
    unsigned count = 0;
    char *text, driver[96], library[96], bus[96];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) { help(); return 0; }
        if (!strcmp(argv[i], "--help-query-gpu")) { smi_help_fields(stdout); return 0; }
        if (!strcmp(argv[i], "-L") || !strcmp(argv[i], "--list-gpus")) mode = LIST;
        else if (!strcmp(argv[i], "-q") || !strcmp(argv[i], "--query")) mode = FULL;
        else if (!strcmp(argv[i], "--version")) mode = VERSION;
        else if ((text = argument(argc, argv, &i, "--query-gpu", NULL)) != NULL) { mode = QUERY; query_fields(text); }
        else if ((text = argument(argc, argv, &i, "--format", NULL)) != NULL) { formatted = 1; query_format(text); }
        else if ((text = argument(argc, argv, &i, "--id", "-i")) != NULL) only = text;
        else {
            printf("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n");
            return 2;
        }
    }
    if (mode == QUERY && !formatted) { puts("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help."); return 2; }
    smi_start();
    if (mode == VERSION) {
        nvmlSystemGetDriverVersion(driver, sizeof driver);
        nvmlSystemGetNVMLVersion(library, sizeof library);
        printf("NVIDIA-SMI version  : %s (%s)\nNVML version        : %s\nDRIVER version      : %s\n", driver, SIMULATED, library, driver);
        return 0;
    }
    nvmlDeviceGetCount_v2(&count);
    if (!count) { puts("No devices were found"); nvmlShutdown(); return 6; }
    if (mode == TABLE) table_head();
    if (mode == FULL) full_head(count);
    for (int i = 0; mode == QUERY && heading && i < name_count; i++)
        printf("%s%s%s", i ? ", " : "", smi_heading(names[i]), i + 1 < name_count ? "" : "\n");
    for (unsigned i = 0; i < count; i++) {
        nvmlDevice_t device = NULL;
        nvmlReturn_t result = nvmlDeviceGetHandleByIndex_v2(i, &device);
        if (!wanted(i, result ? NULL : device)) continue;
        shown++;
        if (result) { smi_say_lost(i, result); status = (int)result; continue; }
        if (mode == TABLE) table_row(i, device);
        if (mode == LIST) list_row(i, device);
        if (mode == FULL) full_row(i, device);
        if (mode == QUERY) query_row(i, count, device);
    }
    if (!shown) { puts("No devices were found"); nvmlShutdown(); return 6; }
    if (mode == TABLE && !only) table_foot(count);
    for (unsigned i = 0; i < count; i++) {
        nvmlDevice_t device;
        if (nvmlDeviceGetHandleByIndex_v2(i, &device) || nvmlDeviceValidateInforom(device) != NVML_CORRUPTED_INFOROM) continue;
        if (smi_field("pci.bus_id", i, count, device, 1, bus, sizeof bus)) continue;
        printf("WARNING: infoROM is corrupted at gpu %s\n", bus);
        if (!status) status = NVML_CORRUPTED_INFOROM;
    }
    nvmlShutdown();
    return status;
}
