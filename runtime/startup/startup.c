/* Start-up of a Cortex-M4 or Cortex-M7 with nothing else on it: vector table, FPU, variables, then main.
 *
 * Interrupts stay off, clocks and caches stay as they are after reset. Faults are reported through the debugger (semihosting) when
 * TINYC_SEMIHOSTING is 1; otherwise the part stops in an endless loop, where a debugger finds it. */

#include <stdint.h>

#ifndef TINYC_SEMIHOSTING
#define TINYC_SEMIHOSTING 0
#endif

#if TINYC_SEMIHOSTING
#include "semihosting.h"
#include "../harness/text.h"
#endif

/* Places that the linker script names. */
extern uint32_t _stack_start[], _stack_end[], _data_start[], _data_end[], _data_image[], _bss_start[], _bss_end[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);

#if TINYC_SEMIHOSTING
void tinyc_report_fault(const uint32_t *frame);
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CONFIGURABLE_FAULT_STATUS REGISTER(0xE000ED28u)
#define HARD_FAULT_STATUS REGISTER(0xE000ED2Cu)
#define MEMORY_FAULT_ADDRESS REGISTER(0xE000ED34u)
#define BUS_FAULT_ADDRESS REGISTER(0xE000ED38u)
#define COPROCESSOR_ACCESS REGISTER(0xE000ED88u)
#define MEMORY_ADDRESS_VALID (1u << 7)
#define BUS_ADDRESS_VALID (1u << 15)

#if TINYC_SEMIHOSTING

/* The fault handler has a stack of its own, since the fault may be that the other one is full. */
uint32_t tinyc_fault_stack[128] __attribute__((aligned(8)));

void tinyc_report_fault(const uint32_t *frame)
{
    const uint32_t status = CONFIGURABLE_FAULT_STATUS;
    const int stacked = frame >= _stack_start && frame + 8 <= _stack_end;
    uint32_t address = 0;
    if (status & MEMORY_ADDRESS_VALID) {
        address = MEMORY_FAULT_ADDRESS;
    } else if (status & BUS_ADDRESS_VALID) {
        address = BUS_FAULT_ADDRESS;
    }
    tinyc_text_begin("fault");
    tinyc_text_number("cfsr", (int64_t)status);
    tinyc_text_number("hfsr", (int64_t)HARD_FAULT_STATUS);
    tinyc_text_number("address", (int64_t)address);
    tinyc_text_number("stack_overflow", frame < _stack_start);
    tinyc_text_number("lr", stacked ? (int64_t)frame[5] : 0);
    tinyc_text_number("pc", stacked ? (int64_t)frame[6] : 0);
    tinyc_text_end();
    tinyc_semihosting_exit(1);
}

/* Gives the address of the registers that the core has stacked to tinyc_report_fault, on the fault handler's own stack. */
__attribute__((naked)) void Fault_Handler(void)
{
    __asm__ volatile("mrs r0, msp\n\t"
                     "ldr r1, =tinyc_fault_stack + 512\n\t"
                     "msr msp, r1\n\t"
                     "b tinyc_report_fault\n\t"
                     ".ltorg");
}

#else

void Fault_Handler(void)
{
    for (;;) {
    }
}

#endif

void Reset_Handler(void)
{
    /* volatile, or the compiler makes these loops calls of memcpy and memset, which would then take flash in every image. */
    const uint32_t *from = _data_image;
    for (volatile uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = _bss_start; to < _bss_end; to++) {
        *to = 0;
    }
#if defined(__ARM_FP)
    COPROCESSOR_ACCESS |= 0xFu << 20; /* full access to coprocessors 10 and 11, which are the FPU */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    (void)main();
    for (;;) {
    }
}

typedef void (*vector)(void);

struct vector_table {
    uint32_t *stack;
    vector handlers[15];
};

/* Numbers 2 to 6 are the faults; nothing else is enabled, so whatever arrives is a fault as well. */
__attribute__((section(".vectors"), used)) const struct vector_table tinyc_vectors = {
    _stack_end,
    {Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
     Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler},
};
