"""Whether tests do more of what they draw at random, or multiply: `make verify-all` asks for that."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("THOROUGH") == "1"
