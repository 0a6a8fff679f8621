"""A retailer's export, in whichever form people have it, turned into the canonical tables of a log."""

from __future__ import annotations

from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.importing import Imported, import_log, planned
from malles_env.data.exports.template import write_template
from malles_env.data.exports.writing import write_import

__all__ = ["ImportChoices", "Imported", "import_log", "planned", "write_import", "write_template"]
