"""`python -m kubedcos.embedded.agent`."""

import sys

from kubedcos.embedded.agent.main import main

if __name__ == "__main__":
    sys.exit(main())
