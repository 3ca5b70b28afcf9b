"""tools/check_layering against scratch repositories with seeded violations."""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
check_layering = SourceFileLoader(
    "check_layering", str(pathlib.Path(__file__).with_name("check_layering"))).load_module()


class CheckLayeringTest(unittest.TestCase):

    def check(self, **files):
        """Exit code and output for a repository of one-line files, given as path=line."""
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            for path, line in files.items():
                file = root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"#pragma once\n{line}\n")
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = check_layering.main(["--root", scratch])
        return code, out.getvalue() + err.getvalue()

    def test_an_include_passes_only_where_the_table_allows_it(self):
        cases = [
            ("downward", "worker/engine/a.h", '"worker/kv/kv_pool.h"', 0),
            ("upward", "worker/kv/a.h", '"worker/engine/engine.h"', 1),
            ("upward from a test", "worker/kv/a_test.cc", '"worker/engine/engine.h"', 1),
            ("its own module", "worker/kv/a.cc", '"worker/kv/a.h"', 0),
            ("same row", "worker/kv/a.h", '"worker/policy/kv_policy.h"', 1),
            ("same row, an interface", "worker/model/a.h", '"worker/policy/kv_policy.h"', 0),
            ("same row, no interface", "worker/model/a.h", '"worker/policy/full_policy.h"', 1),
            ("lower row, an interface", "worker/scheduler/a.h", '"worker/policy/policy_params.h"',
             0),
            ("lower row, no interface", "worker/scheduler/a.h", '"worker/policy/kv_policy.h"', 1),
            ("kernels and common", "kernels/cpu/a.cc", '"common/status.h"', 1),
            ("router and worker", "router/relay.cc", '"worker/engine/request.h"', 1),
            ("worker and router", "worker/server/a.cc", '"router/event.h"', 1),
            ("worker and the client of the store", "worker/engine/a.cc",
             '"kvstore/client/block_client.h"', 0),
            ("worker and the store", "worker/prefix/a.cc", '"kvstore/server/session_server.h"', 1),
            ("worker and the store, in a test", "worker/prefix/a_test.cc",
             '"kvstore/server/session_server.h"', 0),
            ("the store and worker", "kvstore/client/a.cc", '"worker/kv/prompt_block.h"', 1),
            ("generated types inside", "worker/engine/a.cc", '"skv/worker/v1/worker.pb.h"', 1),
            ("generated types at the edge", "router/grpc/a.cc", '"skv/v1/generation.pb.h"', 0),
            ("gRPC inside", "router/membership/a.cc", "<grpcpp/grpcpp.h>", 1),
            ("gRPC inside, quoted", "router/membership/a.cc", '"grpcpp/grpcpp.h"', 1),
            ("gRPC at the edge", "worker/server/a.cc", "<grpcpp/grpcpp.h>", 0),
            ("indented", "worker/kv/a.h", '"worker/engine/engine.h"', 1),
            ("not from the root", "worker/kv/a.cc", '"a.h"', 1),
            ("test support in a test", "router/relay_test.cc",
             '"router/testing/fake_group_client.h"', 0),
            ("test support in code", "router/relay.cc", '"router/testing/fake_group_client.h"', 1),
            ("gtest in code", "text/a.cc", '"gtest/gtest.h"', 1),
            ("gtest in a test", "text/a_test.cc", '"gtest/gtest.h"', 0),
            ("threads in a pure module", "worker/scheduler/a.cc", "<thread>", 1),
            ("threads elsewhere", "worker/engine/a.cc", "<thread>", 0),
            ("an example and the public API", "examples/a.cc", '"skv/llm.h"', 0),
            ("an example and what lies behind", "examples/a.cc", '"worker/engine/engine.h"', 1),
            ("tools see everything", "tools/cli/a.cc", '"worker/engine/engine.h"', 0),
        ]
        for why, path, target, expected in cases:
            with self.subTest(why):
                code, output = self.check(**{path: f"#include {target}"})
                self.assertEqual(code, expected, output)

    def test_a_violation_names_file_line_and_what_would_be_allowed(self):
        _, output = self.check(**{"worker/kv/a.h": '#  include "worker/model/llama_model.h"'})
        self.assertIn('worker/kv/a.h:2: includes "worker/model/llama_model.h" of worker/model; '
                      "worker/kv may include common", output)

    def test_a_folder_without_a_row_is_a_violation(self):
        for path in ("worker/new/a.h", "kernels/cuda/a.cu", "router/http/a.cc", "worker/a.h"):
            with self.subTest(path):
                code, output = self.check(**{path: ""})
                self.assertEqual(code, 1, output)
                self.assertIn("no module", output)

    def test_a_tree_without_sources_does_not_pass(self):
        self.assertEqual(self.check()[0], 1)

    def test_a_table_with_a_cycle_is_a_violation(self):
        allowed = check_layering.MAY_INCLUDE["worker/kv"]
        allowed.append("worker/engine")
        self.addCleanup(allowed.remove, "worker/engine")
        code, output = self.check(**{"text/a.h": ""})
        self.assertEqual(code, 1)
        self.assertIn("worker/kv may include worker/engine, which is not below it", output)


if __name__ == "__main__":
    unittest.main()
