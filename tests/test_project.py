"""The repository itself: dependencies that agree, imports that run one way, notebooks as they should be stored."""

import ast
import importlib
import io
import re
import shlex
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import numpy as np
import pytest
import readme_results
import run_notebooks
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parent.parent
LIBRARY = sorted((REPO / "laseg_lib").rglob("*.py"))
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {"pytorch": "torch"}

# The ideas stand on nothing but each other; the folders build on them, one way.
IDEAS = {"classes", "errors", "losses", "ramps", "ema", "sampler", "transforms", "vnet", "config", "perturbations",
         "metrics"}
PROGRAMS = {"mean_teacher", "batches", "inference", "training", "evaluate", "predict"}
FOLDERS = ("methods", "weights", "data", "runtime", "records", "figures", "course")
# What a layer may import: {layer: layers}; a module of its own name is that module alone.
MAY_IMPORT = {
    "ideas": {"ideas", "runtime.randomness", "runtime.compat"},  # two leaves: they import nothing but errors
    "runtime": {"ideas", "runtime"},
    "data": {"ideas", "runtime", "data"},
    "methods": {"ideas", "runtime", "data", "mean_teacher", "inference", "methods"},
    "weights": set(),
    "programs": {"ideas", "runtime", "data", "methods", "programs"},
    "records": {"ideas", "runtime", "data", "methods", "programs", "records"},
    "figures": {"ideas", "data", "records.plans", "records.statistics", "records.read", "figures"},
    "course": {"ideas", "runtime", "data", "programs", "records", "figures", "course"},
    "command line": {"ideas", "runtime", "data", "programs", "command line"},
}
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


def lines_of_code(text):
    """How many lines hold code: docstrings (a setting's too), comments and blank lines don't count."""
    said = {line for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for line in range(node.lineno, node.end_lineno + 1)}
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    held = {line for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in silent
            for line in range(token.start[0], token.end[0] + 1)}
    return len(held - said)


def test_lines_are_counted_right():
    text = '"""A\nB."""\n# c\n\nx = """a\n# b\nc"""  # d\n\n\ndef f():\n    "Doc."\n    return (1,\n2)\n'
    assert lines_of_code(text) == 6


def test_the_core_can_be_read_in_an_evening():
    core = {path.name: lines_of_code(path.read_text(encoding="utf-8")) for path in (REPO / "laseg_lib").glob("*.py")}
    assert sum(core.values()) <= 1700, core


