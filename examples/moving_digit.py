"""Write the moving digit of the README: a GIF, or a page with a player where the name says .html.

    python examples/moving_digit.py docs/_static/moving_digit.gif

Needs the extra ``demo``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shiftcheck.demo.film import write_gif, write_page
from shiftcheck.demo.moving_digit import moving_digit


def main() -> None:
    """Read the arguments, and write the film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the file to write, .gif or .html")
    parser.add_argument("--digit", type=int, default=3, help="which of the fifty shipped digits")
    options = parser.parse_args()
    film = moving_digit(options.digit)
    write = write_page if options.out.suffix == ".html" else write_gif
    write(film, options.out)
    for track in film.tracks:
        errors = {s: track.error(i) for i, s in enumerate(film.shifts)}
        even = max(e for (m, n), e in errors.items() if m % 2 == n % 2 == 0)
        odd = max(e for (m, n), e in errors.items() if m % 2 or n % 2)
        print(f"{track.title}: off by at most {even:.0%} at even shifts, {odd:.0%} at odd ones")


if __name__ == "__main__":
    main()
