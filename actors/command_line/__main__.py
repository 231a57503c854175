"""`python -m actors.command_line` is `orderwire`: how a supervisor starts the processes of a deployment."""

import sys

from actors.command_line import main

sys.exit(main())
