"""Check an installed wheel: run this outside the source tree, in the wheel's environment.

Imports the package, runs `curate --help`, and the demo recipe where `configs/demo.yaml` is in this folder.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "ray", "transformers")


def check_import() -> None:
    """Import the package: from the wheel, in release mode, without a heavy library."""
    import curate
    from curate import _rust

    origin = Path(curate.__file__ or "").resolve()
    if "site-packages" not in origin.parts:
        sys.exit(f"curate was imported from {origin}, not from the wheel")
    if _rust.BUILD_PROFILE != "release":
        sys.exit(f"the extension was built in {_rust.BUILD_PROFILE} mode")
    loaded = [name for name in HEAVY if name in sys.modules]
    if loaded:
        sys.exit(f"importing curate imported {loaded}")
    if not (origin.parent / "py.typed").exists():
        sys.exit("the wheel has no py.typed")
    print(f"imported {origin.parent}")


def check_command() -> None:
    """Run the command line."""
    command = Path(sys.executable).with_name("curate")
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    print("curate --help works")
    if Path("configs/demo.yaml").exists():
        subprocess.run([command, "run", "configs/demo.yaml"], check=True)
        print("curate run configs/demo.yaml works")


if __name__ == "__main__":
    check_import()
    if importlib.util.find_spec("curate.cli") is not None:
        check_command()
    print("smoke test passed")
