"""The servers of the comparison: the source and version of each, how it is built and started.

Owns everything under target/compare/build. Never measures. Invariant: the sources of a server are pinned, by a lock
file or a version here, except for Debian's packages; the report names their versions.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import processes

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "compare/peers"
BUILD = ROOT / "target/compare/build"
RUST_TARGET = ROOT / "target/compare/rust"
# Of all peers in Rust, with link-time optimization.
BUILD_SECONDS_MAX = 1800


class BuildError(Exception):
    """The reason why a server was not built; a full sentence."""


@dataclass(frozen=True)
class Peer:
    name: str
    # Its description in the report.
    what: str
    # The command that starts it from the root of the repository, with {port}.
    command: str
    # Its name in `BUILDERS`, and of its folder in the sources if that differs.
    builder: str
    # Names of the packages that determine its version.
    versions: tuple = field(default=())


RINGSOCK = "target/release/ringsock serve --listen 127.0.0.1:{port} --admin-listen none --cores 1 --reactor "
BASELINE = "ringsock uring"
PEERS = (
    Peer(BASELINE, "ringsock on io_uring", RINGSOCK + "uring", "ringsock", ("ringsock", "rustc")),
    Peer("ringsock epoll", "ringsock on epoll", RINGSOCK + "epoll", "ringsock", ("ringsock", "rustc")),
    Peer(
        "uWebSockets",
        "C++, in the build of the Python package socketify (on libuv), driven in C through its C interface",
        "target/compare/build/uws/server {port}",
        "uws",
        ("socketify", "libuv1"),
    ),
    Peer(
        "uWebSockets.js",
        "the same for Node.js, in a build that others put on npm and that is older than its authors' newest",
        "node target/compare/build/uws-js/server.mjs {port}",
        "uws-js",
        ("@trufflesuite/uws-js-unofficial", "node"),
    ),
    Peer(
        "fastwebsockets",
        "Rust, on Tokio and hyper",
        "target/compare/rust/release/fastwebsockets {port}",
        "rust",
        ("fastwebsockets", "tokio", "rustc"),
    ),
    Peer(
        "tokio-websockets",
        "Rust, on Tokio",
        "target/compare/rust/release/tokio-websockets {port}",
        "rust",
        ("tokio-websockets", "tokio", "rustc"),
    ),
    Peer(
        "tokio-tungstenite",
        "Rust, on Tokio, with a read buffer of 8 KiB: with that of its defaults it is several times slower",
        "target/compare/rust/release/tokio-tungstenite {port}",
        "rust",
        ("tokio-tungstenite", "tokio", "rustc"),
    ),
    Peer(
        "gorilla",
        "Go, gorilla/websocket with pooled buffers and prepared messages",
        "env GOMAXPROCS=1 target/compare/build/gorilla/server {port}",
        "gorilla",
        ("gorilla/websocket", "go"),
    ),
    Peer(
        "go-hub",
        "Go, gorilla/websocket as chat servers begin: two goroutines and a channel each, and a hub",
        "env GOMAXPROCS=1 target/compare/build/go-hub/server {port}",
        "go-hub",
        ("gorilla/websocket", "go"),
    ),
    Peer("ws", "Node.js", "node target/compare/build/ws/server.mjs {port}", "ws", ("ws", "bufferutil", "node")),
    Peer(
        "websockets",
        "Python, on asyncio",
        "target/compare/build/websockets/venv/bin/python target/compare/build/websockets/server.py {port}",
        "websockets",
        ("websockets", "python"),
    ),
)


def chosen(only):
    """The peers of these names, in the order of the roster; ringsock on io_uring is always among them."""
    unknown = set(only or ()) - {peer.name for peer in PEERS}
    if unknown:
        raise SystemExit(f"No such peer: {', '.join(sorted(unknown))}. There are: {', '.join(p.name for p in PEERS)}.")
    return [peer for peer in PEERS if not only or peer.name in only or peer.name == BASELINE]


def build(peers):
    """Builds what these need; name → why it could not be, of those that could not."""
    install_debian_packages({peer.builder for peer in peers})
    failures = {}
    for builder in dict.fromkeys(peer.builder for peer in peers):
        try:
            BUILDERS[builder](builder)
        except (BuildError, OSError) as error:
            failures.update({peer.name: str(error) for peer in peers if peer.builder == builder})
    return failures


def versions(peers):
    """Name of a part → its version, for all that these peers are made of."""
    return {part: version_of(part) for part in dict.fromkeys(part for peer in peers for part in peer.versions)}


# --- Building.

PIP_FLAGS = ("--quiet", "--disable-pip-version-check", "--retries", "5", "-r", "requirements.txt")


def run(*command, cwd=ROOT, **environment):
    """Fails with the command's last line."""
    try:
        done = processes.run(command, BUILD_SECONDS_MAX, cwd=cwd, environment={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        raise BuildError(f"`{command[0]} {command[1]}` was not done in {BUILD_SECONDS_MAX} s.") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise BuildError(f"`{' '.join(map(str, command[:3]))} …` failed: {lines[-1]}")


def install_debian_packages(builders):
    missing = []
    if builders & {"gorilla", "go-hub"}:
        missing += [] if shutil.which("go") else ["golang-go"]
        gorilla = Path("/usr/share/gocode/src/github.com/gorilla/websocket")
        missing += [] if gorilla.exists() else ["golang-github-gorilla-websocket-dev"]
    if builders & {"ws", "uws-js"}:
        # A Node.js that is there already is kept.
        missing += [program for program, package in (("node", "nodejs"), ("npm", "npm")) if not shutil.which(program)]
        missing = ["nodejs" if name == "node" else name for name in missing]
    if "uws" in builders:
        missing += [] if shutil.which("cc") else ["build-essential"]
        known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
        missing += [] if "libuv.so.1 " in known else ["libuv1"]
    if builders & {"uws", "websockets"}:
        has_venv = subprocess.run(["python3", "-c", "import ensurepip, venv"], capture_output=True).returncode == 0
        missing += [] if has_venv else ["python3-venv"]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SystemExit(f"Missing Debian packages: {' '.join(missing)}. Install them, or run this as root.")
    print(f"Installing {' '.join(missing)}", flush=True)
    apt_get = ("apt-get", "-o", "Acquire::Retries=3", "--quiet=2")
    run(*apt_get, "update")
    run(*apt_get, "install", "--yes", "--no-install-recommends", *missing, DEBIAN_FRONTEND="noninteractive")


def fresh(name):
    """An empty folder to build into, or None if what is there was built from the same sources."""
    sources, folder = SOURCES / name, BUILD / name
    digest = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources)}\0".encode() + path.read_bytes())
    stamp = folder / ".built-from"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return None
    print(f"Building {name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sources, folder)
    return folder, lambda: stamp.write_text(digest.hexdigest())


def build_ringsock(_name):
    print("Building ringsock", flush=True)
    run("cargo", "build", "--release", "--locked", "--quiet")


def build_rust(name):
    print("Building the peers in Rust", flush=True)
    manifest = SOURCES / name / "Cargo.toml"
    build = ("cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest)
    run(*build, CARGO_TARGET_DIR=str(RUST_TARGET))


def build_go(name):
    made = fresh(name)
    if made:
        folder, done = made
        # Debian's packages are sources in a GOPATH; nothing is fetched.
        run(
            *("go", "build", "-o", "server", "main.go"),
            cwd=folder,
            **{"CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"},
            **{"GOPATH": "/usr/share/gocode", "GOCACHE": str(BUILD / "go-cache")},
        )
        done()


def build_node(name):
    made = fresh(name)
    if made:
        folder, done = made
        # The binaries are in the packages: no script of a package needs to run.
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", cwd=folder)
        done()


def build_python(name):
    made = fresh(name)
    if made:
        folder, done = made
        run("python3", "-m", "venv", "venv", cwd=folder)
        run("venv/bin/pip", "install", *PIP_FLAGS, cwd=folder)
        done()


def build_uws(name):
    made = fresh(name)
    if made:
        folder, done = made
        if os.uname().machine != "x86_64":
            raise BuildError("The package socketify has its library for x86-64 alone.")
        # The library alone is taken from it; nothing in Python runs when it is measured.
        run("python3", "-m", "venv", "venv", cwd=folder)
        run("venv/bin/pip", "download", "--no-deps", "--require-hashes", *PIP_FLAGS, cwd=folder)
        archive = next(folder.glob("socketify-*.tar.gz"))
        library = "libsocketify_linux_amd64.so"
        extract = ("tar", "--extract", "--strip-components=3", "--wildcards", f"--file={archive.name}")
        run(*extract, f"*/{library}", cwd=folder)
        run("cc", "-O2", "-Wall", "-o", "server", "server.c", library, "-Wl,-rpath,$ORIGIN", cwd=folder)
        archive.unlink()
        shutil.rmtree(folder / "venv")
        done()


BUILDERS = {
    "ringsock": build_ringsock,
    "uws": build_uws,
    "uws-js": build_node,
    "rust": build_rust,
    "gorilla": build_go,
    "go-hub": build_go,
    "ws": build_node,
    "websockets": build_python,
}


# --- Versions.


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    except OSError:
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def version_of(part):
    if part == "ringsock":
        version = first_line("target/release/ringsock", "--version").split()[-1]
        differs = ["git", "diff", "--quiet", "HEAD", "--", "src", "Cargo.lock"]
        changed = subprocess.run(differs, cwd=ROOT).returncode != 0
        commit = first_line("git", "rev-parse", "--short=10", "HEAD")
        return f"{version}, commit {commit}{' with changes' if changed else ''}"
    if part in COMMANDS:
        return re.search(r"\d+(\.\d+)+", first_line(*COMMANDS[part]) + " 0.0")[0]
    if part in DEBIAN:
        return first_line("dpkg-query", "--show", "--showformat=${Version}", DEBIAN[part])
    return pinned_versions().get(part, "unknown")


COMMANDS = {
    "rustc": ("rustc", "--version"),
    "go": ("go", "version"),
    "node": ("node", "--version"),
    "python": ("python3", "--version"),
}
DEBIAN = {"gorilla/websocket": "golang-github-gorilla-websocket-dev", "libuv1": "libuv1"}


def pinned_versions():
    """Returns the versions in the lock files."""
    lock = (SOURCES / "rust/Cargo.lock").read_text()
    pinned = dict(re.findall(r'^name = "(.*)"\nversion = "(.*)"$', lock, re.MULTILINE))
    for name in ("uws", "websockets"):
        pinned.update(re.findall(r"^([\w-]+)==(\S+)", (SOURCES / name / "requirements.txt").read_text(), re.MULTILINE))
    for name in ("uws-js", "ws"):
        packages = json.loads((SOURCES / name / "package-lock.json").read_text())["packages"]
        for package in packages[""]["dependencies"]:
            pinned[package] = packages[f"node_modules/{package}"]["version"]
    return pinned