def test_every_file_that_is_no_code_comes_with_the_package():
    packed = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    found = {path for package, patterns in packed.items() for pattern in patterns
             for path in (REPO / package.replace(".", "/")).glob(pattern)}
    files = {path for path in (REPO / "laseg_lib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert len(files) > 5 and not files - found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_in_a_sentence_what_it_is_for(folder):
    said = ast.get_docstring(ast.parse((REPO / "laseg_lib" / folder / "__init__.py").read_text(encoding="utf-8")))
    assert re.match(r"[A-Z][^.\n]+\.(\n\n|$)", said or "")  # the methods' goes on: what a method is


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


GRAPH = {module_name(path): imports(path, ".".join(path.relative_to(REPO).parent.parts)) for path in LIBRARY}


def layer(module):
    """Where a module stands: a key of MAY_IMPORT."""
    if module in IDEAS:
        return "ideas"
    if module in PROGRAMS:
        return "programs"
    folder = module.split(".")[0]
    return folder if folder in FOLDERS else "command line"


def test_every_module_has_its_layer():
    assert {name for name in GRAPH if layer(name) == "command line"} == {"__init__", "__main__", "cli"}
    assert IDEAS | PROGRAMS <= set(GRAPH) and {layer(name) for name in GRAPH} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", GRAPH)
def test_imports_run_one_way(module):
    near, _ = GRAPH[module]
    allowed = MAY_IMPORT[layer(module)]
    assert not [name for name in near if layer(name) not in allowed and name not in allowed]
    assert module not in reached(module, GRAPH), "imports in a circle"


def test_a_drawn_curve_does_not_load_the_trainer():
    script = "import sys, laseg_lib.figures.plots; print(*sorted(n for n in sys.modules if n.startswith('laseg_lib.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=True)
    assert "laseg_lib.figures.plots" in done.stdout.split()
    assert not {"laseg_lib.training", "laseg_lib.records.make"} & set(done.stdout.split())


@pytest.mark.parametrize("module", [name for name in GRAPH if layer(name) not in ("figures", "course")])
def test_only_figures_and_course_show_anything(module):
    assert not GRAPH[module][1] & SHOWS


IMPORTED_AS = {"simpleitk": "SimpleITK", "pynrrd": "nrrd"}
BROUGHT = {"urllib3"}  # by requests


@pytest.mark.parametrize("module", [name for name in GRAPH if layer(name) not in ("figures", "course")])
def test_the_library_imports_what_it_depends_on_alone(module):
    """No package of the course's or the tests', medpy least of all; tables of records are pandas', and one record takes
    nnU-Net's own transforms."""
    own = {IMPORTED_AS.get(name, name) for name in requirements(pyproject()["dependencies"])}
    assert "medpy" not in own, "GPL"
    more = {"pandas", "batchgeneratorsv2"} if layer(module) == "records" else set()
    assert GRAPH[module][1] <= own | more | BROUGHT | set(sys.stdlib_module_names)


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
    heavy = "matplotlib IPython ipywidgets monai medpy skimage plotly requests SimpleITK pandas tensorboard".split()
    script = f"import sys, laseg_lib; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.split() == []


def test_help_explains_every_setting():
    """In sentences of their own, which are those that `laseg train --help` prints."""
    from dataclasses import fields

    from laseg_lib.cli import parser
    from laseg_lib.config import TrainConfig, explanations

    said = explanations()
    assert set(said) == {field.name for field in fields(TrainConfig)} and len(set(said.values())) == len(said)
    assert min(map(len, said.values())) > 12
    shown = {action.dest: action.help for action in parser()._subparsers._group_actions[0].choices["train"]._actions}
    assert not [name for name, words in said.items() if words not in (shown[name] or "")]


def test_every_notebook_has_its_file_in_course():
    files = {path.stem.removeprefix("nb") for path in (REPO / "laseg_lib" / "course").glob("nb*.py")}
    assert files == {path.stem for path in NOTEBOOKS} and all(re.match(r"\d\d_\w+$", name) for name in files)


def helpers_of(cells):
    """(functions of a notebook's that are imported from laseg_lib.course, drawings and checks aside; those of them
    whose code is on the page: shown by source(), or defined there).  ``cells``: their code.  As "module.name"."""
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell))]
    pages, names = {}, {}  # what a module, and what a function of one, is called on the page
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("laseg_lib.course"):
            for alias in node.names:
                known = names if node.module.startswith("laseg_lib.course.nb") else pages
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}".removeprefix("laseg_lib.course.")
    pages = {name: module for name, module in pages.items() if module.startswith("nb")}

    def called(node):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in pages:
            return f"{pages[node.value.id]}.{node.attr}"
        return names.get(node.id) if isinstance(node, ast.Name) else None

    shown = {called(argument) for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
             and node.func.id == "source" for argument in node.args} - {None}
    used = {name for name in map(called, nodes) if name and is_helper(*name.split("."))}
    written = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return used, {name for name in used if name in shown or name.split(".")[1] in written}


def is_helper(module, name):
    """Whether it is a function or class of the course's own that measures or trains: no drawing, no exercise."""
    if name.startswith(("draw_", "check_")):
        return False
    found = getattr(importlib.import_module(f"laseg_lib.course.{module}"), name)
    return callable(found) and found.__module__ == f"laseg_lib.course.{module}"


