#!/control/.env/bin/python -I
"""Runs a server, and runs it again when its code changes.

usage: /control/serve [--watch DIR]... [OPTION]... -- COMMAND [ARGUMENT]...

The server has a process group of its own. A change ends it (SIGTERM, and SIGKILL after the grace period) and starts it
anew. A server that ends by itself is started again by the next change, not before: there is no loop of crashes. SIGTERM
and SIGINT go on to the server, and its exit code becomes the supervisor's. As the container's first process it also
reaps what others leave behind.
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Optional

import watchfiles

EXTENSIONS = (".py", ".pyi", ".yaml", ".yml", ".json", ".toml", ".cfg", ".ini", ".txt", ".jinja", ".jinja2", ".j2")
IGNORED_DIRECTORIES = (
    "__pycache__",
    ".cache",
    ".git",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".venv",
    "node_modules",
    "site-packages",
)
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

CANNOT_EXECUTE = 126
NOT_FOUND = 127
LONGEST_BATCH = 2000  # milliseconds: a stream of changes without any quiet counts as one batch every so often
POLL_DELAY = 1000  # milliseconds
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

Changes = set[tuple[watchfiles.Change, str]]


def log(message: str) -> None:
    """Write one line to stderr."""
    print(f"[serve] {message}", file=sys.stderr, flush=True)


class CodeFilter(watchfiles.BaseFilter):
    """What counts as code: a file with one of the extensions, in no ignored directory below a watched one."""

    def __init__(self, roots: Sequence[Path], extensions: Iterable[str], ignored_directories: Iterable[str]) -> None:
        """Take `roots` as they are, so that a watched directory may itself lie in an ignored one."""
        super().__init__()
        self.roots = roots
        self.extensions = tuple(extensions)
        self.ignored_directories = frozenset(ignored_directories)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:  # noqa: ARG002 (the signature is watchfiles')
        """Tell whether a change of the file at `path` counts."""
        return path.endswith(self.extensions) and self.ignored_directories.isdisjoint(self.relative(path).parts[:-1])

    def relative(self, path: str) -> Path:
        """Give `path` as seen from the watched directory that it is in."""
        for root in self.roots:
            with contextlib.suppress(ValueError):
                return Path(path).relative_to(root)
        return Path(path)


class Server:
    """One run of the server, from its start to the end of the last process of its group."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start `command` in a session, and thus in a process group, of its own."""
        self.process = subprocess.Popen(command, start_new_session=True)
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def group(self) -> int:
        """The process group, which has the number of the process that leads it."""
        return self.process.pid

    def reaped(self, status: int) -> None:
        """Take note of how the leading process ended."""
        code = os.waitstatus_to_exitcode(status)
        self.process.returncode = code  # `Popen` must not wait for a process that is gone
        self.exit_code.set_result(code)

    def send(self, number: int) -> bool:
        """Send a signal to every process of the group; false if there is none."""
        try:
            os.killpg(self.group, number)
        except ProcessLookupError:
            return False
        return True

    async def gone(self) -> None:
        """Return when no process of the group is left."""
        await asyncio.shield(self.exit_code)
        while self.send(0):
            await asyncio.sleep(0.01)


class Supervisor:
    """Keeps one server running, or waits for the change that may mend it."""

    def __init__(self, command: Sequence[str], grace: float) -> None:
        """Set up what the event loop will fill."""
        self.command = command
        self.grace = grace
        self.server: Optional[Server] = None
        self.last_exit_code = 0
        self.changed = asyncio.Event()
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.stop_signal = signal.SIGTERM

    async def run(self, changes: AsyncIterator[Changes]) -> int:
        """Run until a signal asks to stop; give the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        for number in FORWARDED:
            loop.add_signal_handler(number, self.stop, number)
        watcher = loop.create_task(self.watch(changes))
        watcher.add_done_callback(self.watcher_ended)
        await asyncio.sleep(0)  # lets it begin to watch, so that no change after this is missed

        if not self.start():
            return self.last_exit_code
        while not self.stopping.is_set():
            await self.first_of(self.stopping, self.changed, self.server.exit_code if self.server else None)
            if self.stopping.is_set():
                break
            if self.changed.is_set():
                await self.end(signal.SIGTERM)
                self.changed.clear()
                if not self.stopping.is_set() and not self.start():
                    log("waiting for a change")
            else:
                await self.ended_by_itself()
        await self.end(self.stop_signal)
        return self.last_exit_code

    def start(self) -> bool:
        """Start the server; if that is impossible, say so and keep the exit code that a shell would give."""
        try:
            self.server = Server(self.command)
        except OSError as error:
            log(f"cannot start {shlex.join(self.command)}: {error.strerror}")
            self.last_exit_code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE
            return False
        log(f"started {shlex.join(self.command)} (pid {self.server.process.pid})")
        return True

    async def end(self, number: signal.Signals) -> None:
        """End the running server, if there is one, with all its processes: politely, then not."""
        server = self.server
        if server is None:
            return
        server.send(number)
        gone = asyncio.ensure_future(server.gone())
        hurry = asyncio.ensure_future(self.hurry.wait())
        await asyncio.wait({gone, hurry}, timeout=self.grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not gone.done():
            log("still running" + (": killing it" if self.hurry.is_set() else f" after {self.grace:g} s: killing it"))
            server.send(signal.SIGKILL)
        await gone
        self.ended(server)

    async def ended_by_itself(self) -> None:
        """Clear away what a server that ended left running, and say what is waited for."""
        server = self.server
        if server is None:
            return
        server.send(signal.SIGKILL)
        await server.gone()
        self.ended(server)
        log(f"the server ended by itself, {describe(server.exit_code.result())}; waiting for a change")

    def ended(self, server: Server) -> None:
        """Keep the exit code, in a shell's terms."""
        code = server.exit_code.result()
        self.last_exit_code = 128 - code if code < 0 else code
        self.server = None

    def stop(self, number: signal.Signals) -> None:
        """Begin to stop; a second request does not wait for the grace period."""
        if self.stopping.is_set():
            self.hurry.set()
            return
        log(f"{signal.Signals(number).name}: stopping")
        self.stop_signal = number
        self.stopping.set()

    def reap(self) -> None:
        """Wait for every child that has ended, including those that lost their parents."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.server is not None and pid == self.server.process.pid:
                self.server.reaped(status)

    async def watch(self, changes: AsyncIterator[Changes]) -> None:
        """Turn changes of files into requests to restart."""
        async for batch in changes:
            if self.stopping.is_set():
                return
            paths = sorted({path for _, path in batch})
            others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            log(f"changed: {paths[0]}{others}")
            self.changed.set()

    def watcher_ended(self, watcher: "asyncio.Task[None]") -> None:
        """Stop everything when nothing is watched any more: a supervisor that sees no change is worse than none."""
        if watcher.cancelled() or self.stopping.is_set():
            return
        log(f"cannot watch any more: {watcher.exception() or 'the watcher ended'}")
        self.stop(signal.SIGTERM)

    @staticmethod
    async def first_of(first: asyncio.Event, second: asyncio.Event, exit_code: "Optional[asyncio.Future[int]]") -> None:
        """Wait until one of the three has come."""
        waiters = {asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())}
        try:
            await asyncio.wait(waiters | ({exit_code} if exit_code else set()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()


def describe(code: int) -> str:
    """Say how a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


