"""`python -m hamgr.commands`: `hamgrd` without its script."""

from hamgr.commands import main

if __name__ == "__main__":
    main()