def test_what_a_page_is_about_is_on_the_page():
    """Nine in ten of the functions that notebooks have from laseg_lib.course, drawings and checks aside."""
    found = {path.stem: helpers_of([cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"])
             for path in NOTEBOOKS}
    used, shown = (sum(len(pair[which]) for pair in found.values()) for which in (0, 1))
    hidden = {name: sorted(pair[0] - pair[1]) for name, pair in found.items() if pair[0] - pair[1]}
    assert shown >= 0.9 * used, f"{shown} of {used} shown; not these: {hidden}"


def test_helpers_are_counted_right():
    first = ("from laseg_lib.course import source\nfrom laseg_lib.course import nb03_vnet as page\n"
             "from laseg_lib.course.nb03_vnet import check_padded_size, padded_size\npage.receptive_field([])")
    assert helpers_of([first]) == ({"nb03_vnet.receptive_field"}, set())
    assert helpers_of([first, "source(page.receptive_field)"])[1] == {"nb03_vnet.receptive_field"}
    assert helpers_of([first, "page.draw_seen(), check_padded_size(1), padded_size"])[0] == {
        "nb03_vnet.receptive_field", "nb03_vnet.padded_size"}
    assert helpers_of([first, "def receptive_field():\n    pass"])[1] == {"nb03_vnet.receptive_field"}


def read_notebook(path):
    import nbformat

    return nbformat.read(path, as_version=4)


def markdown_files():
    skip = {".venv", "build", "node_modules", "learn"}
    return [p for p in sorted(REPO.rglob("*.md")) if not skip & set(p.relative_to(REPO).parts)]


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", markdown_files() + NOTEBOOKS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.sub(r"```.*?```", "", prose(path), flags=re.S))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [link for link in local if not (path.parent / link.replace("%20", " ")).exists()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stored_as_it_should_be(path):
    assert run_notebooks.problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_page_leads_on_at_its_top_and_its_end(path):
    link = r"\[(← )?\d\d · [^]]+?( →)?\]\(\d\d_\w+\.ipynb\)"
    cells = read_notebook(path).cells
    top, end = cells[0].source.splitlines()[0], cells[-1].source.splitlines()[-1]
    assert re.fullmatch(rf"({link} · )?({link} · )?\[glossary\]\(GLOSSARY\.md\)", top) and top == end


# These two still have their words for pictures in the cells.
ELSEWHERE = ("09_", "11_")
OWN = [path for path in NOTEBOOKS if not path.name.startswith(ELSEWHERE)]


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.stem)
def test_no_answer_stands_before_its_question(path):
    """Words for a picture that nobody has seen yet are beside the drawing, not in the cell; answers are folded."""
    for cell in read_notebook(path).cells:
        if cell.cell_type == "code" and run_notebooks.HIDE_TAG not in cell.metadata.get("tags", []):
            assert not re.search(r"alt=\s*f?[\"']", cell.source), cell.source
        if cell.cell_type == "markdown" and "What you should see" in cell.source and not path.name.startswith("00_"):
            assert "<summary>What you should see</summary>" in cell.source


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.stem)
def test_every_exercise_says_where_its_answer_is(path):
    cells = read_notebook(path).cells
    for cell, after in zip(cells, cells[1:]):
        if re.search(r"^check_\w+\(my_", cell.source, re.M):
            assert re.match(r"\(Ours: `source\([\w.]+\)`", after.source)


def test_traps_are_called_by_the_numbers_of_the_glossarys_list():
    listed = re.findall(r"^\| (\d+) \|", (REPO / "notebooks" / "GLOSSARY.md").read_text(encoding="utf-8"), re.M)
    assert listed == [str(number) for number in range(1, len(listed) + 1)]
    called = {number for path in NOTEBOOKS for number in re.findall(r"[Tt]rap (\d+)", prose(path))}
    assert called and called <= set(listed)


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


