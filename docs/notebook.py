"""docs/tutorial.ipynb from docs/tutorial.md: one source, two forms.

    python -m docs.notebook          # in the development environment; keeps the outputs if no cell of code changed
    python -m docs.notebook --run    # executes it, stores the outputs, and says how long each cell took

``bash`` and ``python`` blocks become cells. ``bash long`` ones run only if the first cell says so; others stay text.
"""

import argparse
import re
from datetime import datetime
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SOURCE, NOTEBOOK = Path("docs/tutorial.md"), Path("docs/tutorial.ipynb")
BLOCK = re.compile(r"^```(bash long|bash|python)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)
SCRIPT = re.compile(r"python (\w+\.py)")
START = """\
import sys

sys.path[:0] = ["docs", "../docs"]  # wherever Jupyter was started
from tutorial_start import start  # noqa: E402

start(long=False)  # True: chapters 9 and 10 train, too
%matplotlib inline"""
SKIP = '[ "$LONG" ] || { echo "skipped, since it takes long; start(long=True) in the first cell runs it"; exit 0; }\n'


def notebook():
    """The tutorial's text and its blocks as cells. Scripts are named with their folder, since cells run elsewhere."""
    text, *rest = BLOCK.split(SOURCE.read_text(encoding="utf-8"))
    title, _, text = text.partition("\n## ")
    cells = [new_markdown_cell(title.strip()), new_code_cell(START), new_markdown_cell(f"## {text.strip()}")]
    for kind, block, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        if kind != "python":
            block = f"%%bash -e\n{SKIP if kind == 'bash long' else ''}" + SCRIPT.sub(r'python "$PROJECT/\1"', block)
        cells.append(new_code_cell(block.strip()))
        if text.strip():
            cells.append(new_markdown_cell(text.strip()))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else they are drawn at random
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def code_cells(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def with_outputs(made, earlier):
    """The notebook with the outputs of an earlier one, if no cell of code differs."""
    pairs = list(zip(code_cells(made), code_cells(earlier), strict=False))
    if all(cell.source == old.source for cell, old in pairs) and len(pairs) == len(code_cells(made)):
        for cell, old in pairs:
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return made


def executed(made, kernel: str = "python3"):
    """The notebook with the outputs of a run in a kernel."""
    from nbclient import NotebookClient

    NotebookClient(made, timeout=None, kernel_name=kernel, coalesce_streams=True).execute(cwd=str(NOTEBOOK.parent))
    for cell in code_cells(made):
        times = cell.metadata.pop("execution")
        start, end = (datetime.fromisoformat(times[f"iopub.{state}"]) for state in ("execute_input", "status.idle"))
        print(f"{(end - start).total_seconds():6.0f} s  {cell.source.removeprefix('%%bash -e').strip()[:90]!r}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", action="store_true", help="execute it, and store the outputs")
    parser.add_argument("--kernel", default="python3", help="name of the Jupyter kernel that executes it")
    flags = parser.parse_args()
    made = notebook()
    if flags.run:
        made = executed(made, flags.kernel)
    elif NOTEBOOK.exists():
        made = with_outputs(made, nbformat.read(NOTEBOOK, as_version=4))
    nbformat.write(made, NOTEBOOK)
    print(f"{NOTEBOOK} is written")


if __name__ == "__main__":
    main()
