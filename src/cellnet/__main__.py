"""``python -m cellnet`` is the command ``cellnet``."""

from cellnet.cli.app import main

if __name__ == "__main__":
    main()
