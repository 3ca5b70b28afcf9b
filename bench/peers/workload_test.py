"""The least time that a machine needs for each metric."""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import workload  # noqa: E402

LIMITS = {"isa": "avx512vnni", "int8_gop_s": [100, 200], "bf16_gop_s": [0, 0],
          "f32_gop_s": [50, 100], "read_gb_s": {"109": [10, 20], "2000": [10, 10]}}


class LoadTest(unittest.TestCase):

    def test_our_products_take_two_planes_of_int8(self):
        load = workload.Load(products=200e9, attention=0)
        self.assertEqual(load.least_seconds("router", LIMITS), ("compute", 2.0))
        self.assertEqual(load.least_seconds("llama_cpp", LIMITS), ("compute", 1.0))

    def test_our_products_take_one_dot_of_words(self):
        load = workload.Load(products=200e9, attention=0)
        limits = LIMITS | {"isa": "avx2"}
        self.assertEqual(load.least_seconds("router", limits), ("compute", 1.0))

    def test_attention_adds_in_the_type_that_the_cpu_has(self):
        load = workload.Load(products=100e9, attention=100e9)
        self.assertEqual(load.least_seconds("router", LIMITS), ("compute", 2.0))
        bf16 = {**LIMITS, "bf16_gop_s": [200, 400]}
        self.assertEqual(load.least_seconds("router", bf16), ("compute", 1.25))

    def test_a_step_reads_once_for_all_its_tokens_what_was_measured_at_its_size(self):
        load = workload.Load(1e9, 0, step_bytes=2e9, tokens_of_step=8)
        self.assertEqual(load.least_seconds("router", LIMITS), ("read", 0.025))

    def test_decode_of_one_stream_is_bound_by_reading_prefill_by_computing(self):
        loads = workload.Single("512", 512, 64).loads()
        self.assertEqual(loads["decode_512"].step_megabytes, 109)
        self.assertEqual(loads["decode_512"].least_seconds("router", LIMITS)[0], "read")
        self.assertEqual(loads["prefill_512"].least_seconds("router", LIMITS)[0], "compute")


if __name__ == "__main__":
    unittest.main()
