"""What the corpus writers beside this file share: their command line."""
import pathlib
import sys


def main(seeds, usage):
    """Writes seeds, name -> bytes, into the folder that the only argument names."""
    if len(sys.argv) != 2:
        sys.exit(usage)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)
