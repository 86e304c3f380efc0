"""The repository itself: dependencies that agree, imports that run one way, notebooks as they should be stored."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import run_notebooks
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parent.parent
LIBRARY = sorted((REPO / "laseg_lib").rglob("*.py"))
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {"pytorch": "torch"}

# The ideas stand on nothing but each other; folders build on them, one way.
IDEAS = {"errors", "losses", "ramps", "ema", "sampler", "transforms", "vnet", "config", "perturbations",
         "mean_teacher", "metrics"}
PROGRAMS = {"inference", "training", "evaluate"}
REACH = {"runtime": {"runtime"}, "data": {"runtime", "data"}, "records": {"runtime", "data", "records"},
         "figures": {"runtime", "data", "records", "figures"}}  # folders that a folder may come to
SHOWS = {"IPython", "ipywidgets", "ipykernel", "jupyterlab", "matplotlib", "plotly"}


def pyproject():
    return tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(lines):
    """{name: set of version ranges} of requirement lines."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): {str(s) for s in r.specifier} for r in parsed}


def declared():
    project = pyproject()
    return requirements(project["dependencies"] + sum(project["optional-dependencies"].values(), []))


def test_conda_and_pip_ask_for_the_same():
    conda, pip = [], []
    for entry in yaml.safe_load((REPO / "environment.yml").read_text(encoding="utf-8"))["dependencies"]:
        if isinstance(entry, dict):
            pip += entry["pip"]
        else:
            conda.append(entry)
    assert "-e ." in pip and "pip" in conda
    assert f"python{pyproject()['requires-python']}" in conda
    both = requirements([e for e in conda if not re.match(r"(python\b|pip$)", e)] + [e for e in pip if e != "-e ."])
    assert {CONDA_NAMES.get(name, name): ranges for name, ranges in both.items()} == declared()


def test_constraints_pin_every_dependency_within_its_range():
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, version in
            (line.split("==") for line in lines if line and not line.startswith("#"))}
    for line in pyproject()["dependencies"] + sum(pyproject()["optional-dependencies"].values(), []):
        wanted = Requirement(line)
        assert canonicalize_name(wanted.name) in pins, f"constraints.txt doesn't pin {wanted.name}"
        pin = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(pin), f"constraints.txt has {wanted.name} {pin}, pyproject.toml {wanted}"
    assert not [name for name in pins if name.startswith("nvidia-") or name == "triton"]


def test_readme_gives_a_reason_for_every_dependency():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    why = readme.split("## Why each dependency", 1)[1].split("\n## ", 1)[0].lower()
    assert not [name for name in declared() if name not in why]


def lines_of_code(path):
    """Lines that hold code: no docstrings, comments or blank lines."""
    text = path.read_text(encoding="utf-8")
    strings = {line for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)
               and isinstance(node.value, ast.Constant) for line in range(node.lineno, node.end_lineno + 1)}
    return sum(bool(line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)
               if number not in strings)


def test_the_core_can_be_read_in_an_evening():
    assert sum(map(lines_of_code, (REPO / "laseg_lib").glob("*.py"))) <= 1700


@pytest.mark.parametrize("folder", ["data", "runtime", "records", "figures", "course"])
def test_every_folder_says_what_it_is_for(folder):
    said = ast.get_docstring(ast.parse((REPO / "laseg_lib" / folder / "__init__.py").read_text(encoding="utf-8")))
    assert said and said.endswith(".")


def module_name(path):
    """'losses', 'course' (a package) or 'course.exercises' for a file of the library."""
    return ".".join(path.relative_to(REPO / "laseg_lib").with_suffix("").parts).removesuffix(".__init__")


def imports(path, package="laseg_lib"):
    """(modules of laseg_lib, other top-level packages) that the file of `package` imports, in functions too."""
    near, far = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for top, _, rest in (name.partition(".") for name in names):
            (near if top == "laseg_lib" else far).add(rest if top == "laseg_lib" else top)
    known = {module_name(p) for p in LIBRARY}
    return {name if name in known else name.rpartition(".")[0] for name in near} & known, far


def reached(module, graph):
    """Every module that importing `module` can come to, by any number of steps."""
    seen, queue = set(), [module]
    while queue:
        queue += (new := graph[queue.pop()][0] - seen)
        seen |= new
    return seen


GRAPH = {module_name(path): imports(path, ".".join(path.relative_to(REPO).parent.parts)) for path in LIBRARY
         if module_name(path) != "__init__"}


@pytest.mark.parametrize("module", GRAPH)
def test_imports_run_one_way(module):
    reach = reached(module, GRAPH)
    assert module not in reach, "imports in a circle"
    folder = module.split(".")[0] if "." in module else None
    folders = {name.split(".")[0] for name in reach if "." in name or name == "course"}
    if module in IDEAS:
        assert reach <= IDEAS
    elif module in PROGRAMS:
        assert folders <= {"runtime", "data"}
    elif folder in REACH:
        assert folders <= REACH[folder]
        assert folder in ("records", "figures") or reach <= IDEAS | {n for n in reach if "." in n}
    if folder == "figures":
        assert not reach & {"records.make", "training"}, "to draw is not to train"


