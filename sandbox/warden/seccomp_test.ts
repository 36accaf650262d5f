import { deepEqual, equal } from "node:assert/strict";
import { type SeccompArchitecture, seccompArchitectures, seccompFilter } from "./seccomp.ts";

const audit = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7, i386: 0x4000_0003 };

/** What the kernel would do: the few instructions of classic BPF that the filter uses. */
function run(filter: Uint8Array, number: number, args: number[] = [], architecture = audit.x86_64): number {
  const seccompData = new DataView(new ArrayBuffer(64));
  seccompData.setUint32(0, number, true);
  seccompData.setUint32(4, architecture, true);
  args.forEach((arg, index) => seccompData.setUint32(16 + 8 * index, arg, true));
  const view = new DataView(filter.buffer, filter.byteOffset, filter.length);
  let accumulator = 0;
  for (let at = 0;; at++) {
    const [code, k] = [view.getUint16(at * 8, true), view.getUint32(at * 8 + 4, true)];
    const jump = (taken: boolean) => at += view.getUint8(at * 8 + (taken ? 2 : 3));
    if (code === 0x20) accumulator = seccompData.getUint32(k, true);
    else if (code === 0x15) jump(accumulator === k);
    else if (code === 0x35) jump(accumulator >= k);
    else if (code === 0x45) jump((accumulator & k) !== 0);
    else if (code === 0x06) return k;
    else throw new Error(`unknown instruction ${code}`);
  }
}

const [allow, kill, eperm, enosys] = [0x7fff_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026];

Deno.test("seccompFilter() refuses keys, mounts and others' memory, and lets ordinary calls pass", () => {
  const filter = seccompFilter("x86_64");
  for (const number of [248, 249, 250, 165, 272, 101, 310, 321, 425, 319, 447, 29, 64, 68, 278, 206, 222]) {
    equal(run(filter, number), eperm, String(number));
  }
  for (const number of [0, 1, 2, 9, 56, 59, 257, 318, 332, 334]) {
    equal(run(filter, number), allow, String(number));
  }
  equal(run(filter, 435), enosys);
});

Deno.test("seccompFilter() looks at the flags of clone() and the requests of ioctl()", () => {
  const filter = seccompFilter("x86_64");
  deepEqual([run(filter, 56, [0x3d_0f00]), run(filter, 56, [0x1000_0011]), run(filter, 56, [0x4000_0000])], [
    allow,
    eperm,
    eperm,
  ]);
  deepEqual([run(filter, 16, [0, 0x5401]), run(filter, 16, [0, 0x5412]), run(filter, 16, [0, 0x541c])], [
    allow,
    eperm,
    eperm,
  ]);
});

Deno.test("seccompFilter() ends a program that calls by another architecture's numbers", () => {
  const filter = seccompFilter("x86_64");
  equal(run(filter, 3, [], audit.i386), kill);
  equal(run(filter, 0x4000_0000 + 1), kill);
  equal(run(seccompFilter("aarch64"), 3, [], audit.x86_64), kill);
  equal(run(seccompFilter("aarch64"), 40, [], audit.aarch64), eperm);
  equal(run(seccompFilter("aarch64"), 64, [], audit.aarch64), allow);
});

// Jumps are eight bits wide: a longer list would wrap around and lead elsewhere.
Deno.test("seccompFilter() can reach its results from everywhere", () => {
  for (const architecture of seccompArchitectures) {
    equal(instructions(architecture) < 256, true);
  }
});

function instructions(architecture: SeccompArchitecture): number {
  return seccompFilter(architecture).length / 8;
}
