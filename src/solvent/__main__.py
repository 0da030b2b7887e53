"""`python -m solvent` is `solvent`."""

from solvent.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
