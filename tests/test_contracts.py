"""Contracts of the whole tree: layers, sizes, public names, errors, stub, texts."""

import ast
import importlib
import importlib.util
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import curate
from curate import _rust, errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "curate"

LAYERS = (
    ("errors",),
    ("schema", "files"),
    ("config", "shards", "runs", "text"),
    ("measure", "filters", "dedup", "decontaminate", "models", "laws"),
    ("selection",),
    ("pipeline", "profile", "runners"),
    ("loader", "report"),
    ("export",),
    ("api", "cli"),
    ("__main__",),
)
"""Top-level modules and packages, lowest first; `errors` lies below the rest of its layer."""

LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
HEAVY = ("torch", "ray", "transformers", "spacy", "fsspec", "tokenizers")


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> Iterator[str]:
    """Yield the top-level parts of the package that `source` imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("curate."):
                    yield alias.name.split(".")[1]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "curate":
                yield from (alias.name for alias in node.names)
            elif node.module is not None and node.module.startswith("curate."):
                yield node.module.split(".")[1]


def is_allowed(importer: str, imported: str) -> bool:
    if importer == imported or imported == "_rust":
        return True
    return LAYER_OF[imported] < LAYER_OF[importer]


PACKAGE_SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", PACKAGE_SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    importer = part_of(path)
    if importer == "__init__":
        return
    assert importer in LAYER_OF, f"{importer} has no layer"
    for imported in imported_parts(path.read_text("utf-8")):
        assert is_allowed(importer, imported), f"{importer} imports {imported}"


@pytest.mark.parametrize(
    ("source", "parts", "importer", "allowed"),
    [
        ("from curate import runs", ["runs"], "pipeline", True),
        ("import curate.cli", ["cli"], "pipeline", False),
        ("def f():\n    from curate.filters.gopher import x", ["filters"], "measure", False),
        ("from curate.filters import gopher", ["filters"], "filters", True),
        ("from curate.errors import DataError", ["errors"], "files", True),
    ],
)
def test_the_layer_test_sees_every_form_of_import(
    source: str, parts: list[str], importer: str, allowed: bool
) -> None:
    assert list(imported_parts(source)) == parts
    assert all(is_allowed(importer, part) for part in parts) == allowed


def test_files_and_functions_keep_their_size_budgets() -> None:
    assert load_script("sizes").problems() == []


def test_every_source_file_says_what_it_is() -> None:
    for path in PACKAGE_SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path} has no docstring"
    for path in sorted((ROOT / "rust_ext" / "src").rglob("*.rs")):
        assert path.read_text("utf-8").startswith("//!"), f"{path} has no module doc"


def test_public_names_are_sorted_and_complete() -> None:
    listed = getattr(curate, "__all__", [])
    assert list(listed) == sorted(set(listed))
    for name in listed:
        assert getattr(curate, name) is not None
    bound = set()
    for node in ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    assert {name for name in bound if not name.startswith("_")} <= set(listed)


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = f"import curate, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def error_types() -> list[str]:
    return [name for name, value in vars(errors).items() if isinstance(value, type)]


@pytest.mark.parametrize("name", error_types())
def test_every_error_that_the_package_raises_is_expected_by_a_test(name: str) -> None:
    raised = any(re.search(rf"\braise {name}\b", path.read_text("utf-8")) for path in PACKAGE_SOURCES)
    expected = any(
        re.search(rf"raises\([^)]*\b{name}\b", path.read_text("utf-8"))
        for path in (ROOT / "tests").rglob("test_*.py")
    )
    assert expected or not raised


@pytest.mark.parametrize("name", error_types())
def test_every_error_is_a_curate_error_with_a_hint_and_an_exit_code(name: str) -> None:
    error = getattr(errors, name)("what", hint="way out")
    assert isinstance(error, errors.CurateError)
    assert str(error) == "what"
    assert error.hint == "way out"
    assert error.exit_code == (2 if name == "ConfigError" else 1)
    assert name in str(errors.__doc__)


def test_the_stub_has_exactly_the_names_of_the_extension() -> None:
    tree = ast.parse((PACKAGE / "_rust.pyi").read_text("utf-8"))
    stub = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            stub.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stub.add(node.target.id)
    module = {name for name in dir(_rust) if not name.startswith("__")}
    assert {name for name in stub if not name.startswith("_")} == module


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_no_source_file_is_ignored_by_git() -> None:
    sources = [
        str(path.relative_to(ROOT))
        for folder in ("curate", "tests", "scripts", "rust_ext/src", "configs", "sample")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    ]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        input="\n".join(sources),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == []


def python_code(source: str) -> str:
    """Return the tokens of a Python file without its strings."""
    skipped = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return " ".join(token.string for token in tokens if token.type not in skipped)


def rust_code(source: str) -> str:
    """Return a Rust file without its string and character literals."""
    return re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)+?'", "", source)


def test_code_and_comments_are_ascii() -> None:
    for folder in ("curate", "tests", "scripts", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py*"):
            if path.suffix in (".py", ".pyi"):
                assert python_code(path.read_text("utf-8")).isascii(), f"{path} is not ASCII"
    for path in (ROOT / "rust_ext" / "src").rglob("*.rs"):
        assert rust_code(path.read_text("utf-8")).isascii(), f"{path} is not ASCII"


def test_the_ascii_test_looks_at_code_and_comments_but_not_at_literals() -> None:
    assert python_code('x = "\u00e9"  # fine\n').isascii()
    assert not python_code("x = 1  # caf\u00e9\n").isascii()
    assert rust_code("let x = \"\u00e9\"; let y = '\u00e9'; // fine").isascii()
    assert not rust_code("let x = 1; // caf\u00e9").isascii()


def test_the_changelog_has_an_entry_for_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in text or "## [Unreleased]" in text


def test_the_readme_mentions_every_command() -> None:
    import typer.main

    readme = (ROOT / "README.md").read_text("utf-8")
    command = typer.main.get_command(importlib.import_module("curate.cli").app)
    for name in getattr(command, "commands", {}):
        assert f"curate {name}" in readme, f"README.md does not mention `curate {name}`"
