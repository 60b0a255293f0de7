"""`python -m fleet_live_queries`: the command `live`, where no script is installed."""

import sys

from fleet_live_queries.command.main import main

if __name__ == "__main__":
    sys.exit(main())
