"""The modules of the model server, imported as they are where they run: beside each other."""

from __future__ import annotations

import sys
from pathlib import Path

from arena_install import model_server

sys.path.append(str(Path(model_server.__file__).parent))
