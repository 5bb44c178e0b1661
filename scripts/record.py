"""Runs commands in a pseudo terminal and draws their screens as one SVG.

usage: record.py OUTPUT COMMAND…

Each command is drawn as its screen at the end. If a command takes more than two seconds, the last of its longest screens
is drawn before that.
"""

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

COLUMNS, ROWS = 104, 60
# Colours that rich names differently than pyte.
COLOURS = {"default": None, "brown": "yellow", "brightbrown": "bright_yellow"}


def colour(name):
    if name in COLOURS:
        return COLOURS[name]
    if name.startswith("bright"):
        return "bright_" + name.removeprefix("bright")
    return name if name.isalpha() else "#" + name


def lines(screen):
    """Returns the lines of a screen with their styles, without empty lines at the end."""
    texts = []
    for row in range(ROWS):
        text = Text()
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            style = Style(color=colour(cell.fg), bold=cell.bold or None)
            text.append(cell.data, style)
        text.rstrip()
        texts.append(text)
    while texts and not texts[-1].plain:
        texts.pop()
    return texts


def record(command):
    """Runs a command and returns its screens as (seconds since its start, lines)."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("CI", None)
    started = time.monotonic()
    process = subprocess.Popen(
        command, shell=True, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    )
    os.close(terminal)
    screens, drawn = [], 0.0
    while True:
        ready, _, _ = select.select([controller], [], [], 0.1)
        try:
            read = os.read(controller, 65536) if ready else b""
        except OSError:
            break
        if ready and not read:
            break
        stream.feed(read)
        now = time.monotonic() - started
        if now - drawn > 0.5:
            screens.append((now, lines(screen)))
            drawn = now
    if process.wait() != 0:
        sys.exit(f"`{command}` failed:\n" + "\n".join(text.plain for text in lines(screen)))
    screens.append((time.monotonic() - started, lines(screen)))
    return screens


def without_spaces(run):
    """Removes spaces at the ends of a text, which some viewers ignore, and moves it instead."""
    space = "&#160;"
    left, y, length, attributes, text = run.groups()
    width = float(length) / (len(html.unescape(text)) or 1)
    start = text.rstrip("\n")
    shift = 0
    while start.startswith(space):
        start, shift = start.removeprefix(space), shift + 1
    while start.endswith(space):
        start = start.removesuffix(space)
    length = width * len(html.unescape(start))
    return f'x="{float(left) + shift * width:.1f}"{y} textLength="{length:.1f}"{attributes}>{start}'


def draw(output, commands):
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for command in commands:
            screens = record(command)
            duration, last = screens[-1]
            console.print(Text("$ ", "bright_black") + Text(command, "bold"))
            if duration > 2:
                seconds, longest = max(screens[:-1], key=lambda screen: (len(screen[1]), screen[0]))
                for line in longest:
                    console.print(line, no_wrap=True, overflow="crop")
                console.print(Text(f"\n… {duration - seconds:.0f} seconds later\n", "italic bright_black"))
            for line in last:
                console.print(line, no_wrap=True, overflow="crop")
            console.print()
    svg = console.export_svg(title="basegen", theme=SVG_EXPORT_THEME)
    # The fonts that rich links to are not loaded in pictures.
    while "@font-face" in svg:
        before, rest = svg.split("@font-face", 1)
        svg = before.rstrip() + rest.split("}", 1)[1]
    svg = svg.replace("Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace")
    svg = re.sub(r'x="([0-9.]+)"( y="[0-9.]+") textLength="([0-9.]+)"([^>]*)>([^<]*)', without_spaces, svg)
    svg = svg.replace("</text><text", "</text>\n<text")
    with open(output, "w", encoding="utf-8") as file:
        file.write("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2:])
