"""Fuzzing of the file readers, guided by the code that a file reaches: inputs that reach new code are kept and changed again.

Wants `pip install atheris`. What it keeps goes into tests/corpus/READER, which test_fuzzed_files.py reads again.

    python tests/coverage_guided.py                      # all readers, 10 000 files each
    python tests/coverage_guided.py --readers csv npy --runs 100000
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
# Own code, and the parsers below it.
INSTRUMENTED = ["nonlazy", "tomllib", "zipfile", "csv", "json", "numpy.lib.format"]
# Of what is kept, small files only, and not many.
LARGEST, MOST = 2000, 25


def main() -> None:
    from fuzzed_files import readers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", nargs="+", choices=list(readers()), default=list(readers()))
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    for name in options.readers:
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder) / "found"
            shutil.copytree(folder_of(name), found) if folder_of(name).exists() else found.mkdir()
            # The fuzzer ends its process.
            command = [sys.executable, __file__, "--one", name, folder, f"-runs={options.runs}", str(found)]
            ended = subprocess.run(command, capture_output=True, text=True)
            if ended.returncode:
                crash = Path(folder) / "crash"
                kept = shutil.copy(crash, f"crash-{name.replace(' ', '-')}") if crash.exists() else "nowhere"
                sys.exit(f"{name}: {ended.stdout[-2000:]}\n{ended.stderr[-4000:]}\nthe file is in {kept}")
            new = keep(found, folder_of(name))
            print(f"{name}: {options.runs} files without a crash, {new} kept in {folder_of(name)}", flush=True)


def folder_of(name: str) -> Path:
    return CORPUS / name.replace(" ", "-")


def keep(found: Path, folder: Path) -> int:
    """Copy the smallest of the files that reached new code."""
    files = sorted(found.iterdir(), key=lambda file: (file.stat().st_size, file.name))
    chosen = [file for file in files if file.stat().st_size <= LARGEST][:MOST]
    folder.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        shutil.copy(file, folder / file.name)
    return len(chosen)


def fuzz(name: str, folder: Path, arguments: list[str]) -> None:
    """Feed one reader, in a process of its own."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzzed_files import readers, try_to_read
    reader = readers()[name]
    path = folder / reader.file
    reader.write(path)
    (Path(arguments[-1]) / "whole").write_bytes(path.read_bytes())
    # The alarm that ends a read which takes too long is the reader's own.
    options = ["-timeout=0", "-seed=1", f"-exact_artifact_path={folder / 'crash'}", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *options, *arguments], lambda content: try_to_read(reader, path, content))
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    else:
        main()
