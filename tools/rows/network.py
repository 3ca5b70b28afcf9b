"""Two network namespaces with a link between them, for rows that measure what two hosts would."""
import contextlib
import os
import subprocess


def _ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def linked_namespaces(rate):
    """Two namespaces, as commands that start others within them, and the first one's address; `rate`, such as 10gbit, is the
    link's in both directions (tc tbf). RuntimeError where this machine does not let us.
    """
    names, addresses = [f"skv{os.getpid()}{side}" for side in "ab"], ["10.231.77.1", "10.231.77.2"]
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
            for name, address in zip(names, addresses):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", name)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", name, "up")
                _ip("netns", "exec", name, "tc", "qdisc", "add", "dev", name, "root", "tbf", "rate", rate, "burst", "4mb",
                    "latency", "20ms")
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(getattr(error, "stderr", None) or str(error)) from error
        yield [["ip", "netns", "exec", name] for name in names], addresses[0]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
