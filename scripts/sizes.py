"""Check the size budgets of `curate/` and print its ten largest files and functions.

A file has at most 400 lines; a function at most 50 lines and 7 parameters, unless its `def` line ends in a
comment `# over: <why>`. Exits 1 where one is over.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 7


@dataclass(frozen=True)
class Size:
    """A file or function with its lines and, for a function, its parameters."""

    name: str
    num_lines: int
    num_parameters: int = 0


def sources() -> list[Path]:
    """List the Python files of the package."""
    return sorted((ROOT / "curate").rglob("*.py"))


def file_sizes() -> list[Size]:
    """Measure every file of the package."""
    return [
        Size(str(path.relative_to(ROOT)), len(path.read_text("utf-8").splitlines())) for path in sources()
    ]


def function_sizes() -> list[Size]:
    """Measure every function of the package, nested ones too."""
    sizes = []
    for path in sources():
        text = path.read_text("utf-8")
        lines_of = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if "# over: " in lines_of[node.lineno - 1]:
                    continue
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                arguments = node.args
                names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
                count = sum(name not in ("self", "cls") for name in names)
                sizes.append(Size(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines, count))
    return sizes


def problems() -> list[str]:
    """Say what is over its budget."""
    found = [f"{s.name} has {s.num_lines} lines" for s in file_sizes() if s.num_lines > MAX_FILE_LINES]
    for size in function_sizes():
        if size.num_lines > MAX_FUNCTION_LINES:
            found.append(f"{size.name} has {size.num_lines} lines")
        if size.num_parameters > MAX_PARAMETERS:
            found.append(f"{size.name} has {size.num_parameters} parameters")
    return found


def main() -> int:
    """Print the largest and what is over."""
    for title, sizes in (("files", file_sizes()), ("functions", function_sizes())):
        print(f"largest {title}:")
        for size in sorted(sizes, key=lambda size: (-size.num_lines, size.name))[:10]:
            print(f"  {size.num_lines:4d}  {size.name}")
    found = problems()
    for problem in found:
        print(f"over budget: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
