// The smallest guest that tells whether an accelerator is of use: 106 bytes of firmware that go where every operating
// system goes, real mode to 64-bit mode with paging, count to ten million there, and end QEMU through its isa-debug-exit
// device. /dev/kvm that can be opened proves nothing: some nested hosts emulate a guest's instructions one by one
// there, or never leave real mode.
//
//   at ff00 (16 bit)  cli; ljmp f000:low            leave the alias of the ROM below 4 GiB
//   low:              xor ax,ax; mov ds,ax
//                     movl [1000],2003              PML4 -> page directory pointers at 2000, present, writable
//                     movl [2000],3003              -> page directory at 3000
//                     movl [3000],0083              -> one page of 2 MiB at 0
//                     mov cr3,1000; mov cr4,20      CR4.PAE
//                     rdmsr c0000080; or ax,100; wrmsr   EFER.LME
//                     lgdt [cs:ff80]
//                     mov cr0,80000001              CR0.PG, CR0.PE
//                     ljmpl 8:fff5c
//   at ff5c (64 bit)  mov ecx,10000000; 1: dec ecx; jnz 1b
//                     mov al,20; mov dx,501; out dx,al; 2: hlt; jmp 2b
//   at ff70           GDT: null; 64-bit code
//   at ff80           limit 15, address fff70
//   at fff0           jmp ff00                      where an x86 processor begins

/** Exit status of QEMU when the guest got through: isa-debug-exit gives twice the value plus one. */
export const PROBE_STATUS = 0x20 * 2 + 1

/** QEMU's arguments that belong to the guest, less `-bios`. */
export const PROBE_ARGUMENTS: readonly string[] = [
  ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
  ...['-machine', 'q35', '-m', '2', '-device', 'isa-debug-exit,iobase=0x501,iosize=2'],
]

/** The 64 KiB firmware image. */
export function probeFirmware(): Buffer {
  const image = Buffer.alloc(0x10000)
  for (const [offset, hex] of CODE) image.write(hex.replaceAll(' ', ''), offset, 'hex')
  return image
}

const CODE: readonly (readonly [number, string])[] = [
  [0xff00, 'fa ea06ff00f0 31c0 8ed8'],
  [0xff0a, '66c706001003200000 66c706002003300000 66c706003083000000'],
  [0xff25, '66b800100000 0f22d8 66b820000000 0f22e0'],
  [0xff37, '66b9800000c0 0f32 0d0001 0f30 2e660f011680ff'],
  [0xff4b, '66b801000080 0f22c0 66ea5cff0f000800'],
  [0xff5c, 'b980969800 ffc9 75fc b020 66ba0105 ee f4 ebfd'],
  [0xff70, '0000000000000000 00000000009a2000 0f0070ff0f00'],
  [0xfff0, 'e90dff'],
]
