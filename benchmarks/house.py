"""How large the code is and how it hangs together: lines, files, levels, import circles, long functions.

Run it as ``python -m benchmarks.house [--before REVISION] [--json FILE]``. It counts what goes into the wheel
(`malles_env` and `malles_agents`), by reading the sources, not by running them; `--before` counts a revision too.
"""

from __future__ import annotations

import ast
import io
import json
import subprocess
import tarfile
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

PACKAGES = {"malles_env": "malles_env", "malles_agents": "agents/malles_agents"}
LONG, WIDE = 50, 12
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class House:
    """What was counted.

    Attributes:
        lines: Lines of Python.
        code: Of these, lines that are neither blank nor comments nor docstrings.
        files: Files of Python, `__init__.py` included.
        widest: Most files on one level, `__init__.py` left out.
        wide: Folders with more than a dozen of them.
        circles: Groups of modules that import one another, also inside functions or for types alone, each sorted.
        long_functions: Functions of more than 50 lines.
        inner_imports: Imports of these packages inside functions.
    """

    lines: int
    code: int
    files: int
    widest: int
    wide: tuple[str, ...]
    circles: tuple[tuple[str, ...], ...]
    long_functions: tuple[str, ...]
    inner_imports: int


def count(root: Path = ROOT) -> House:
    """Count a checkout.

    Args:
        root: Its folder.
    """
    sources = dict(_sources(root))
    trees = {name: ast.parse(text) for name, text in sources.items()}
    levels = _levels(root)
    return House(
        lines=sum(text.count("\n") for text in sources.values()),
        code=sum(_code_lines(text, trees[name]) for name, text in sources.items()),
        files=len(sources),
        widest=max(levels.values()),
        wide=tuple(sorted(wide_levels(root))),
        circles=tuple(sorted(circles(_arrows(trees)))),
        long_functions=tuple(sorted(_long_functions(trees))),
        inner_imports=sum(_inner_imports(tree) for tree in trees.values()),
    )


def wide_levels(root: Path) -> dict[str, int]:
    """Return the levels of a checkout with more than a dozen files, and how many they have.

    Args:
        root: Its folder.
    """
    return {name: files for name, files in _levels(root).items() if files > WIDE}


def _levels(root: Path) -> Counter[str]:
    names = (name for name, _ in _files(root))
    return Counter(name.rpartition(".")[0] for name in names if not name.endswith(".__init__"))


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    for name, file in _files(root):
        yield name, file.read_text(encoding="utf-8")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for file in sorted((root / folder).rglob("*.py")):
            yield ".".join((package, *file.relative_to(root / folder).with_suffix("").parts)), file


def _code_lines(text: str, tree: ast.Module) -> int:
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    described = {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    thin = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = (token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in thin)
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - described)


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _long_functions(trees: dict[str, ast.Module]) -> Iterator[str]:
    for name, tree in trees.items():
        for function in _functions(tree):
            if (function.end_lineno or 0) - function.lineno + 1 > LONG:
                yield f"{name}.{function.name}"


def _inner_imports(tree: ast.Module) -> int:
    found = {
        id(node)
        for function in _functions(tree)
        for node in ast.walk(function)
        if any(name.partition(".")[0] in PACKAGES for name in _imported(node))
    }
    return len(found)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _arrows(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Return which modules each module imports, anywhere: also inside functions and for types alone."""
    known = {name.removesuffix(".__init__"): name for name in trees}
    arrows: dict[str, set[str]] = {}
    for name, tree in trees.items():
        targets = {known[target] for node in ast.walk(tree) for target in _imported(node) if target in known}
        arrows[name] = targets - {name}
    return arrows


def circles(arrows: dict[str, set[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the groups of names that reach one another (strongly connected components of more than one).

    Args:
        arrows: Name -> names it points to.
    """
    reach = {name: _reached(name, arrows) for name in arrows}
    seen: set[str] = set()
    for name in sorted(arrows):
        group = {other for other in reach[name] if name in reach[other]} | {name}
        if len(group) > 1 and name not in seen:
            seen |= group
            yield tuple(sorted(group))


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += arrows.get(name, ())
    return found


def _checked_out(revision: str, folder: Path) -> Path:
    packed = subprocess.run(
        ["git", "archive", revision, *PACKAGES.values()], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _row(house: House) -> dict[str, str]:
    return {
        "lines of Python in the wheel": f"{house.lines:,}",
        "of these neither blank, comment nor docstring": f"{house.code:,}",
        "files": f"{house.files:,}",
        "most files on one level": str(house.widest),
        f"levels of more than {WIDE} files": str(len(house.wide)),
        "import circles (modules in them)": f"{len(house.circles)} ({sum(map(len, house.circles))})",
        f"functions of more than {LONG} lines": str(len(house.long_functions)),
        "own packages imported inside functions": str(house.inner_imports),
    }


def main(
    before: Annotated[str | None, typer.Option(help="A revision of git to count as well.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything found to this file.")] = None,
) -> None:
    """Count the code that goes into the wheel."""
    houses = {"now": count()}
    if before is not None:
        with tempfile.TemporaryDirectory() as folder:
            houses = {before: count(_checked_out(before, Path(folder))), **houses}
    table = Table("", *houses)
    for what in _row(houses["now"]):
        table.add_row(what, *(_row(house)[what] for house in houses.values()))
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({name: asdict(house) for name, house in houses.items()}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
