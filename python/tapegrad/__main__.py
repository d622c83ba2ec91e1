"""python -m tapegrad: the command line."""

from .cli import main

raise SystemExit(main())
