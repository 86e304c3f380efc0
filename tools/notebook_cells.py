"""For the other tools: reading a notebook, its exercises, what their code needs, and the notebook with our answers."""

import ast
import copy
import importlib.util
import inspect
import re
import symtable
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from laseg_lib.errors import LasegError

PYTHON_MAGIC = re.compile(r"\A\s*%%(time|timeit|capture|prun)\b.*\n")  # what follows is Python all the same
CHECKED = re.compile(r"^(check_\w+)\((\w+)\)", re.M)  # check_dice(my_dice), as a line of its own


STAR = re.compile(r"from [\w.]+ import \*")


def read_notebook(path):
    """The notebook at ``path``, in nbformat 4.  LasegError for what is no file, or no notebook."""
    path = Path(path)
    if not path.is_file():  # a pipe would wait for ever
        raise LasegError(f"{path}: no such notebook")
    try:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.cell_type, cell.source, cell.metadata  # noqa: B018
            if cell.cell_type == "code":  # scripts that clear them leave them out
                cell.outputs, cell.execution_count = cell.get("outputs", []), cell.get("execution_count")
    except OSError:
        raise
    except Exception as error:  # nbformat raises another kind of error for each defect
        raise LasegError(f"{path}: not a notebook ({type(error).__name__}); get it from where it came") from error
    return notebook


def code_of(notebook):
    """The sources of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def attempts(notebook):
    """{check: name of the function that is given to it}; of two calls the last counts."""
    return {check: name for source in code_of(notebook) for check, name in CHECKED.findall(source)}


def statements(source):
    """[(names bound, names read, code)] of a cell's top level.  A cell that Python can't read raises SyntaxError."""
    nodes = ast.parse(TransformerManager().transform_cell(PYTHON_MAGIC.sub("", source))).body
    return [(*names_of(ast.unparse(node)), ast.unparse(node)) for node in nodes]


def names_of(code):
    """(names that a statement binds, names that it reads from outside of itself)."""
    top = symtable.symtable(code, "cell", "exec")
    binds = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    reads, tables = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}, top.get_children()
    while tables:
        table = tables.pop()
        reads |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        tables += table.get_children()
    return binds, reads


def needed_by(name, sources):
    """The statements of ``sources`` (cells) that make ``name``, and all that these read, in their order.

    A statement that changes a value without binding its name (``names.append(1)``) is not found.  Cells that Python
    can't read are left out; SyntaxError if ``name`` stands in one of them and is made nowhere else.
    """
    lines, broken = [], None
    for source in sources:
        try:
            lines += statements(source)
        except (SyntaxError, ValueError) as error:  # ValueError: a null byte
            broken = error if re.search(rf"\b{name}\b", source) else broken
    if broken and not any(name in binds for binds, _, _ in lines):
        raise SyntaxError(str(broken))
    wanted = {name}
    while more := {read for binds, reads, _ in lines if binds & wanted for read in reads} - wanted:
        wanted |= more
    return [code for binds, _, code in lines if binds & wanted or STAR.match(code)]


def up_to(check, sources):
    """``sources`` up to the last one that calls ``check``, because further down names are bound anew; all of them if
    none calls it."""
    calls = [k for k, source in enumerate(sources) if re.search(rf"^{check}\(", source, re.M)]
    return sources[:calls[-1] + 1] if calls else sources


def module_of(path):
    """notebooks/05_ema_teacher.ipynb → laseg_lib.course.nb05_ema_teacher, with the notebook's checks; LasegError for a
    notebook that is none of the course's."""
    name = f"laseg_lib.course.nb{path.stem}"
    if not f"nb{path.stem}".isidentifier() or importlib.util.find_spec(name) is None:
        raise LasegError(f"{path}: no notebook of the course is called so; give one of notebooks/, or its copy")
    return importlib.import_module(name)


def solved(notebook, module):
    """A copy of ``notebook`` whose exercises have the reference's code in place of the stub."""
    notebook = copy.deepcopy(notebook)
    bound = set()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for check, name in CHECKED.findall(cell.source):
            cell.source = with_answer(cell.source, name, getattr(module, check).reference, bound)
        bound |= set().union(*(binds for binds, _, _ in statements(cell.source)))
    return notebook


def with_answer(source, name, reference, bound):
    """A cell in which the function ``name`` is ``reference``; what it uses and is not ``bound`` yet is imported."""
    code = re.sub(rf"^def {reference.__name__}\(", f"def {name}(", inspect.getsource(reference))
    stub = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    uses = inspect.getclosurevars(reference).globals
    imports = [import_of(used, value, reference.__module__) for used, value in uses.items() if used not in bound]
    lines = source.split("\n")
    answer = [*imports, *([""] * 2 if imports else []), *code.rstrip().split("\n")]
    return "\n".join([*lines[:stub.lineno - 1], *answer, *lines[stub.end_lineno:]])


def import_of(name, value, module):
    """The line that brings ``name``, which the module at ``module`` has as ``value``."""
    if not inspect.ismodule(value):
        return f"from {module} import {name}"
    parent, _, last = value.__name__.rpartition(".")
    if last == name and parent:
        return f"from {parent} import {name}"
    return f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
