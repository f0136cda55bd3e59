"""``python -m facexfer``: the ``facexfer`` command, for a process that another one starts."""

from facexfer.cli import main

if __name__ == "__main__":
    main()
