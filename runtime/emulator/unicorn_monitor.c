/* Watches a program in Unicorn: counts instructions, stops at marked ones, and finds what silicon refuses and Unicorn lets pass. On request it
 * also keeps a histogram: how often each instruction ran and how often execution went elsewhere from it, for each owner of the work.
 *
 * Loaded into the process that has Unicorn, which hands the addresses of two of its functions over: nothing is linked. Called for each
 * instruction, hence not Python. */

#include <stddef.h>
#include <stdint.h>

#define EXPORTED __attribute__((visibility("default")))

/* What is marked on the first halfword of an instruction, 0 for most of them. Instructions of an IT block are counted with their IT, since
 * Unicorn does not report the ones whose condition does not hold. */
enum mark {
    MARK_NUMBER = 0x0F,  /* of a register or of instructions, for the two marks that follow */
    MARK_ALIGNED = 0x10, /* the register is a base that must be a multiple of 4 */
    MARK_IT = 0x20,      /* an IT, with so many instructions after it */
    MARK_COUNTED = 0x40, /* counted with its IT */
    MARK_STOP = 0x80     /* stop before it */
};

/* Where the status register holds the state of an IT block. */
#define IT_STATE UINT32_C(0x0600FC00)

enum event { EVENT_NONE, EVENT_STOP, EVENT_UNALIGNED, EVENT_ZONE, EVENT_MEMORY, EVENT_INTERRUPT, EVENT_SLICE };

/* What to count for each owner: one row of `counts` and of `jumps` an owner, one entry a halfword of the code. */
struct histogram {
    uint64_t *counts;       /* executions of the instruction there */
    uint64_t *jumps;        /* how often the instruction after it was not the next one in memory */
    uint64_t *flash_reads;  /* data reads from flash, one entry an owner */
    const uint16_t *owners; /* for each halfword: 0 keeps the owner of the instruction before, n makes it owner n - 1 */
    uint32_t owner;         /* whose instruction was executed last */
    uint32_t place;         /* where it is */
    uint32_t next;          /* address behind it; 0 before the first one */
    uint32_t unused;
};

struct monitor {
    uint64_t instructions;
    uint64_t slice; /* instructions after which to stop: an interruption at a point of time would count one twice */
    const uint8_t *marks;
    int (*stop)(void *engine);
    int (*read_register)(void *engine, int identifier, void *value);
    int (*write_register)(void *engine, int identifier, const void *value);
    struct histogram *histogram; /* NULL: none is wanted */
    uint32_t code_start;
    uint32_t code_halfwords;
    uint32_t pc;      /* of the instruction at hand */
    uint32_t event;   /* why execution was stopped, an enum event */
    uint32_t address; /* of the access, for the events that are accesses */
    uint32_t bytes;
    uint32_t detail;       /* Unicorn's type of an access, or number of an interrupt */
    uint32_t passing;      /* 1: do not stop at the first instruction, since execution goes on from there */
    uint32_t armed;        /* 1: zones are forbidden */
    uint32_t exempt_start; /* code that may touch them */
    uint32_t exempt_end;
    int32_t register_identifiers[16];
    int32_t status_register;
};

/* Memory from `start` up to, not with, `end` that must not be touched. */
struct zone {
    struct monitor *monitor;
    uint32_t start;
    uint32_t end;
};

/* Loads and stores of some memory, one entry an owner of the histogram. */
struct access_count {
    struct monitor *monitor;
    uint64_t *counts;
};

EXPORTED void tinyc_on_instruction(void *engine, uint64_t address, uint32_t bytes, void *data);
EXPORTED void tinyc_on_flash_read(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data);
EXPORTED void tinyc_on_counted_access(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data);
EXPORTED void tinyc_on_zone(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data);
EXPORTED int tinyc_on_bad_memory(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data);
EXPORTED void tinyc_on_interrupt(void *engine, uint32_t number, void *data);

static void stop(struct monitor *monitor, void *engine, enum event event, uint64_t address, uint32_t bytes, uint32_t detail)
{
    if (monitor->event == EVENT_NONE) {
        monitor->event = event;
        monitor->address = (uint32_t)address;
        monitor->bytes = bytes;
        monitor->detail = detail;
        (void)monitor->stop(engine);
    }
}

