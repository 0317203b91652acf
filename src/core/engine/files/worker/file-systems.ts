import { fileSystemType } from "../../../../system/linux/at-calls.js";

/** Of file systems whose files are the kernel's: what is written there is done, and what is read need not end. */
const KERNELS = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xcafe4a11, // bpf
  0xde5e81e4, // efivarfs
  0x62656570, // configfs
  0x6165676c, // pstore
  0xf97cff8c, // selinuxfs
  0x1cd1, // devpts
  0x19800202, // mqueue
  0x6e736673, // nsfs
  0x42494e4d, // binfmt_misc
  0x65735543, // fusectl
  0x67596969, // rpc_pipefs
]);

/** Whether what is open is one of the kernel's own files, as those below /proc and /sys are. */
export function isKernels(fd: number): boolean {
  return KERNELS.has(fileSystemType(fd));
}
