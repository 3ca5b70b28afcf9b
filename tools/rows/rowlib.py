"""What the rows of tools/rows share: paths, progress, statistics, clusters, virtual environments."""
import contextlib
import http.client
import json
import math
import os
import pathlib
import statistics
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(os.environ.get("SKV_ROOT") or pathlib.Path(__file__).resolve().parents[2])
BIN = pathlib.Path(os.environ.get("SKV_BIN") or ROOT / "build/release/bin")
QUICK = os.environ.get("QUICK", "") not in ("", "0")
JOBS = os.environ.get("JOBS") or str(os.cpu_count())  # processes of a build, at most


def model_path():
    """The default model: $SKV_MODEL, or where `skv model fetch` puts it."""
    path = pathlib.Path(os.environ.get("SKV_MODEL")
                        or ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf")
    if not path.exists():
        fail(f"model {path} is missing; run 'skv model fetch' or set SKV_MODEL")
    return path


def binary(name):
    path = BIN / name
    if not path.exists():
        fail(f"program {path} is missing; run 'cmake --build build/release --target {name}'")
    return path


def build(preset, *targets):
    """Ends the row where it fails."""
    progress(f"building {' '.join(targets)}, preset {preset}")
    for command in (["cmake", "--preset", preset],
                    ["cmake", "--build", f"build/{preset}", "-j", JOBS, "--target", *targets]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            fail(f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")


def preloaded(name):
    """An environment in which programs start with the shared library of the target `name`."""
    path = BIN / f"lib{name}.so"
    if not path.exists():
        fail(f"library {path} is missing; run 'cmake --build build/release --target {name}'")
    return {**os.environ, "LD_PRELOAD": str(path)}


def progress(message):
    print(message, file=sys.stderr, flush=True)


def fail(message):
    """Ends the row without a result."""
    progress(f"error: {message}")
    sys.exit(1)


def emit(claim, unit, value, *, samples, interval=None, peer_samples=0, peers=None, limits=None, **more):
    """Prints the row: the last line of stdout (see tools/result). `limits`: whether each, in words, was met."""
    if limits is not None:
        more = {"holds": all(limits.values()), "not_held": [limit for limit, met in limits.items() if not met], **more}
    row = {"claim": claim, "unit": unit, "value": value, "interval": interval or {},
           "samples": samples, "peer_samples": peer_samples, "peers": peers or {}, **more}
    print(json.dumps(row), flush=True)


def enter_venv(variable, default, installer):
    """Goes on under the python of a virtual environment: $variable, or `default` under ROOT.

    Call it before importing what only that environment has.
    """
    venv = pathlib.Path(os.environ.get(variable) or ROOT / default)
    python = venv / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    if not python.exists():
        fail(f"{python} is missing; run '{installer}'")
    os.execv(python, [str(python), *sys.argv])


def median_interval(samples):
    """Median and an interval of order statistics that covers it with at least 95 %.

    Sign test: [x(k), x(n+1-k)] covers with 1 - 2 P(Binomial(n, 1/2) < k); the largest such k. Under
    6 samples no k is enough and the interval is their range.
    """
    ordered, n = sorted(samples), len(samples)
    k = 1
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n <= 0.05:
        k += 1
    return statistics.median(ordered), [ordered[k - 1], ordered[n - k]]


def share_interval(hits, n):
    """Share hits / n and its 95 % interval by Wilson (1927), which stays within [0, 1].

    Of no trials: 0, and all of [0, 1].
    """
    if n == 0:
        return 0.0, [0.0, 1.0]
    z, share = statistics.NormalDist().inv_cdf(0.975), hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, [max(0.0, middle - half), min(1.0, middle + half)]


@contextlib.contextmanager
def cluster(*flags, model=None):
    """A ready `skv cluster up` with these flags: what it prints with --json. Stopped at the end."""
    process = subprocess.Popen([binary("skv"), "cluster", "up", "--json", "--model", model or model_path(),
                                *flags], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("{"):
            fail(f"skv cluster up ended before it was ready, exit code {process.wait(timeout=100)}")
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(timeout=100)
        process.stdout.close()


@contextlib.contextmanager
def kvstore(*flags, core=None, within=()):
    """A running skv-kvstore with these flags, on all cores or on one, started by the command `within`; its socket's path
    and its process."""
    with tempfile.TemporaryDirectory() as folder:
        socket = pathlib.Path(folder) / "kvstore.sock"
        on_core = ["taskset", "-c", str(core)] if core is not None else []
        process = subprocess.Popen([*within, *on_core, binary("skv-kvstore"), "--socket", socket, *flags], stdout=sys.stderr)
        try:
            while not socket.exists():
                if process.poll() is not None:
                    fail(f"skv-kvstore ended before it was ready, exit code {process.returncode}")
                time.sleep(0.05)
            yield socket, process
        finally:
            process.terminate()
            process.wait(timeout=60)


def metric(url, name, **labels):
    """The sum of the samples of a metric with these labels at an address; None where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            text = reply.read().decode()
    except (OSError, http.client.HTTPException):  # the latter: it was killed while it answered
        return None
    samples = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.M)
    return sum(float(value) for found, value in samples
               if all(f'{label}="{wanted}"' in found for label, wanted in labels.items()))


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(f"{what} took more than {seconds} s")
        time.sleep(0.02)


class Store:
    """A skv-kvstore that can be killed and started again: the same flags, socket and metrics' address."""

    def __init__(self, *flags, admin_port, log=None):
        """`log`: a file for what it writes to its standard error; None: to ours."""
        self._log = log
        self._folder = tempfile.TemporaryDirectory()
        self.socket = pathlib.Path(self._folder.name) / "kvstore.sock"
        self.metrics = f"http://127.0.0.1:{admin_port}/metrics"
        self._command = [binary("skv-kvstore"), "--socket", self.socket, "--host", "127.0.0.1",
                         "--admin-port", str(admin_port), *map(str, flags)]
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=sys.stderr, stderr=self._log)
        wait_until(self._is_ready, "the start of skv-kvstore")

    def _is_ready(self):
        if self.process.poll() is not None:
            fail(f"skv-kvstore ended before it was ready, exit code {self.process.returncode}")
        return self.socket.exists() and self.metric("skv_kvstore_arena_bytes")

    def metric(self, name, **labels):
        return metric(self.metrics, name, **labels)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=60)

    def restart(self):
        """Killed and started again; back when all who had a session have one again."""
        num_sessions = self.metric("skv_kvstore_sessions")
        self.kill()
        self.start()
        wait_until(lambda: self.metric("skv_kvstore_sessions") == num_sessions, "the clients' way back to skv-kvstore")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        self._folder.cleanup()


@contextlib.contextmanager
def redis(port):
    """A redis-server on loopback that keeps everything in memory."""
    process = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                                "--appendonly", "no"], stdout=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def drop_page_cache(folder):
    """Of all files in the folder: the next read of them is one of the disk."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def generate(endpoint, document, question, *flags):
    """`skv generate` behind a router: a started process for finish_generate."""
    process = subprocess.Popen([binary("skv"), "generate", "--json", "--endpoint", endpoint, "--file", "-",
                                *flags, question], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(document)
    process.stdin.close()
    return process


def generate_raw(endpoint, prompt, *flags):
    """The same of a text that is to be continued as it stands."""
    return subprocess.Popen([binary("skv"), "generate", "--json", "--raw", "--endpoint", endpoint, *flags, prompt],
                            stdout=subprocess.PIPE, text=True)


def finish_generate(process):
    """What it printed."""
    output = process.stdout.read()
    if process.wait() != 0:
        fail(f"skv generate ended with exit code {process.returncode}")
    return json.loads(output)


def bench_engine(stack, name, *flags, env=None):
    """A LineProcess `name`: our engine on the default model with these flags. `stack` closes it."""
    process = LineProcess(name, [binary("skv-bench-engine"), "--model", model_path(),
                                 *map(str, flags)], env)
    stack.callback(process.close)
    return process


class LineProcess:
    """A bench process: JSON lines both ways (bench/peers/PROTOCOL.md). Not thread-safe."""

    def __init__(self, name, command, env=None, log=None):
        """`log`: a file for what it writes to its standard error; None: to ours."""
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=log, text=True, env=env)

    def ask(self, **request):
        """One request, its reply. Ends the row when the process died or answered an error."""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            fail(f"{self.name}: process ended before request {request['cmd']!r}")
        line = self._process.stdout.readline()
        if not line:
            fail(f"{self.name}: process ended in request {request['cmd']!r}")
        reply = json.loads(line)
        if not reply.get("ok"):
            fail(f"{self.name}: {request['cmd']}: {reply.get('error', 'no error text')}")
        return reply

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
