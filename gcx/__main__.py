"""`gcx` and `python -P -m gcx`: an interrupt while Python still imports ends the process without a traceback."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from gcx.cli.app import main

if __name__ == "__main__":
    main()
