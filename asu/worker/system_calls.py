"""The system calls that programs in build containers may make, as podman's seccomp profile.

Without new namespaces no program gets capabilities over anything, and sockets of rare families
(AF_VSOCK reaches the machine below) cannot be made. What is not named does not exist (ENOSYS).
"""

import errno
import json
import socket

PLAIN = """
_llseek _newselect accept accept4 access alarm arch_prctl bind brk cacheflush capget capset chdir
chmod chown chown32 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
ftruncate ftruncate64 futex futex_time64 futimesat get_mempolicy get_robust_list get_thread_area
getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid
gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link
linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise mbind
membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 pselect6
pselect6_time64 pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv recv
recvfrom recvmmsg recvmmsg_time64 recvmsg removexattr rename renameat renameat2 restart_syscall
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send
sendfile sendfile64 sendmmsg sendmsg sendto set_mempolicy set_robust_list set_thread_area
set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl
shmdt shmget shutdown sigaction sigaltstack signal signalfd signalfd4 sigpending sigprocmask
sigreturn sigsuspend splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range
sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write
writev
"""
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: AF_NETLINK.
NEW_NAMESPACES = 0x7E020000  # All CLONE_NEW* that clone(2) takes.
ARCHITECTURES = {"X86_64": ("X86", "X32"), "AARCH64": ("ARM",)}


def seccomp_profile() -> bytes:
    """Return the profile as JSON."""
    calls = [
        _rule(PLAIN.split()),
        *(_rule(["socket"], _condition("EQ", int(family))) for family in FAMILIES),
        _rule(["socketpair"], _condition("EQ", int(socket.AF_UNIX))),
        # seccomp cannot look into the arguments of clone3; without it libraries use clone.
        _rule(["clone"], _condition("MASKED_EQ", NEW_NAMESPACES, 0)),
    ]
    architectures = [
        {
            "architecture": f"SCMP_ARCH_{name}",
            "subArchitectures": [f"SCMP_ARCH_{each}" for each in others],
        }
        for name, others in ARCHITECTURES.items()
    ]
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "archMap": architectures,
        "syscalls": calls,
    }
    return json.dumps(document, sort_keys=True).encode()


def _condition(operator: str, value: int, other: int = 0) -> dict[str, object]:
    """Return what the first argument must be."""
    return {"index": 0, "value": value, "valueTwo": other, "op": f"SCMP_CMP_{operator}"}


def _rule(names: list[str], *conditions: dict[str, object]) -> dict[str, object]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(conditions)}
