"""``python -m cortex`` is the command ``cortex``."""

from cortex.command.main import main

main()
