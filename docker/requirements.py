"""Print what pyproject.toml in this directory asks for, with the extras named: `python requirements.py EXTRA...`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
print("\n".join(sorted(sum(extras, project["dependencies"]))))
