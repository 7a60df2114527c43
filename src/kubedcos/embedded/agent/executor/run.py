"""Entry of the executor process: `python -I -S run.py LAUNCH_FILE LISTENING_FD`.

Started by its path, without the site's packages, so that it is small and starts at once.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from kubedcos.embedded.agent.executor.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
