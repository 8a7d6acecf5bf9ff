"""What pyproject.toml cannot say: PyPI's page is the README with links that lead to the repository.

In the README they lead to files beside it, so that a checkout and the site need no network.
"""

import re
from pathlib import Path

from setuptools import setup

REPOSITORY = "https://github.com/phosphene/phosphene/blob/main/"
PICTURES = "https://raw.githubusercontent.com/phosphene/phosphene/main/"

text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
text = re.sub(r'src="(?!https?:)', f'src="{PICTURES}', text)
text = re.sub(r"\]\((?!https?:|#)", f"]({REPOSITORY}", text)
setup(long_description=text, long_description_content_type="text/markdown")
