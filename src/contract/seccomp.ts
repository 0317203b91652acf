/**
 * Which system calls a container may make. The default is in effect the profile that Docker's users know: what programs need is allowed;
 * what reaches into the kernel's own affairs, or is not cut off by namespaces, is answered with EPERM unless the container has the
 * capability for it.
 */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  syscalls?: SeccompRule[];
  [field: string]: unknown;
}

export interface SeccompRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number; valueTwo?: number; op: string }[];
}

/** Calls that everybody may make, by what they are about. A runtime passes over those that its kernel or architecture does not have. */
const allowed = words(`
  read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close close_range dup dup2 dup3 fcntl fcntl64 ioctl
  open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64
  fstatfs fstatfs64 name_to_handle_at getdents getdents64 readlink readlinkat getcwd chdir fchdir umask
  mkdir mkdirat mknod mknodat rmdir link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 truncate truncate64 ftruncate
  ftruncate64 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes futimesat utimensat
  utimensat_time64 getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr lremovexattr
  fremovexattr fallocate fadvise64 fadvise64_64 readahead copy_file_range sendfile sendfile64 splice tee vmsplice cachestat
  fsync fdatasync sync syncfs sync_file_range flock fanotify_mark inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
  landlock_create_ruleset landlock_add_rule landlock_restrict_self

  pipe pipe2 select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
  epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64
  timerfd_settime timerfd_settime64 io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get
  ioprio_set

  socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt send sendto sendmsg sendmmsg recv
  recvfrom recvmsg recvmmsg recvmmsg_time64 socketcall

  brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall membarrier memfd_create memfd_secret
  remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack

  fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pause restart_syscall pidfd_open pidfd_send_signal
  process_mrelease sigaltstack sigprocmask sigreturn rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
  rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo prctl seccomp rseq set_tid_address set_robust_list get_robust_list
  set_thread_area get_thread_area futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue process_vm_readv process_vm_writev
  ptrace

  getpid getppid gettid getpgid getpgrp getsid setpgid setsid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups
  getgroups32 getresuid getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setgroups setgroups32 setreuid setreuid32 setregid
  setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 capget capset
  getrlimit ugetrlimit setrlimit prlimit64 getrusage getpriority setpriority times sysinfo uname getcpu getrandom

  sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler
  sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64

  time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
  timer_settime timer_settime64

  ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget mq_open mq_unlink mq_notify
  mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64`);

/** Calls for which a container must have a capability. */
const byCapability: Record<string, readonly string[]> = {
  CAP_BPF: ["bpf"],
  CAP_DAC_READ_SEARCH: ["open_by_handle_at"],
  CAP_PERFMON: ["perf_event_open"],
  CAP_SYSLOG: ["syslog"],
  CAP_SYS_ADMIN:
    words(`bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree
    perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`),
  CAP_SYS_BOOT: ["reboot"],
  CAP_SYS_CHROOT: ["chroot"],
  CAP_SYS_MODULE: words("delete_module finit_module init_module"),
  CAP_SYS_NICE: words("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
  CAP_SYS_PACCT: ["acct"],
  CAP_SYS_PTRACE: words("kcmp pidfd_getfd process_madvise"),
  CAP_SYS_RAWIO: words("ioperm iopl"),
  CAP_SYS_TIME: words("clock_settime clock_settime64 settimeofday stime"),
  CAP_SYS_TTY_CONFIG: ["vhangup"],
};

/** What each kind of machine (`process.arch`) has besides: its names of itself and of those whose programs it runs, and its own calls. */
const machines: Record<string, { architectures: string[]; calls: readonly string[] }> = {
  x64: {
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    calls: ["arch_prctl", "modify_ldt"],
  },
  arm64: {
    architectures: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    calls: words("arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
  },
  riscv64: { architectures: ["SCMP_ARCH_RISCV64"], calls: ["riscv_flush_icache"] },
  ppc64: { architectures: ["SCMP_ARCH_PPC64LE"], calls: ["swapcontext", "sync_file_range2"] },
};

const ALLOW = "SCMP_ACT_ALLOW";
const REFUSE = "SCMP_ACT_ERRNO";
const EPERM = 1;
const ENOSYS = 38;
/** Sockets of this family reach the hypervisor and other virtual machines past all network namespaces. */
const AF_VSOCK = 40;
/** clone(2)'s flags for new namespaces: MNT, CGROUP, UTS, IPC, USER, PID and NET. */
const NEW_NAMESPACES = 0x7e020000;
/** Values of personality(2): Linux as it is, with Linux 2.6's version number (0x20000), with 32 bit (8), both; and the question. */
const PERSONALITIES = [0, 0x8, 0x20000, 0x20008, 0xffffffff];

/**
 * The default profile: one for all who start containers here.
 * @param capabilities the container's, with "CAP_"
 * @param machine as `process.arch` names it
 */
export function defaultSeccompProfile(capabilities: readonly string[], machine: string = process.arch): SeccompProfile {
  const { architectures, calls } = machines[machine] ?? { architectures: undefined, calls: [] };
  const permitted = capabilities.flatMap((name) => (Object.hasOwn(byCapability, name) ? byCapability[name]! : []));
  const rules: SeccompRule[] = [
    { names: [...new Set([...allowed, ...calls, ...permitted])], action: ALLOW },
    { names: ["socket"], action: ALLOW, args: [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_NE" }] },
    ...PERSONALITIES.map((value) => ({
      names: ["personality"],
      action: ALLOW,
      args: [{ index: 0, value, op: "SCMP_CMP_EQ" }],
    })),
  ];
  if (!capabilities.includes("CAP_SYS_ADMIN")) {
    const noNewNamespace = { index: 0, value: NEW_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" };
    rules.push(
      { names: ["clone"], action: ALLOW, args: [noNewNamespace] },
      // Its flags are in memory, where no filter sees them: C libraries that are told that it does not exist take clone.
      { names: ["clone3"], action: REFUSE, errnoRet: ENOSYS },
    );
  }
  return {
    defaultAction: REFUSE,
    defaultErrnoRet: EPERM,
    ...(architectures && { architectures }),
    syscalls: rules,
  };
}

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
