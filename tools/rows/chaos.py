"""Faults that hit a running cluster, one after the other and several at once (row C.chaos).

A fault is a generator: it strikes, yields as long as it lasts, and mends what it did. Whoever runs it goes on with it
every few milliseconds.
"""
import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import rowlib

PATIENCE_S = 90
SYS_PIDFD_GETFD = 438
ESTABLISHED = "01"


def for_seconds(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            rowlib.fail(f"{what} took more than {PATIENCE_S} s")
        yield


class Disk:
    """A small file system in memory, which only this process and those that it starts see."""

    def __init__(self, path, num_bytes):
        self.folder = path / "nvme"
        self._path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", path], check=True)

    def _mount(self, *arguments):
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0

    def fill(self):
        with open(self._path / "filler", "wb", buffering=0) as filler:
            piece = bytes(1 << 16)
            try:
                while True:
                    filler.write(piece)
            except OSError:
                pass

    def free(self):
        (self._path / "filler").unlink()

    def set_read_only(self, read_only):
        """False: files are open for writing."""
        return self._mount("-o", f"remount,{'ro' if read_only else 'rw'}", self._path)

    def cover(self):
        """Read-only for all files that are opened from now on; those that are open can be written."""
        if not (self._mount("--bind", self._path, self._path) and self._mount("-o", "remount,bind,ro", self._path)):
            rowlib.fail(f"{self._path} cannot be mounted read-only over itself")

    def uncover(self):
        subprocess.run(["umount", "--lazy", self._path], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", self._path], check=False)


class Redis:
    """A redis-server on loopback that can be killed, and comes back empty."""

    def __init__(self, port, max_bytes):
        self.port = port
        self._command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
                         "--enable-debug-command", "yes", "--maxmemory", str(max_bytes),
                         "--maxmemory-policy", "allkeys-lru"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait(timeout=60)

    def sleep(self, seconds):
        """It answers nobody meanwhile."""
        subprocess.Popen(["redis-cli", "-p", str(self.port), "debug", "sleep", str(seconds)],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(timeout=60)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


def break_connections(pid, port):
    """Shuts down what a process has connected to this port of loopback; how many connections those were."""
    peers = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[3] == ESTABLISHED:
                peers.add(f"socket:[{fields[9]}]")
    broken = 0
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry) not in peers:
                continue
        except OSError:
            continue
        copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(entry.name), 0)
        if copy < 0:
            rowlib.fail(f"a connection of process {pid} cannot be broken: {os.strerror(ctypes.get_errno())}")
        with socket.socket(fileno=copy) as connection:
            try:
                connection.shutdown(socket.SHUT_RDWR)
                broken += 1
            except OSError:
                pass  # closed since
    os.close(pidfd)
    return broken


class Faults:
    """All kinds: `kinds` names what each of them needs for itself while it lasts."""

    kinds = {"store_kill": {"store"}, "store_stop": {"store"},
             "worker_kill": {"workers"}, "worker_stop": {"workers"}, "worker_connections": {"workers"},
             "watch_connections": {"watch"},
             "redis_kill": {"redis"}, "redis_stop": {"redis"}, "redis_slow": {"redis"},
             "disk_full": {"disk"}, "disk_read_only": {"disk"}, "disk_read_only_at_start": {"disk", "store"}}

    def __init__(self, cluster, log, disk, redis, ports, seed):
        """`ports`: gRPC of the groups, by number, and of the "store"."""
        self._cluster, self._log, self._disk, self._redis, self._ports = cluster, log, disk, redis, ports
        self._rng, self._start = random.Random(seed), time.monotonic()
        self._running = []  # (kind, generator)
        self.counts = dict.fromkeys(self.kinds, 0)

    def strike(self):
        """One more, of a kind that came least often of those that are possible now; None: there is none."""
        taken = set().union(*(self.kinds[kind] for kind, _ in self._running))
        possible = [kind for kind, needs in self.kinds.items() if not needs & taken]
        if not possible:
            return None
        fewest = min(self.counts[kind] for kind in possible)
        kind = self._rng.choice([kind for kind in possible if self.counts[kind] == fewest])
        self.counts[kind] += 1
        rowlib.progress(f"{time.monotonic() - self._start:.1f} s: {kind}")
        self._running.append((kind, getattr(self, kind)()))
        return kind

    def go_on(self):
        """False: none lasts."""
        still = []
        for kind, fault in self._running:
            try:
                next(fault)
                still.append((kind, fault))
            except StopIteration:
                pass
        self._running = still
        return bool(still)

    def _seconds(self, low, high):
        return self._rng.uniform(low, high) * (0.5 if rowlib.QUICK else 1)

    def _pid(self, name, other_than=0):
        """Of a process that answers."""
        found = []
        yield from until(lambda: found.append(self._cluster.pid(name)) or found[-1] not in (0, other_than),
                         f"an answer of {name}")
        return found[-1]

    def store_kill(self):
        yield from self._store_is_back(other_than=(yield from self._kill_store()))

    def _kill_store(self):
        pid = yield from self._pid("kvstore")
        os.kill(pid, signal.SIGKILL)
        return pid

    def _store_is_back(self, other_than):
        yield from self._pid("kvstore", other_than)
        yield from for_seconds(self._seconds(0, 3))

    def store_stop(self):
        pid = yield from self._pid("kvstore")
        os.kill(pid, signal.SIGSTOP)
        yield from for_seconds(self._seconds(0.3, 6))
        os.kill(pid, signal.SIGCONT)
        yield from until(lambda: self._cluster.pid("kvstore") == pid, "an answer of the store")

    def _group(self):
        return self._rng.randrange(2)

    def worker_kill(self):
        """Of one group only: the other's process lives through all faults, and what it leaks adds up."""
        name = "group 0 rank 0"
        pid = yield from self._pid(name)
        os.kill(pid, signal.SIGKILL)
        yield from self._pid(name, other_than=pid)
        yield from self._groups_serve()

    def _groups_serve(self):
        yield from for_seconds(1.5)  # so long the router may not have noticed
        yield from until(lambda: self._cluster.num_healthy() == 2, "the way back of a group")

    def _end_of(self, struck):
        """A group that was tried is not tried again while it is the same process."""
        yield from until(lambda: not struck & self._log.numbers(), "the end of the requests that ran at a fault")

    def worker_stop(self):
        pid = yield from self._pid(f"group {self._group()} rank 0")
        struck = self._log.numbers()
        os.kill(pid, signal.SIGSTOP)
        yield from until(lambda: self._cluster.num_healthy() == 1, "the notice of a stall")
        os.kill(pid, signal.SIGCONT)
        yield from self._end_of(struck)
        yield from self._groups_serve()

    def worker_connections(self):
        pid = yield from self._pid("router")
        struck = self._log.numbers()
        if break_connections(pid, self._ports[self._group()]) == 0:
            rowlib.fail("the router has no connection to a group")
        yield from self._end_of(struck)
        yield from self._groups_serve()

    def watch_connections(self):
        break_connections((yield from self._pid("router")), self._ports["store"])
        yield from for_seconds(self._seconds(5, 15))  # or it would come most often

    def redis_kill(self):
        self._redis.stop()
        yield from for_seconds(self._seconds(0.5, 6))
        self._redis.start()

    def redis_stop(self):
        self._redis.process.send_signal(signal.SIGSTOP)
        yield from for_seconds(self._seconds(0.5, 6))
        self._redis.process.send_signal(signal.SIGCONT)

    def redis_slow(self):
        end = time.monotonic() + self._seconds(2, 6)
        while time.monotonic() < end:
            self._redis.sleep(self._seconds(0.05, 0.4))
            yield

    def disk_full(self):
        self._disk.fill()
        yield from for_seconds(self._seconds(2, 8))
        self._disk.free()

    def disk_read_only(self):
        self._disk.cover()
        yield from for_seconds(self._seconds(2, 8))
        self._disk.uncover()

    def disk_read_only_at_start(self):
        pid = yield from self._kill_store()
        yield from until(lambda: self._disk.set_read_only(True), "making the disk read-only")
        yield from for_seconds(self._seconds(4, 10))
        if not self._disk.set_read_only(False):
            rowlib.fail("the disk cannot be made writable again")
        yield from self._store_is_back(other_than=pid)
