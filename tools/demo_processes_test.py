"""tools/demo_processes against servers that play a router and a rank."""
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

TOOL = pathlib.Path(__file__).with_name("demo_processes")
ROUTER = """# HELP skv_process_pid Process id.
# TYPE skv_process_pid gauge
skv_process_pid{role="router"} 41
skv_process_resident_bytes{kind="anonymous",role="router"} 2000000
skv_process_resident_bytes{kind="file",role="router"} 34000000
skv_router_requests_total{code="ok",role="router"} 2
skv_router_requests_total{code="cancelled",role="router"} 1
skv_router_generation_tokens_total{role="router"} 20
"""
RANK = """skv_process_pid{rank="3"} 1234567
skv_process_resident_bytes{kind="anonymous",rank="3"} 9.9e+07
skv_worker_weight_bytes{rank="3"} 48000000
skv_worker_steps_total{rank="3"} 28
skv_worker_tokens_total{rank="3"} 4305
"""


class DemoProcessesTest(unittest.TestCase):

    def serve(self, text):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/metrics" else 404)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}/metrics"

    def show(self, processes):
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump({"processes": processes}, file)
            file.flush()
            return subprocess.run([sys.executable, TOOL, file.name], capture_output=True, text=True,
                                  timeout=30, check=False)

    def test_each_number_is_the_processes_own_and_a_dash_where_it_has_none(self):
        # What the supervisor says of pids and ranks is not shown.
        done = self.show([
            {"name": "router", "pid": 1, "metrics": self.serve(ROUTER), "log": "r.log"},
            {"name": "group 0 rank 0", "pid": 2, "metrics": self.serve(RANK), "log": "w.log"}])
        self.assertEqual(done.returncode, 0, done.stderr)
        title, router, rank = done.stdout.splitlines()
        self.assertEqual(title.split(), ["process", "pid", "rank", "memory", "MB", "weights", "MB",
                                         "requests", "steps", "tokens"])
        self.assertEqual(router.split(), ["router", "41", "-", "36", "-", "3", "-", "20"])
        self.assertEqual(rank[16:].split(), ["1234567", "3", "99", "48", "-", "28", "4305"])

    def test_a_process_that_does_not_answer_is_named_with_its_log(self):
        done = self.show([{"name": "router", "pid": 1, "metrics": "http://127.0.0.1:1/metrics",
                           "log": "r.log"}])
        self.assertEqual(done.returncode, 1)
        for part in ("router", "http://127.0.0.1:1/metrics", "r.log"):
            self.assertIn(part, done.stderr)


if __name__ == "__main__":
    unittest.main()