async def code_changes(roots: Sequence[Path], code: CodeFilter, debounce: int) -> AsyncIterator[Changes]:
    """Yield batches of changes, each after `debounce` milliseconds of quiet; poll where the kernel cannot tell."""
    watch = functools.partial(
        watchfiles.awatch,
        *roots,
        watch_filter=code,
        step=debounce,
        debounce=max(debounce, LONGEST_BATCH),
        ignore_permission_denied=True,
    )
    try:
        async for batch in watch():
            yield batch
    except OSError as error:
        log(f"the kernel cannot watch ({error}): looking every {POLL_DELAY} ms instead")
        async for batch in watch(force_polling=True, poll_delay_ms=POLL_DELAY):
            yield batch


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, as a container's first process is anyway."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; the server's command is what follows `--`, or `SERVER_START_CMD`."""
    own, command = list(arguments), []
    if "--" in own:
        separator = own.index("--")
        own, command = own[:separator], own[separator + 1 :]
    parser = argparse.ArgumentParser(
        prog="serve",
        usage="%(prog)s [OPTION]... -- COMMAND [ARGUMENT]...",
        description="Run a server, and run it again when its code changes.",
        epilog="Without COMMAND, SERVER_START_CMD is taken from the environment. WATCHFILES_FORCE_POLLING=true polls "
        "file systems that tell the kernel nothing, such as network mounts.",
    )
    parser.add_argument(
        "--watch",
        metavar="DIR",
        type=Path,
        action="append",
        help="a directory with code; may be repeated (default: /app)",
    )
    parser.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a directory name to ignore, besides caches and .git",
    )
    parser.add_argument(
        "--extensions", metavar="LIST", default=",".join(EXTENSIONS), help="what counts as code (default: %(default)s)"
    )
    parser.add_argument(
        "--grace", metavar="SECONDS", type=float, default=10, help="from SIGTERM to SIGKILL (default: %(default)s)"
    )
    parser.add_argument(
        "--debounce",
        metavar="MS",
        type=int,
        default=200,
        help="how long it must be quiet before a restart (default: %(default)s)",
    )
    options = parser.parse_args(own)
    options.command = command or shlex.split(os.environ.get("SERVER_START_CMD", ""))
    if not options.command:
        parser.error("no command: put it after `--`, or into SERVER_START_CMD")
    options.watch = [directory.resolve() for directory in options.watch or [Path("/app")]]
    for directory in options.watch:
        if not directory.is_dir():
            parser.error(f"cannot watch {directory}: no such directory")
    return options


async def supervise(options: argparse.Namespace) -> int:
    """Run the supervisor with `options`."""
    extensions = [extension.strip() for extension in options.extensions.split(",") if extension.strip()]
    code = CodeFilter(options.watch, extensions, (*IGNORED_DIRECTORIES, *options.ignore))
    log(f"watching {', '.join(map(str, options.watch))}")
    return await Supervisor(options.command, options.grace).run(code_changes(options.watch, code, options.debounce))


def main() -> int:
    """Run the program."""
    options = parse(sys.argv[1:])
    adopt_orphans()
    return asyncio.run(supervise(options))


if __name__ == "__main__":
    sys.exit(main())
