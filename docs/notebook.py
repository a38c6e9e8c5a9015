"""docs/tutorial.ipynb from docs/tutorial.md: one source, two forms.

python -m docs.notebook        # in the development environment
"""

from pathlib import Path

import jupytext
import nbformat

SOURCE, NOTEBOOK = Path("docs/tutorial.md"), Path("docs/tutorial.ipynb")
START = "%cd .."  # the commands are written for the project's folder


def notebook():
    """The tutorial's text and its ``bash`` blocks, as cells that run; what is ``console`` stays text."""
    made = jupytext.reads(SOURCE.read_text(encoding="utf-8"), fmt="md")
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.source = f"%%bash -e\n{cell.source}"
            cell.metadata = {}
    made.cells.insert(1, nbformat.v4.new_code_cell(START))
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"  # else they are drawn at random
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return made


if __name__ == "__main__":
    nbformat.write(notebook(), NOTEBOOK)
    print(f"{NOTEBOOK} is written")
