"""A throw-away PostgreSQL server on a free port of the loopback interface, in a temporary folder.

It ends when this process ends, however that happens: a shell that started it waits on a pipe, and stops the server and removes the
folder when the pipe closes.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "catalog"
INSTALL = "PostgreSQL's server programs (initdb, postgres) are not on this machine. On Debian and Ubuntu: apt-get install postgresql"

_GUARD = """
"$1" -D "$2" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=60 \
    -c log_statement=none > "$2/server.log" 2>&1 &
server=$!
read _
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$2"
"""


def find_program(name: str) -> Path | None:
    """A PostgreSQL server program, on PATH or where Debian puts it; the newest version first."""
    if found := shutil.which(name):
        return Path(found)
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yields the URL of the server, without a database name. PostgreSQL refuses to run as root: then another user runs it."""
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        raise FileNotFoundError(INSTALL)
    user = _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="qwen3-rag-postgres-"))
    if user:
        os.chown(folder, user["user"], user["group"])
    make = [initdb, "-D", folder, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
    subprocess.run(make, check=True, cwd="/", stdout=subprocess.DEVNULL, **user)
    port = _free_port()
    guard = subprocess.Popen(["/bin/sh", "-c", _GUARD, "guard", postgres, folder, str(port)], stdin=subprocess.PIPE, cwd="/", **user)
    try:
        _await(f"host=127.0.0.1 port={port} user={USER} dbname=postgres", folder)
        yield f"postgresql://{USER}@127.0.0.1:{port}"
    finally:
        guard.stdin.close()
        guard.wait(timeout=30)


def _unprivileged_user() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(conninfo: str, folder: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(conninfo, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'server.log').read_text()}") from error
            time.sleep(0.05)
        else:
            return
