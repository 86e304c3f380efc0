"""Reading a notebook's file, for the other tools."""

from pathlib import Path

import nbformat

from laseg_lib.errors import LasegError


def read_notebook(path):
    """The notebook at ``path``, in nbformat 4.  LasegError for what is no file, or no notebook."""
    path = Path(path)
    if not path.is_file():  # a pipe would wait for ever
        raise LasegError(f"{path}: no such notebook")
    try:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.cell_type, cell.source, cell.metadata  # noqa: B018
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count  # noqa: B018
    except OSError:
        raise
    except Exception as error:  # nbformat raises another kind for every way that a file can be no notebook
        raise LasegError(f"{path}: not a notebook ({type(error).__name__}); get it from where it came") from error
    return notebook