/* The instruction is executed: it belongs to its owner, and the one before it has jumped unless it lies right behind that. */
static void record(struct monitor *monitor, uint32_t place, uint32_t bytes)
{
    struct histogram *const histogram = monitor->histogram;
    const uint16_t owner = histogram->owners[place];
    if (histogram->next != 0 && histogram->next != monitor->pc) {
        histogram->jumps[(uint64_t)histogram->owner * monitor->code_halfwords + histogram->place]++;
    }
    if (owner != 0) {
        histogram->owner = owner - 1u;
    }
    histogram->counts[(uint64_t)histogram->owner * monitor->code_halfwords + place]++;
    histogram->place = place;
    histogram->next = monitor->pc + bytes;
}

void tinyc_on_instruction(void *engine, uint64_t address, uint32_t bytes, void *data)
{
    struct monitor *const monitor = data;
    const uint32_t place = ((uint32_t)address - monitor->code_start) >> 1;
    const uint32_t mark = place < monitor->code_halfwords ? monitor->marks[place] : 0;
    if (monitor->event != EVENT_NONE) {
        return; /* the request to stop is obeyed at the end of a stretch of instructions at the latest */
    }
    monitor->pc = (uint32_t)address;
    if (monitor->slice > 0) {
        monitor->slice--;
    } else if ((mark & MARK_COUNTED) == 0) { /* nothing stops inside an IT block, whose state would be lost */
        stop(monitor, engine, EVENT_SLICE, address, 0, 0);
        return;
    }
    if (mark == 0) {
        monitor->passing = 0;
        monitor->instructions++;
        if (monitor->histogram != NULL && place < monitor->code_halfwords) {
            record(monitor, place, bytes);
        }
        return;
    }
    if ((mark & MARK_STOP) != 0 && !monitor->passing) {
        stop(monitor, engine, EVENT_STOP, address, 0, 0);
        return;
    }
    monitor->passing = 0;
    if ((mark & MARK_ALIGNED) != 0) {
        uint32_t base = 0;
        (void)monitor->read_register(engine, monitor->register_identifiers[mark & MARK_NUMBER], &base);
        if ((base & 3) != 0) {
            stop(monitor, engine, EVENT_UNALIGNED, base, 4, 0);
            return;
        }
    }
    monitor->instructions += (mark & MARK_COUNTED) != 0 ? 0 : 1 + ((mark & MARK_IT) != 0 ? mark & MARK_NUMBER : 0);
    if (monitor->histogram != NULL) {
        record(monitor, place, bytes);
    }
}

/* For each call about an access Unicorn has stored the state of the IT block that the access is in, and it would apply it again to the
 * instructions behind the next indirect jump. Its translated code knows the state without. */
static void clear_it_state(struct monitor *monitor, void *engine)
{
    uint32_t status = 0;
    (void)monitor->read_register(engine, monitor->status_register, &status);
    if ((status & IT_STATE) != 0) {
        status &= ~IT_STATE;
        (void)monitor->write_register(engine, monitor->status_register, &status);
    }
}

void tinyc_on_flash_read(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data)
{
    struct monitor *const monitor = data;
    (void)type;
    (void)address;
    (void)bytes;
    (void)value;
    clear_it_state(monitor, engine);
    if (monitor->histogram != NULL) {
        monitor->histogram->flash_reads[monitor->histogram->owner]++;
    }
}

void tinyc_on_counted_access(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data)
{
    const struct access_count *const count = data;
    struct monitor *const monitor = count->monitor;
    (void)type;
    (void)address;
    (void)bytes;
    (void)value;
    clear_it_state(monitor, engine);
    if (monitor->armed && monitor->histogram != NULL) {
        count->counts[monitor->histogram->owner]++;
    }
}

void tinyc_on_zone(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data)
{
    const struct zone *const zone = data;
    struct monitor *const monitor = zone->monitor;
    (void)value;
    clear_it_state(monitor, engine);
    if (monitor->armed && address < zone->end && address + (uint32_t)bytes > zone->start &&
        (monitor->pc < monitor->exempt_start || monitor->pc >= monitor->exempt_end)) {
        stop(monitor, engine, EVENT_ZONE, address < zone->start ? zone->start : address, (uint32_t)bytes, (uint32_t)type);
    }
}

int tinyc_on_bad_memory(void *engine, int type, uint64_t address, int bytes, int64_t value, void *data)
{
    (void)value;
    stop(data, engine, EVENT_MEMORY, address, (uint32_t)bytes, (uint32_t)type);
    return 0;
}

void tinyc_on_interrupt(void *engine, uint32_t number, void *data)
{
    stop(data, engine, EVENT_INTERRUPT, 0, 0, number);
}
