"""Runs the supervisor as a program, over real servers.

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
PATIENCE = 30  # seconds, for a machine that is busy; no test waits for it to pass
SERVER = """
    import os, signal, sys
    def ended(number, frame):
        print("ended by", number, flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, ended)
    print("up", flush=True)
    while True:
        signal.pause()
"""


class Run:
    """A supervisor at work, and the lines that it and its server print."""

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
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {part!r} in:\n" + "\n".join(self.seen)) from None
            self.seen.append(line)
            if part in line:
                return line

    def exit_code(self) -> int:
        """Wait for the supervisor's end."""
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        return code

    def close(self) -> None:
        """End whatever a failed test left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that no line announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process exists, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class SupervisorTest(unittest.TestCase):
    """What the supervisor promises."""

    def setUp(self) -> None:
        """Make a directory with a server."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.app = Path(directory.name).resolve()
        self.server = self.app / "server.py"
        self.write(SERVER)

    def write(self, code: str) -> None:
        """Write the server's code."""
        self.server.write_text(textwrap.dedent(code))

    def run_supervisor(self, *options: str, environment: Optional[dict[str, str]] = None) -> Run:
        """Supervise the server."""
        arguments = ["--watch", str(self.app), "--debounce", "50", *options]
        if environment is None:
            arguments += ["--", sys.executable, str(self.server)]
        run = Run(arguments, environment)
        self.addCleanup(run.close)
        return run

    def test_a_change_restarts_the_server(self) -> None:
        """The old one is ended politely before the new one starts."""
        run = self.run_supervisor()
        run.expect("up")
        self.write(SERVER.replace('"up"', '"up again"'))
        run.expect("changed: " + str(self.server))
        run.expect(f"ended by {int(signal.SIGTERM)}")
        run.expect("up again")

    def test_changes_that_are_not_code_do_nothing(self) -> None:
        """Caches, other endings and ignored directories are passed over."""
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

    def test_many_writes_are_one_restart(self) -> None:
        """A deployment of many files counts once."""
        run = self.run_supervisor("--debounce", "200")
        run.expect("up")
        for number in range(50):
            (self.app / f"module_{number}.py").write_text("x")
        self.assertIn("and 49 more", run.expect("changed: "))
        run.expect("up")

    def test_signals_go_on_and_the_exit_code_comes_back(self) -> None:
        """The server ends as it likes, and its code is the supervisor's."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                run = self.run_supervisor()
                run.expect("up")
                run.process.send_signal(number)
                run.expect(f"ended by {int(number)}")
                self.assertEqual(7, run.exit_code())

    def test_a_server_without_a_handler_ends_as_in_a_shell(self) -> None:
        """Killed by SIGTERM is 143."""
        self.write("import signal; print('up', flush=True); signal.pause()")
        run = self.run_supervisor()
        run.expect("up")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGTERM, run.exit_code())

    def test_a_deaf_server_is_killed_after_the_grace_period(self) -> None:
        """A change is not held up by a server that ignores SIGTERM."""
        self.write("""
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", flush=True)
            while True:
                signal.pause()
        """)
        run = self.run_supervisor("--grace", "0.1")
        run.expect("deaf")
        self.write(SERVER)
        run.expect("still running after 0.1 s: killing it")
        run.expect("up")

    def test_a_second_signal_does_not_wait(self) -> None:
        """An impatient operator is obeyed."""
        self.write("""
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", flush=True)
            while True:
                signal.pause()
        """)
        run = self.run_supervisor("--grace", "3600")
        run.expect("deaf")
        run.process.send_signal(signal.SIGTERM)
        run.expect("SIGTERM: stopping")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGKILL, run.exit_code())

    def test_a_crash_waits_for_a_change(self) -> None:
        """A server that ends by itself is not started again and again."""
        self.write("raise SystemExit(3)")
        run = self.run_supervisor()
        run.expect("the server exited with code 3; waiting for a change")
        self.write(SERVER)
        run.expect("up")
        self.assertEqual(2, sum("started" in line for line in run.seen), run.seen)

    def test_stopping_after_a_crash_gives_its_code(self) -> None:
        """Nothing runs, so there is nothing to wait for."""
        self.write("raise SystemExit(3)")
        run = self.run_supervisor()
        run.expect("waiting for a change")
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(3, run.exit_code())

    def test_the_whole_group_ends(self) -> None:
        """Workers that ignore SIGTERM do not survive a restart, and no zombie stays."""
        self.write("""
            import os, signal, subprocess, sys
            deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
            worker = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
            worker.stdout.readline()
            print("worker", worker.pid, flush=True)
            signal.pause()
        """)
        run = self.run_supervisor("--grace", "0.1")
        worker = int(run.expect("worker").split()[1])
        self.assertTrue(alive(worker))
        self.write(SERVER)
        run.expect("up")
        self.assertFalse(alive(worker))

    def test_orphans_are_reaped(self) -> None:
        """A process whose parent is gone leaves no zombie behind."""
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
        wait_until(lambda: not alive(orphan))

    def test_the_command_may_come_from_the_environment(self) -> None:
        """As platforms set it."""
        run = self.run_supervisor(environment={"SERVER_START_CMD": f"{sys.executable} '{self.server}'"})
        run.expect("up")

    def test_a_command_that_cannot_run_is_said_at_once(self) -> None:
        """The codes are a shell's."""
        run = Run(["--watch", str(self.app), "--", "/nowhere/server"])
        self.addCleanup(run.close)
        self.assertEqual(127, run.exit_code())
        self.assertIn("[serve] cannot start /nowhere/server: No such file or directory", run.seen)
        run = Run(["--watch", str(self.app), "--", str(self.server)])
        self.addCleanup(run.close)
        self.assertEqual(126, run.exit_code())

    def test_a_wrong_command_line_is_refused(self) -> None:
        """Without a command, or without a directory, there is nothing to do."""
        for arguments, complaint in (
            (["--watch", str(self.app)], "no command"),
            (["--watch", str(self.app / "nowhere"), "--", "true"], "no such directory"),
        ):
            with self.subTest(complaint):
                run = Run(arguments, {"SERVER_START_CMD": ""})
                self.addCleanup(run.close)
                self.assertEqual(2, run.exit_code())
                self.assertIn(complaint, "\n".join(run.seen))


if __name__ == "__main__":
    unittest.main()