@pytest.mark.parametrize("module", GRAPH)
def test_only_figures_and_course_show_anything(module):
    if module.split(".")[0] not in ("figures", "course"):
        assert not GRAPH[module][1] & SHOWS


def test_the_graph_of_imports_is_read_right(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from . import losses, ramps\nfrom .vnet import VNet\nimport laseg_lib.ema\n"
                    "def later():\n    from laseg_lib.metrics import case_metrics\n    import IPython.display\n")
    assert imports(path) == ({"losses", "ramps", "vnet", "ema", "metrics"}, {"IPython"})
    path.write_text("from .. import losses\nfrom ..vnet import VNet\nfrom . import course_data\n"
                    "from .exercise import Exercise\n")
    assert imports(path, "laseg_lib.course") == ({"losses", "vnet", "course", "course.exercise"}, set())
    assert reached("a", {"a": ({"b"}, set()), "b": ({"c"}, set()), "c": ({"a"}, set())}) == {"a", "b", "c"}


def test_importing_the_library_imports_nothing_heavy():
    heavy = "matplotlib IPython ipywidgets monai medpy skimage plotly pooch nrrd pandas tensorboard".split()
    script = f"import sys, laseg_lib; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.split() == []


def markdown_files():
    skip = {".venv", "build", "node_modules"}
    return [p for p in sorted(REPO.rglob("*.md")) if not skip & set(p.relative_to(REPO).parts)]


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    import nbformat
    return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")


@pytest.mark.parametrize("path", markdown_files() + NOTEBOOKS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.sub(r"```.*?```", "", prose(path), flags=re.S))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [link for link in local if not (path.parent / link.replace("%20", " ")).exists()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stored_as_it_should_be(path):
    assert run_notebooks.problems(path) == []


def test_strict_comparison_is_the_rule():
    counts = [run_notebooks.census(path) for path in NOTEBOOKS]
    code, exempt = (sum(count[key] for count in counts) for key in ("code", "exempt"))
    assert exempt <= code / 4, f"{exempt} of {code} code cells are exempt from comparison"


def small_notebook(path, source="print(1)", **metadata):
    import nbformat
    cell = nbformat.v4.new_code_cell(source)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), path)
    return path


def test_run_notebooks_stores_outputs_without_what_changes(tmp_path):
    source = "import ipywidgets\nprint(6 * 7)\nipywidgets.IntSlider()"
    path = small_notebook(tmp_path / "a.ipynb", source, widgets={"state": {}})
    assert run_notebooks.execute(path) == [] == run_notebooks.problems(path)
    text = path.read_text(encoding="utf-8")
    assert "42\\n" in text
    assert "widget-view" not in text and '"widgets"' not in text and "iopub" not in text
    run_notebooks.execute(path)
    assert path.read_text(encoding="utf-8") == text


def test_a_cell_is_folded_by_its_tag_alone(tmp_path):
    import nbformat
    path = small_notebook(tmp_path / "a.ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata = {"tags": ["hide-input"]}
    nbformat.write(notebook, path)
    assert run_notebooks.execute(path) == [] == run_notebooks.problems(path)
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[0].metadata == {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    stored.cells[0].metadata["tags"] = []
    nbformat.write(stored, path)
    assert "folded" in run_notebooks.problems(path)[0]


def test_code_that_teaches_is_never_folded():
    import nbformat
    taught = re.compile(r"^(def |class |source\(|check_\w+\(my_)", re.M)
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells
             if "hide-input" in cell.metadata.get("tags", [])]
    assert cells and not [cell.source for cell in cells if taught.search(cell.source)]


def test_run_notebooks_leaves_a_failing_notebook_alone(tmp_path):
    path = small_notebook(tmp_path / "a.ipynb", "1 / 0")
    before = path.read_bytes()
    assert "ZeroDivisionError" in run_notebooks.execute(path)[0]
    assert path.read_bytes() == before
    assert run_notebooks.main([str(path)]) == 1


@pytest.mark.parametrize("source, word", [
    ("import sys; print('careful', file=sys.stderr)", "stderr"),
    ("print('/home' + '/ann/atlas')", "path of this machine"),
    ("print(1)\n" * 26, "26 lines"),
    ("open('left.txt', 'w').close(); print(1)", "left.txt"),
    ("x = 1", "no stored outputs"),
    ("print(('x' * 99 + chr(10)) * 11_000)", "MB"),
])
def test_run_notebooks_sees(source, word, tmp_path):
    path = small_notebook(tmp_path / "a.ipynb", source)
    assert word in " ".join(run_notebooks.execute(path) + run_notebooks.problems(path))


def test_readme_results_are_those_of_the_records():
    import readme_results

    text = (REPO / "README.md").read_text(encoding="utf-8")
    assert readme_results.table() in text, "run `python tools/readme_results.py`"
