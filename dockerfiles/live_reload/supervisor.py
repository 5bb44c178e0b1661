#!/opt/live-reload/.env/bin/python -I
"""Runs a server, and restarts it when its code changes.

usage: /opt/live-reload/serve [--watch DIR]... [OPTION]... -- COMMAND [ARGUMENT]...

The server has a process group of its own. A change stops the group (SIGTERM, and SIGKILL after the grace period) and
starts the server again. After a server exits on its own, only a change starts it again, so there is no loop of crashes.
SIGTERM and SIGINT are forwarded to the server, and the supervisor exits with its exit code. As the first process of the
container, the supervisor also reaps orphaned processes.
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
LONGEST_BATCH = 2000  # milliseconds: the longest batch of changes without a pause
POLL_DELAY = 1000  # milliseconds
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

Changes = set[tuple[watchfiles.Change, str]]


def log(message: str) -> None:
    """Write one line to stderr."""
    print(f"[serve] {message}", file=sys.stderr, flush=True)


class CodeFilter(watchfiles.BaseFilter):
    """Accepts files with one of the extensions that are in no ignored directory below a watched one."""

    def __init__(self, roots: Sequence[Path], extensions: Iterable[str], ignored_directories: Iterable[str]) -> None:
        """Store the watched directories. A watched directory can itself be in an ignored one."""
        super().__init__()
        self.roots = roots
        self.extensions = tuple(extensions)
        self.ignored_directories = frozenset(ignored_directories)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:  # noqa: ARG002 (the signature is watchfiles')
        """Return whether the file at `path` is code."""
        return path.endswith(self.extensions) and self.ignored_directories.isdisjoint(self.relative(path).parts[:-1])

    def relative(self, path: str) -> Path:
        """Return `path` relative to its watched directory."""
        for root in self.roots:
            with contextlib.suppress(ValueError):
                return Path(path).relative_to(root)
        return Path(path)


class Server:
    """One run of the server, from its start to the end of the last process of its group."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start `command` in a new session, and therefore in a new process group."""
        self.process = subprocess.Popen(command, start_new_session=True)
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def group(self) -> int:
        """The process group, which has the id of its leader."""
        return self.process.pid

    def reaped(self, status: int) -> None:
        """Record the exit status of the leading process."""
        code = os.waitstatus_to_exitcode(status)
        self.process.returncode = code  # prevents `Popen` from waiting for a process that does not exist
        self.exit_code.set_result(code)

    def send(self, number: int) -> bool:
        """Send a signal to every process of the group. Return false if there is none."""
        try:
            os.killpg(self.group, number)
        except ProcessLookupError:
            return False
        return True

    async def gone(self) -> None:
        """Wait until the group has no processes."""
        await asyncio.shield(self.exit_code)
        while self.send(0):
            await asyncio.sleep(0.01)


class Supervisor:
    """Keeps one server running, or waits for a change after it has exited."""

    def __init__(self, command: Sequence[str], grace: float) -> None:
        """Initialize the state."""
        self.command = command
        self.grace = grace
        self.server: Optional[Server] = None
        self.last_exit_code = 0
        self.changed = asyncio.Event()
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.stop_signal = signal.SIGTERM

    async def run(self, changes: AsyncIterator[Changes]) -> int:
        """Run until a signal stops the supervisor. Return the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        for number in FORWARDED:
            loop.add_signal_handler(number, self.stop, number)
        watcher = loop.create_task(self.watch(changes))
        watcher.add_done_callback(self.watcher_ended)
        await asyncio.sleep(0)  # starts the watcher, so that no later change is missed

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
        """Start the server. If that fails, log the reason and record the exit code that a shell would return."""
        try:
            self.server = Server(self.command)
        except OSError as error:
            log(f"cannot start {shlex.join(self.command)}: {error.strerror}")
            self.last_exit_code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE
            return False
        log(f"started {shlex.join(self.command)} (pid {self.server.process.pid})")
        return True

    async def end(self, number: signal.Signals) -> None:
        """Stop the running server and all its processes: first with the signal, then with SIGKILL."""
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
        """Kill the remaining processes of a server that has exited."""
        server = self.server
        if server is None:
            return
        server.send(signal.SIGKILL)
        await server.gone()
        self.ended(server)
        log(f"the server {describe(server.exit_code.result())}; waiting for a change")

    def ended(self, server: Server) -> None:
        """Record the exit code as a shell would."""
        code = server.exit_code.result()
        self.last_exit_code = 128 - code if code < 0 else code
        self.server = None

    def stop(self, number: signal.Signals) -> None:
        """Start to stop. A second request ends the grace period."""
        if self.stopping.is_set():
            self.hurry.set()
            return
        log(f"{signal.Signals(number).name}: stopping")
        self.stop_signal = number
        self.stopping.set()

    def reap(self) -> None:
        """Reap all children that have exited, including orphans."""
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
        """Stop the server if the watcher has ended: without it, changes would be missed."""
        if watcher.cancelled() or self.stopping.is_set():
            return
        log(f"the watcher failed: {watcher.exception() or 'it ended'}")
        self.stop(signal.SIGTERM)

    @staticmethod
    async def first_of(first: asyncio.Event, second: asyncio.Event, exit_code: "Optional[asyncio.Future[int]]") -> None:
        """Wait until one of the events is set or the server has exited."""
        waiters = {asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())}
        try:
            await asyncio.wait(waiters | ({exit_code} if exit_code else set()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()


def describe(code: int) -> str:
    """Describe the exit status of a process."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


async def code_changes(roots: Sequence[Path], code: CodeFilter, debounce: int) -> AsyncIterator[Changes]:
    """Yield batches of changes, each after a pause of `debounce` milliseconds. Poll if the kernel cannot watch."""
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
        log(f"the kernel cannot watch files ({error}): polling every {POLL_DELAY} ms")
        async for batch in watch(force_polling=True, poll_delay_ms=POLL_DELAY):
            yield batch


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, as the first process of a container is."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. The server's command follows `--`, or is in `SERVER_START_CMD`."""
    own, command = list(arguments), []
    if "--" in own:
        separator = own.index("--")
        own, command = own[:separator], own[separator + 1 :]
    parser = argparse.ArgumentParser(
        prog="serve",
        usage="%(prog)s [OPTION]... -- COMMAND [ARGUMENT]...",
        description="Run a server, and restart it when its code changes.",
        epilog="Without COMMAND, the environment variable SERVER_START_CMD is used. WATCHFILES_FORCE_POLLING=true polls"
        " file systems without change notifications, such as network mounts.",
    )
    parser.add_argument(
        "--watch",
        metavar="DIR",
        type=Path,
        action="append",
        help="a directory with code; can be repeated (default: /app)",
    )
    parser.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a directory name to ignore, besides caches and .git",
    )
    parser.add_argument(
        "--extensions", metavar="LIST", default=",".join(EXTENSIONS), help="code file endings (default: %(default)s)"
    )
    parser.add_argument(
        "--grace", metavar="SECONDS", type=float, default=10, help="time from SIGTERM to SIGKILL (default: %(default)s)"
    )
    parser.add_argument(
        "--debounce",
        metavar="MS",
        type=int,
        default=200,
        help="pause without changes before a restart (default: %(default)s)",
    )
    options = parser.parse_args(own)
    options.command = command or shlex.split(os.environ.get("SERVER_START_CMD", ""))
    if not options.command:
        parser.error("no command: pass it after `--` or in SERVER_START_CMD")
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