def test_a_line_of_progress_leaves_nothing():
    from nbformat.v4 import new_code_cell, new_notebook, new_output
    views = [new_output("display_data", {run_notebooks.WIDGET_VIEW: {"model_id": "1"}} | more)
             for more in ({}, {"text/plain": "a still"})]
    kept = run_notebooks.tidy(new_notebook(cells=[new_code_cell("1", outputs=views)])).cells[0].outputs
    assert [output.data for output in kept] == [{"text/plain": "a still"}]


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
    taught = re.compile(r"^(def |class |source\(|check_\w+\(my_)", re.M)
    cells = [cell for path in NOTEBOOKS for cell in read_notebook(path).cells
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


def said(path):
    return " ".join((REPO / path).read_text(encoding="utf-8").split())


def test_what_came_out_is_short_and_from_the_records():
    """The README's paragraph and the guide's answers: each number recomputed, at most 90 words."""
    from readme_results import compared

    from laseg_lib.records import statistics as compare
    from laseg_lib.records.read import load_metrics, published_points

    readme, guide = said("README.md"), said("notebooks/INSTRUCTOR.md")
    came_out = re.search(r"\*\*What came out\.\*\*(.*?)!\[", readme)[1]
    assert len(came_out.split()) <= 90
    table = load_metrics("labels")
    rows, clean = (dict(compared("labels", largest)) for largest in (False, True))
    (two, four, *many), (clean_two, clean_four, *_) = (some["the worth of a scan"] for some in (rows, clean))
    rivals = [row for row in rows["rivals, the first four trainings"] if "strong − self-training" in row.name]
    more, = compare.differences(table, [("x", *(compare.teacher("labels_only", count) for count in (4, 2)))])
    assert f"78 scans without outlines add {100 * two.mean:.1f} points" in came_out
    assert abs(more.mean - two.mean) < 0.005
    assert f"76 scans add {100 * four.mean:.1f} ± {100 * four.half:.1f}, not clear by fold" in came_out
    assert compare.over_folds(four).verdict == compare.UNCLEAR
    assert f"the two gains to {100 * clean_two.mean:.1f} and {100 * clean_four.mean:.1f} points" in came_out
    assert {row.verdict for row in many + rivals} == {compare.UNCLEAR}
    methods = compared("methods")
    assert sum(row.verdict == "above zero" for row in methods[0][1]) == 5 and len(methods[0][1]) == 6
    assert {row.verdict for _, rows in methods[2:] for row in rows} == {compare.UNCLEAR}
    assert "Five of six methods help there; none is clearly better than self-training" in came_out
    assert f"{two.mean:.3f} Dice at two labels, {four.mean:.3f} at four" in guide
    assert f"Two more outlines give {more.mean:.3f}" in guide

    table = load_metrics("public")
    alone, strong = (100 * np.array(list(compare.per_seed(table, compare.teacher(arm, 8, "long")).values()))
                     for arm in ("labels_only", "strong"))
    papers = [dice for labels, dice in published_points() if labels == 8]
    assert f"reach {alone.mean():.1f} % alone, {strong.mean():.1f} % with 72 scans" in came_out
    assert f"papers report {min(papers):.1f} to {max(papers):.1f} %" in came_out
    table_full = load_metrics("full")
    full = [100 * compare.per_seed(table_full, compare.teacher(arm, 8))[1337] for arm in ("labels_only", "strong")]
    assert f"full size, one training each: {full[0]:.1f} and {full[1]:.1f} %" in came_out
    assert f"{strong.mean():.1f} % with 8 labels" in guide and f"{alone.mean():.1f} % with no unlabelled scan" in guide
    assert f"leave it at ± {compare.interval95(alone):.1f}" in guide
    first = 100 * compare.per_seed(table, compare.teacher("strong", 8, "long"))[1337]
    assert f"The {strong.mean():.1f} % above is the mean of three trainings" in readme
    assert f"the first ended at {first:.1f} %" in readme


RECORD_PAGES = [path for path in NOTEBOOKS if path.name[:2] in ("09", "11", "12")]


@pytest.mark.parametrize("path", RECORD_PAGES, ids=lambda path: path.stem)
def test_numbers_of_the_prose_stand_in_an_output(path):
    """Three decimals, which only records give: outputs are recomputed with every `make test`, prose isn't."""
    cells = read_notebook(path).cells
    shown = " ".join(str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
                     for cell in cells if cell.cell_type == "code" for output in cell.outputs)
    texts = [re.sub(r"\$.*?\$", "", cell.source) for cell in cells if cell.cell_type == "markdown"]
    missing = [number for text in texts for number in re.findall(r"0\.\d{3}(?!\d)", text) if number not in shown]
    assert not missing


def test_the_readmes_command_is_the_training_it_claims_to_be():
    """`laseg train` of the 90.3 %: every setting that changes a number is the recorded run's."""
    from laseg_lib import cli
    from laseg_lib.config import RECIPES, RETIRED, TrainConfig
    from laseg_lib.records.read import configs

    command = re.search(r"laseg train [^`]*?--snapshot_path model/public",
                        (REPO / "README.md").read_text(encoding="utf-8"))[0].replace("\\\n", " ")
    args = vars(cli.parser().parse_args(shlex.split(command)[1:]))
    config = TrainConfig(**{**RECIPES[args["recipe"]], **{name: args[name] for name in TrainConfig().to_dict()
                                                          if name in args}}).to_dict()
    told = configs("public")["strong_8_long_seed1337"]["config"]
    free = {"root_path", "snapshot_path", "train_list", "cache", "precision", "val_every", "exp"}
    told = {name: value for name, value in told.items() if name not in RETIRED}
    assert {name: (config[name], told[name]) for name in told if name not in free and config[name] != told[name]} == {}


@pytest.mark.parametrize("name", readme_results.BLOCKS)
def test_readme_results_are_those_of_the_records(name):
    text = (REPO / "data" / "recorded" / "README.md").read_text(encoding="utf-8")
    assert readme_results.block(name) in text, "run `python tools/readme_results.py`"
