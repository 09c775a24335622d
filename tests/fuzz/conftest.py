"""Makes the worlds of the attack tests importable here, as driver.py does for itself."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "attack"))
