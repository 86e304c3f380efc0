# The two commands are `make lab` and `make test`. Both set up .venv when it is missing.
#   PYTHON=python3.12   another interpreter (3.11 to 3.13)      PIP_ARGS=...   more for pip install
#   LAB_ARGS=...        more for JupyterLab                     PYTEST_ARGS=...   more for pytest
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
PY := .venv/bin/python
READY := .venv/.ready
# A .venv that was copied along with its checkout still imports the first one's code: it is set up anew.
$(shell test ! -s $(READY) || test "$$(cat $(READY))" = "$(CURDIR)" || rm -f $(READY))
NOTEBOOKS ?= $(sort $(wildcard notebooks/*.ipynb))
RECORD ?= quick
# How long PyTorch's threads wait for one another by spinning: see laseg_lib/__init__.py.
export GOMP_SPINCOUNT ?= 1000

.PHONY: help lab test notebooks solutions marks slides peaks together faults bench record handout links figures clean
help:
	@sed -n 's/^## //p' Makefile

$(READY): pyproject.toml constraints.txt
	@$(PY) -m pip --version >/dev/null 2>&1 || { test -n "$(PYTHON)" || { \
		echo "No Python 3.11, 3.12 or 3.13 with venv found. Install one, or name it: make PYTHON=/path/to/python" >&2; \
		exit 1; }; $(PYTHON) -m venv --clear .venv; }
	@echo "Setting up .venv: once, some minutes, with the network."
	$(PY) -m pip install --progress-bar on -c constraints.txt -e '.[course,test]' $(PIP_ARGS)
	@$(PY) -m jupyterlab.labextensions disable --level=sys_prefix @jupyterlab/apputils-extension:announcements
	@echo "$(CURDIR)" > $@

## lab        set up, then JupyterLab at your own copy of the notebooks, learn/: this machine only, with its token
lab: $(READY)
	@$(PY) tools/learners_copy.py
	$(PY) -m jupyterlab --ip=127.0.0.1 --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/learn/00_start_here.ipynb --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

## test       ruff, the tests, and every notebook executed and compared with its stored outputs
test: $(READY)
	$(PY) -m ruff check .
	OMP_NUM_THREADS=1 $(PY) -m pytest tests $(NOTEBOOKS) -n 2 --dist loadscope --max-worker-restart=0 --nbval --nbval-current-env \
		--nbval-cell-timeout=300 --nbval-sanitize-with tests/notebooks/sanitize.cfg $(PYTEST_ARGS)

## notebooks  execute the notebooks from nothing and store their outputs (NOTEBOOKS=... for some of them)
notebooks: $(READY)
	$(PY) tools/run_notebooks.py $(NOTEBOOKS)

## solutions  the answer key: the notebooks with our answers filled in, executed: build/solutions (NOTEBOOKS=...)
solutions: $(READY)
	$(PY) tools/solutions.py $(NOTEBOOKS)

## marks      mark a class: STUDENTS=folder, with a folder a student in it (NOTEBOOKS=...): build/marks.csv
marks: $(READY)
	@test -n "$(STUDENTS)" || { echo "Say whose notebooks: make marks STUDENTS=folder, a folder a student in it" >&2; exit 1; }
	$(PY) tools/marks.py "$(STUDENTS)" $(NOTEBOOKS) $(MARKS_ARGS)

## peaks      how much memory each notebook takes at most, on one core (NOTEBOOKS=... for some of them)
peaks: $(READY)
	$(PY) tools/notebook_load.py memory $(NOTEBOOKS)

## together   a notebook in eight kernels at once, as in a class: the same outputs in each?
together: $(READY)
	$(PY) tools/notebook_load.py together $(TOGETHER_ARGS)

## bench      the walkthrough's way and ours, side by side
bench: $(READY)
	$(PY) tools/bench.py $(BENCH_ARGS)

## record     the recorded runs: RECORD=quick, half, labels, public, full, levers, replication, trials; skips what is there
record: $(READY)
	$(PY) -m laseg_lib.records $(RECORD) $(RECORD_ARGS)

## handout    the course as a folder of HTML that needs no network: build/handout
handout: $(READY)
	$(PY) tools/handout.py $(HANDOUT_ARGS)

## links      ask every outside link of notebooks, READMEs, guide and glossary whether it still leads somewhere
links: $(READY)
	$(PY) tools/links.py $(LINKS_ARGS)

## faults     hostile files, lists, checkpoints and settings by the hundred, and a table of what became of them
faults: $(READY)
	OMP_NUM_THREADS=1 $(PY) tests/faults.py $(FAULTS_ARGS)

## slides     slides of 00, 01, 05, 07, 09 and 10 from their stored outputs, without a network: build/slides
slides: $(READY)
	$(PY) tools/slides.py $(SLIDES_ARGS)

## figures    the pictures of the two READMEs: figures/
figures: $(READY)
	$(PY) tools/figures.py

## clean      remove what make and Python left behind (.venv too; never data/ or learn/)
clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
