"""Runs the supervisor as a program with real servers.

`python -m unittest discover dockerfiles/live_reload/tests`, with a Python that has the packages of ../requirements.txt.
"""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path
from typing import Callable, Optional

SUPERVISOR = Path(__file__).resolve().parent.parent / "supervisor.py"
TIMEOUT = 30  # seconds
SERVER = """
    import os, signal, sys
    def stop(number, frame):
        print("stopped by", number, flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("up", flush=True)
    while True:
        signal.pause()
"""


class Run:
    """A running supervisor, and the output of it and its server."""

    def __init__(self, arguments: list[str], environment: Optional[dict[str, str]] = None) -> None:
        """Start the supervisor with `arguments`."""
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(SUPERVISOR), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect(self, part: str) -> str:
        """Wait for a line that contains `part`."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {part!r} in:\n" + "\n".join(self.seen)) from None
            self.seen.append(line)
            if part in line:
                return line

    def exit_code(self) -> int:
        """Wait until the supervisor exits, and return its exit code."""
        code = self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        return code

    def close(self) -> None:
        """Stop the supervisor if it is still running."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        assert self.process.stdout
        self.process.stdout.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("timeout")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process exists. It can be a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class SupervisorTest(unittest.TestCase):
    """The behavior of the supervisor."""

    def setUp(self) -> None:
        """Create a directory with a server."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.app = Path(directory.name).resolve()
        self.server = self.app / "server.py"
        self.write(SERVER)

    def write(self, code: str) -> None:
        """Write the server's code."""
        self.server.write_text(textwrap.dedent(code))

    def run_supervisor(self, *options: str, environment: Optional[dict[str, str]] = None) -> Run:
        """Start a supervisor for the server."""
        arguments = ["--watch", str(self.app), "--debounce", "50", *options]
        if environment is None:
            arguments += ["--", sys.executable, str(self.server)]
        run = Run(arguments, environment)
        self.addCleanup(run.close)
        return run

    def test_a_change_restarts_the_server(self) -> None:
        """SIGTERM stops the old server before the new one starts."""
        run = self.run_supervisor()
        run.expect("up")
        self.write(SERVER.replace('"up"', '"up again"'))
        run.expect("changed: " + str(self.server))
        run.expect(f"stopped by {int(signal.SIGTERM)}")
        run.expect("up again")

    def test_changes_that_are_not_code_are_ignored(self) -> None:
        """Caches, other extensions and ignored directories are not code."""
        run = self.run_supervisor("--ignore", "data")
        run.expect("up")
        for name in ("__pycache__/server.py", ".git/config.yaml", "weights.bin", "data/config.json"):
            (self.app / name).parent.mkdir(exist_ok=True)
            (self.app / name).write_text("x")
        (self.app / "model.py").write_text("x")
        self.assertIn("model.py", run.expect("changed: "))
        run.expect("up")
        run.process.send_signal(signal.SIGTERM)
        run.exit_code()
        self.assertEqual(1, sum("changed: " in line for line in run.seen), run.seen)
        self.assertFalse(
            any(name in line for line in run.seen for name in ("pycache", ".git", ".bin", "data")), run.seen
        )

    def test_many_changes_cause_one_restart(self) -> None:
        """Changes within the debounce interval count as one."""
        run = self.run_supervisor("--debounce", "200")
        run.expect("up")
        for number in range(50):
            (self.app / f"module_{number}.py").write_text("x")
        self.assertIn("and 49 more", run.expect("changed: "))
        run.expect("up")

    def test_signals_and_the_exit_code_are_forwarded(self) -> None:
        """The server handles the signal, and the supervisor exits with its code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                run = self.run_supervisor()
                run.expect("up")
                run.process.send_signal(number)
                run.expect(f"stopped by {int(number)}")
                self.assertEqual(7, run.exit_code())

    def test_a_signal_determines_the_exit_code_as_in_a_shell(self) -> None:
        """The exit code of a server killed by SIGTERM is 143."""
        self.write("import signal; print('up', flush=True); signal.pause()")
        run = self.run_supervisor()
        run.expect("up")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGTERM, run.exit_code())

    def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_period(self) -> None:
        """The next server starts after the kill."""
        self.write("""
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("running", flush=True)
            while True:
                signal.pause()
        """)
        run = self.run_supervisor("--grace", "0.1")
        run.expect("running")
        self.write(SERVER)
        run.expect("still running after 0.1 s: killing it")
        run.expect("up")

    def test_a_second_signal_ends_the_grace_period(self) -> None:
        """The server is killed immediately."""
        self.write("""
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("running", flush=True)
            while True:
                signal.pause()
        """)
        run = self.run_supervisor("--grace", "3600")
        run.expect("running")
        run.process.send_signal(signal.SIGTERM)
        run.expect("SIGTERM: stopping")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGKILL, run.exit_code())

    def test_a_crash_waits_for_a_change(self) -> None:
        """There is no restart loop."""
        self.write("raise SystemExit(3)")
        run = self.run_supervisor()
        run.expect("the server exited with code 3; waiting for a change")
        self.write(SERVER)
        run.expect("up")
        self.assertEqual(2, sum("started" in line for line in run.seen), run.seen)

    def test_stopping_after_a_crash_returns_the_exit_code_of_the_server(self) -> None:
        """No server runs, so there is no grace period."""
        self.write("raise SystemExit(3)")
        run = self.run_supervisor()
        run.expect("waiting for a change")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(3, run.exit_code())

    def test_a_restart_stops_the_whole_process_group(self) -> None:
        """Workers that ignore SIGTERM are killed and reaped."""
        self.write("""
            import os, signal, subprocess, sys
            code = "import signal; signal.signal(15, signal.SIG_IGN); print('running', flush=True); signal.pause()"
            worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            worker.stdout.readline()
            print("worker", worker.pid, flush=True)
            signal.pause()
        """)
        run = self.run_supervisor("--grace", "0.1")
        worker = int(run.expect("worker").split()[1])
        self.assertTrue(is_alive(worker))
        self.write(SERVER)
        run.expect("up")
        self.assertFalse(is_alive(worker))

    def test_orphans_are_reaped(self) -> None:
        """A process whose parent has exited leaves no zombie."""
        self.write("""
            import os, signal
            reader, writer = os.pipe()
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                    os.write(writer, str(os.getpid()).encode())
                    os.close(writer)
                os._exit(0)
            os.close(writer)
            os.wait()
            print("orphan", os.read(reader, 20).decode(), flush=True)
            signal.pause()
        """)
        run = self.run_supervisor()
        orphan = int(run.expect("orphan").split()[1])
        wait_until(lambda: not is_alive(orphan))

    def test_the_command_can_be_in_the_environment(self) -> None:
        """Platforms set `SERVER_START_CMD`."""
        run = self.run_supervisor(environment={"SERVER_START_CMD": f"{sys.executable} '{self.server}'"})
        run.expect("up")

    def test_a_command_that_cannot_run_is_an_error(self) -> None:
        """The exit codes are those of a shell."""
        run = Run(["--watch", str(self.app), "--", "/nowhere/server"])
        self.addCleanup(run.close)
        self.assertEqual(127, run.exit_code())
        self.assertIn("[serve] cannot start /nowhere/server: No such file or directory", run.seen)
        run = Run(["--watch", str(self.app), "--", str(self.server)])
        self.addCleanup(run.close)
        self.assertEqual(126, run.exit_code())

    def test_an_invalid_command_line_is_rejected(self) -> None:
        """A command and an existing directory are required."""
        for arguments, message in (
            (["--watch", str(self.app)], "no command"),
            (["--watch", str(self.app / "nowhere"), "--", "true"], "no such directory"),
        ):
            with self.subTest(message):
                run = Run(arguments, {"SERVER_START_CMD": ""})
                self.addCleanup(run.close)
                self.assertEqual(2, run.exit_code())
                self.assertIn(message, "\n".join(run.seen))


if __name__ == "__main__":
    unittest.main()
