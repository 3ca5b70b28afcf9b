"""What rows share that look at streams while processes of a cluster are hit."""
import json
import subprocess
import threading
import time

import rowlib


class StreamLog:
    """A running skv-stream-log. Feeds it requests so that it always has one to begin."""

    def __init__(self, endpoint, requests, num_streams):
        self._process = subprocess.Popen(
            [rowlib.binary("skv-stream-log"), "--endpoint", endpoint, "--concurrency", str(num_streams)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._requests = requests  # an iterator of (key, request)
        self._keys = []
        self.running, self.ended = {}, []  # by number; records in the order of their ends
        self._lock = threading.Lock()
        self._feeding = True
        for _ in range(num_streams + 1):
            self._feed()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _feed(self):
        following = next(self._requests, None) if self._feeding else None
        if following is None:
            self._feeding = False
            if not self._process.stdin.closed:
                self._process.stdin.close()
            return
        self._keys.append(following[0])
        self._process.stdin.write(json.dumps(following[1]) + "\n")
        self._process.stdin.flush()

    def _read(self):
        for line in self._process.stdout:
            record = json.loads(line)
            with self._lock:
                if "begin" in record:
                    self.running[record["begin"]] = time.monotonic()
                    continue
                record["key"] = self._keys[record["end"]]
                record["from"], record["until"] = self.running.pop(record["end"]), time.monotonic()
                self.ended.append(record)
                if not self._process.stdin.closed:
                    self._feed()

    def numbers(self):
        with self._lock:
            return set(self.running)

    def records(self):
        """Of the requests that have ended so far."""
        with self._lock:
            return list(self.ended)

    def num_ended(self):
        with self._lock:
            return len(self.ended)

    def stop_feeding(self):
        with self._lock:
            self._feeding = False

    def wait(self):
        """The records of all requests."""
        self._reader.join()
        if self._process.wait() != 0:
            rowlib.fail(f"skv-stream-log ended with exit code {self._process.returncode}")
        return self.ended


def make_request(ids, policy, tokens, budget, seed):
    """Of token ids: `tokens` new ones, drawn with `seed`, or greedily where it is None. `full` takes no budget."""
    request = {"tokenIds": {"ids": ids}, "maxTokens": tokens, "ignoreEos": True, "temperature": 0, "kvPolicy": {"name": policy}}
    if policy != "full":
        request["kvPolicy"]["maxCapacityPrompts"] = budget
    if seed is not None:
        request.update(temperature=1, seed=seed)
    return request


def run_undisturbed(endpoint, requests, num_streams):
    """The records, by the request's place in the list. Ends the row when one fails."""
    records = StreamLog(endpoint, iter(list(enumerate(requests))), num_streams).wait()
    bad = [record for record in records
           if record["status"] != 0 or len(record["tokens"]) != requests[record["key"]]["maxTokens"]]
    if bad:
        rowlib.fail(f"undisturbed, {len(bad)} requests failed: {bad[0]['message']}")
    return {record["key"]: record for record in records}


def compare(records, reference):
    """Requests that failed, and tokens that differ from those of the undisturbed run, `reference`, by key."""
    failed, wrong = 0, 0
    for record in records:
        want, got = reference[record["key"]]["tokens"], record["tokens"]
        wrong += sum(a != b for a, b in zip(want, got))
        if record["status"] != 0 or len(got) != len(want):
            failed += 1
            rowlib.progress(f"failed: status {record['status']}, {len(got)} tokens: {record['message']}")
    return failed, wrong


class Cluster:
    """The processes of a `skv cluster up` that is ready: `ready` is what it printed."""

    def __init__(self, ready):
        self.metrics = {process["name"]: process["metrics"] for process in ready["processes"]}

    def pid(self, name):
        """0 where it does not answer."""
        return int(self.metric(name, "skv_process_pid") or 0)

    def metric(self, name, metric, **labels):
        return rowlib.metric(self.metrics[name], metric, **labels)

    def num_healthy(self):
        """Groups that the router sees so; None where it does not answer."""
        return self.metric("router", "skv_router_groups", state="healthy")

    def wait_for_healthy(self, count, seconds=60):
        """Seconds until that many groups were healthy."""
        start = time.monotonic()
        while self.num_healthy() != count:
            if time.monotonic() - start > seconds:
                rowlib.fail(f"the router still has {self.num_healthy()} healthy groups, expected {count}")
            time.sleep(0.01)
        return time.monotonic() - start
