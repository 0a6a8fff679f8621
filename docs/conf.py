"""Sphinx settings. The docstrings of the env classes are Markdown pages and become such (as in Gymnasium)."""

import hashlib
import inspect
import sys
from importlib import import_module
from importlib.metadata import version as _version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gallery import write_changed, write_gallery

project = "malles_env"
author = "The malles_env developers"
project_copyright = "The malles_env developers"
release = _version("malles-env")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "myst-nb"}
exclude_patterns = ["_build"]
copybutton_prompt_text = "$ "
suppress_warnings = ["myst.header"]
html_theme = "furo"
html_title = f"malles_env {release}"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True

def _cache_folder() -> str:
    """Return where executed tutorials are kept: another folder once anything they run has changed."""
    seen = hashlib.sha256()
    for folder in ("malles_env", "agents/malles_agents"):
        for path in sorted((Path(__file__).parents[1] / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                seen.update(path.as_posix().encode() + path.read_bytes())
    return str(Path(__file__).parent / "_build" / "tutorials" / seen.hexdigest()[:12])


nb_execution_mode = "cache"
nb_execution_cache_path = _cache_folder()
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # by default a page of another host

ENV_PAGES = {
    "parallel": "malles_env.envs.parallel:PricingParallelEnv",
    "single": "malles_env.envs.single:PricingEnv",
}


def _write_env_pages(folder: Path) -> None:
    for page, place in ENV_PAGES.items():
        module, name = place.split(":")
        text = inspect.getdoc(getattr(import_module(module), name)) or ""
        write_changed(folder / f"{page}.md", f"# {name}\n\n{text}\n")


def _write_schema_page(path: Path) -> None:
    from malles_env.data.log.schema import TABLES

    lines = ["# The transaction schema", "", "`transactions` and `products` are required, the others optional.", ""]
    for table in ("transactions", "products", "offers", "promotions", "households"):
        lines += [f"## {table}", "", "| column | type | required | meaning |", "|---|---|---|---|"]
        for name, column in TABLES[table].items():
            required = "yes" if column.required else "no"
            lines.append(f"| `{name}` | {str(column.dtype).split('(')[0]} | {required} | {column.meaning} |")
        lines.append("")
    write_changed(path, "\n".join(lines))


_write_env_pages(Path(__file__).parent / "reference" / "made")
write_gallery(Path(__file__).parent / "reference" / "made" / "scenarios")
_write_schema_page(Path(__file__).parent / "reference" / "made" / "schema.md")
