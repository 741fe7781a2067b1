"""Makes PyPI's torch for Linux importable without NVIDIA's libraries, for tests.

PyPI has torch for Linux x86-64 with CUDA only: its libraries name NVIDIA's, 2 GB more, although a
program that uses the processor never calls them. Run by the Python that has torch (installed with
--no-deps), this compiles an empty library for each that is missing, which has the symbols that torch
wants. All of them return 100, cudaErrorNoDevice. Needs cc, ldd and readelf; where nothing is missing it does nothing.
"""

import collections
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile


class Wanted:
    """What the loader misses of torch's libraries in a folder.

    Attributes:
        files: sonames that are not found.
        tags: version tags that are expected of a file.
        symbols: missing symbols by version tag; those without one are under "".
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.files: set[str] = set()
        self.tags: dict[str, set[str]] = collections.defaultdict(set)
        self.symbols: dict[str, set[str]] = collections.defaultdict(set)
        for library in sorted([*folder.glob("libtorch*.so"), *folder.glob("libc10*.so")]):
            self._read(library)
        self.files.discard("libcuda.so.1")  # the driver, which torch looks for by itself

    def _read(self, library: pathlib.Path) -> None:
        loads = subprocess.run(["ldd", "-r", library], capture_output=True, text=True, check=False)
        text = loads.stdout + loads.stderr
        self.files.update(re.findall(r"^\s*(\S+) => not found", text, re.M))
        for name, tag in re.findall(r"undefined symbol: ([^\s,]+)(?:, version (\S+))?", text):
            if not name.startswith(("_Z", "_Py", "Py")):  # Python's, and torch's own in C++, which are there when they are needed
                self.symbols[tag].add(name)
        file = ""
        for line in subprocess.run(["readelf", "-V", library], capture_output=True, text=True, check=True).stdout.splitlines():
            if m := re.search(r"\bFile: (\S+)", line):
                file = m.group(1)
            elif file and (m := re.search(r"\bName: (\S+)", line)):
                self.tags[file].add(m.group(1))


def compile_empty(folder: pathlib.Path, soname: str, wanted: Wanted) -> None:
    """One library of functions that do nothing. Those without a version stand in each: the loader takes any."""
    tags = {t: wanted.symbols.get(t, set()) for t in sorted(wanted.tags[soname])}
    names = wanted.symbols[""].union(*tags.values())
    with tempfile.TemporaryDirectory() as scratch:
        source, versions = pathlib.Path(scratch, "empty.c"), pathlib.Path(scratch, "versions")
        source.write_text("".join(f"long {n}(void) {{ return 100; }}\n" for n in sorted(names)))
        command = ["cc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{soname}", "-o", str(folder / soname), str(source)]
        if tags:
            versions.write_text("".join(f"{t} {{ {'global: ' if ns else ''}{' '.join(n + ';' for n in sorted(ns))} }};\n" for t, ns in tags.items()))
            command.append(f"-Wl,--version-script={versions}")
        subprocess.run(command, check=True)


def main() -> None:
    spec = importlib.util.find_spec("torch")  # does not import it
    if spec is None or spec.origin is None:
        sys.exit(f"{sys.executable} has no torch")
    folder = pathlib.Path(spec.origin).parent / "lib"
    wanted = Wanted(folder)
    for soname in sorted(wanted.files):
        compile_empty(folder, soname, wanted)
    print(f"{len(wanted.files)} empty libraries in {folder}")


if __name__ == "__main__":
    main()
