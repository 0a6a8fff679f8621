"""Sphinx settings. The docstrings of the env classes are Markdown pages and become such (as in Gymnasium)."""

import hashlib
import inspect
import sys
from importlib import import_module
from importlib.metadata import version as _version
from pathlib import Path
from typing import Any

import pydantic
from docutils.nodes import Element, document, reference
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import ALIASES, api_pages
from gallery import write_changed, write_gallery
from inventories import ADDRESSES, address_of, inventory

project = "malles_env"
author = "The malles_env developers"
project_copyright = "The malles_env developers"
release = _version("malles-env")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
copybutton_prompt_text = "$ "
suppress_warnings = ["myst.header"]
html_theme = "furo"
html_title = f"malles_env {release}"
autodoc_typehints = "signature"
autodoc_type_aliases = ALIASES
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config, model_post_init"}
maximum_signature_line_length = 88
python_display_short_literal_types = True
default_role = "py:obj"
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


LINKED = ("class", "exception", "function", "data", "module")
"""What a bare name in a docstring may mean; the attribute of some class it does not."""


def _write_env_pages(folder: Path) -> None:
    for page, place in ENV_PAGES.items():
        module, name = place.split(":")
        text = inspect.getdoc(getattr(import_module(module), name)) or ""
        methods = f"Its methods: [](api/malles_env.{name}.rst)."
        write_changed(folder / f"{page}.md", f"# {name}\n\n{methods}\n\n{text}\n")


def _without_page(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put a link in the place of docstrings that are pages themselves."""
    pages = {f"malles_env.{place.split(':')[1]}": page for page, place in ENV_PAGES.items()}
    if what == "class" and name in pages:
        lines[:] = [f"Spaces, rewards, episodes and arguments: :doc:`/reference/made/{pages[name]}`."]


def _as_written(
    app: Sphinx, what: str, name: str, obj: Any, options: object, signature: str | None, answer: str | None
) -> tuple[str, str | None] | None:
    """Show annotations as the source has them: short names, and no alias taken apart."""
    if what not in ("class", "exception", "function", "method"):
        return None
    if what == "class" and issubclass(obj, pydantic.BaseModel):
        return "(**fields)", None
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    parameters = list(found.parameters.values())
    if what == "method" and parameters and parameters[0].name == "self":
        found = found.replace(parameters=parameters[1:])
    back = found.return_annotation
    returned = back if isinstance(back, str) and what != "class" else None
    return stringify_signature(found, show_return_annotation=False), returned


def _no_guesses(app: Sphinx, doctree: document) -> None:
    """Take links off attribute names of docstrings, and let types name one object or none."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and node.attributes.pop("refspecific", False) and node["reftype"] == "obj":
            node.replace_self(node.children)


def _by_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: Element) -> Element | None:
    """Resolve a name as docstrings write it: another project's, or one that a single documented object has."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    if (address := address_of(target)) is not None:
        return reference("", "", shown, internal=False, refuri=address)
    places = {
        (found.docname, found.node_id)
        for full, found in env.domains["py"].data["objects"].items()
        if full.endswith(f".{target}") and ("." in target or found.objtype in LINKED)
    }
    if len(places) != 1:
        return None
    ((page, anchor),) = places
    return make_refnode(app.builder, node["refdoc"], page, anchor, shown, target)


def setup(app: Sphinx) -> None:
    """Add what no extension does."""
    app.connect("autodoc-process-docstring", _without_page)
    app.connect("autodoc-process-signature", _as_written)
    app.connect("doctree-read", _no_guesses)
    app.connect("missing-reference", _by_short_name)


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


MADE = Path(__file__).parent / "reference" / "made"
_write_env_pages(MADE)
write_gallery(MADE / "scenarios")
_write_schema_page(MADE / "schema.md")
_pages = api_pages()
for _page, _text in _pages.items():
    write_changed(MADE / "api" / _page, _text)
for _old in set((MADE / "api").iterdir()) - {MADE / "api" / _page for _page in _pages}:
    _old.unlink()
for _project in ADDRESSES:
    (MADE / f"{_project}.inv").write_bytes(inventory(_project))
intersphinx_mapping = {name: (where, str(MADE / f"{name}.inv")) for name, where in ADDRESSES.items()}
