"""Packs what a GPU machine without a network needs, in pieces of a size that can be transferred.

    python -m benchmarks.gpu.pack --out bundle                  # our source: enough for all parts but `search`
    python -m benchmarks.gpu.pack --out bundle --search         # and Ray, Optuna and what else `search` imports

`bundle/site` is our wheel, unpacked, with the benchmark beside it. `bundle/packages.tar.xz.00`, `.01`, ... are the
packages for the named Python on Linux x86-64 in one archive, cut into pieces; packages that the machine has are left
out, and so are files that a search never opens: dashboards, tests, debug symbols, other libraries of Ray.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[2]
_ROOMS = ("spaces", "trainers", "reports", "search")
_HAS = "torch,numpy,safetensors,tokenizers,pyyaml"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_MORE_PLATFORMS = ("manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64")
_LEFT_OUT = (
    *("ray/dashboard/client", "ray/rllib", "ray/serve", "ray/llm", "ray/jars", "ray/cpp", "ray/core/src/ray/java"),
    *("pyarrow/include", "pyarrow/tests", "plotly/package_data/datasets", "pandas/tests", "sqlalchemy/testing"),
)
_LEFT_OUT_NAMES = (
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "*.a",
    "libarrow_flight*",
    "_flight*",
)


def main() -> None:
    """Makes the folder from scratch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make; one that is there is replaced")
    parser.add_argument("--search", action="store_true", help="with the packages that the part `search` needs")
    parser.add_argument("--python", default="3.12", help="version of the machine's Python (default: %(default)s)")
    parser.add_argument("--has", default=_HAS, help="packages that the machine has (default: %(default)s)")
    parser.add_argument("--piece-mib", type=int, default=48, help="largest size of a piece (default: %(default)s)")
    asked = parser.parse_args()
    if asked.out.exists() and not (asked.out / "site" / "COMMIT").exists():
        parser.error(f"--out {asked.out}: is there and was not made by this command; name another folder")
    shutil.rmtree(asked.out, ignore_errors=True)
    pack_source(asked.out / "site")
    if asked.search:
        has = {_normal(name) for name in asked.has.split(",")}
        for name in tuple(has):
            dict(_needed(name, has=has))
        needed = dict(sorted(_needed("depthweave", has=has)))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "packages"
            _fetch(needed, into=folder, python=asked.python)
            _slim(folder)
            _archive(folder, asked.out / "packages.tar.xz", piece_bytes=asked.piece_mib * 2**20)
    for file in sorted(asked.out.glob("packages*")):
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")
    print(f"{asked.out / 'site'}: {sum(it.stat().st_size for it in (asked.out / 'site').rglob('*')) / 2**20:.1f} MiB")


def pack_source(site: Path) -> None:
    """Our wheel unpacked, the benchmark, and the commit that they are of."""
    pycache = shutil.ignore_patterns("__pycache__")
    with tempfile.TemporaryDirectory() as scratch:
        # Of a copy: what an earlier build left in the checkout would be packed as well.
        source = Path(scratch) / "source"
        for name in _ROOMS:
            shutil.copytree(_ROOT / name, source / name, ignore=pycache)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(_ROOT / name, source)
        _pip("wheel", "--no-deps", "--wheel-dir", scratch, str(source))
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)
    shutil.copytree(_ROOT / "benchmarks" / "gpu", site / "benchmarks" / "gpu", ignore=pycache)
    shutil.copy(_ROOT / "benchmarks" / "__init__.py", site / "benchmarks")
    (site / "examples").mkdir()
    shutil.copy(_ROOT / "examples" / "gpu.yaml", site / "examples")
    commit = subprocess.run(
        ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=10"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    (site / "COMMIT").write_text((commit or "unknown") + "\n", encoding="utf-8")


def _needed(package: str, *, has: set[str], extra: str = "") -> Iterator[tuple[str, str]]:
    """What a package of this environment imports, with versions, less what is there."""
    for text in requires(package) or ():
        need = Requirement(text)
        name = _normal(need.name)
        if name in has or (need.marker is not None and not need.marker.evaluate({"extra": extra})):
            continue
        has.add(name)
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
        for more in ("", *sorted(need.extras)):
            yield from _needed(name, has=has, extra=more)


def _fetch(needed: dict[str, str], *, into: Path, python: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        platforms = [part for name in (*_PLATFORMS, *_MORE_PLATFORMS) for part in ("--platform", name)]
        wanted = [f"{name}=={number}" for name, number in needed.items()]
        _pip(
            *("download", "--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *(*platforms, "--dest", scratch, *wanted),
        )
        for wheel in sorted(Path(scratch).glob("*.whl")):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(into)


def _slim(folder: Path) -> None:
    for name in _LEFT_OUT:
        shutil.rmtree(folder / name, ignore_errors=True)
    for pattern in _LEFT_OUT_NAMES:
        for file in folder.rglob(pattern):
            file.unlink()
    programs = [file for file in (folder / "ray").rglob("*") if file.name in {"raylet", "gcs_server"}]
    for file in [*programs, *(folder / "ray").rglob("*.so")]:
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", str(file)], check=False, capture_output=True)
    # A zip keeps no permissions that `extractall` would restore.
    for file in programs:
        file.chmod(0o755)


def _archive(folder: Path, file: Path, *, piece_bytes: int) -> None:
    with tarfile.open(file, "w:xz", preset=6) as archive:
        archive.add(folder, arcname="packages")
    data = file.read_bytes()
    file.unlink()
    for number, start in enumerate(range(0, len(data), piece_bytes)):
        file.with_name(f"{file.name}.{number:02}").write_bytes(data[start : start + piece_bytes])


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", *arguments[1:]]
    subprocess.run(command, check=True)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
