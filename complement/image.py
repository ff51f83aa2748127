"""The Docker daemon and the image that Complement starts: Debian, the server's binary, start.sh, config.toml.

Nothing is pulled: the base is made by debootstrap and kept as a tar file outside the checkout.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("HEARTH_CACHE") or pathlib.Path.home() / ".cache/hearth")
BASE = "hearth-complement-base"
IMAGE = "hearth-complement"

# A machine without working packet filtering can still publish ports, through Docker's own proxy.
DAEMON_FLAGS = [[], ["--iptables=false", "--ip6tables=false"]]


def docker(*arguments, check=True, **options):
    """Runs `docker`; returns what it printed. Without `check` a failure gives an empty string."""
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode and check:
        sys.exit(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip() if done.returncode == 0 else ""


class Daemon:
    """A Docker daemon for the time of a `with`: the one that answers, or one of our own that is stopped at the end."""

    def __enter__(self):
        self.process = None
        if self.answers():
            return self
        log_path = tempfile.mkstemp(prefix="dockerd-", suffix=".log")[1]
        for flags in DAEMON_FLAGS:
            with open(log_path, "w") as log:
                # Its own session: a signal to the runner must not take the daemon before the containers.
                self.process = subprocess.Popen(
                    ["dockerd", "--host", "unix:///var/run/docker.sock", *flags],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            deadline = time.monotonic() + 40
            while time.monotonic() < deadline and self.process.poll() is None:
                if self.answers():
                    return self
                time.sleep(0.2)
            self.stop()
            print(f"dockerd {' '.join(flags)} did not come up:", file=sys.stderr)
            print("\n".join(pathlib.Path(log_path).read_text().splitlines()[-30:]), file=sys.stderr)
        sys.exit("no Docker daemon: none answers, and none can be started (see its log above)")

    def __exit__(self, *_):
        remove_leftovers()
        self.stop()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @staticmethod
    def answers():
        return docker("version", "--format", "{{.Server.Version}}", check=False) != ""


def remove_leftovers():
    """Containers, networks and images that a run of Complement left behind when it was killed."""
    for kind, listing, force in (("container", "-aq", ["-f"]), ("network", "-q", []), ("image", "-q", ["-f"])):
        found = docker(kind, "ls", listing, "--filter", "label=complement_pkg", check=False).split()
        if found:
            docker(kind, "rm", *force, *sorted(set(found)), check=False)


def base_tar():
    """The tar file of a minimal Debian of this machine's release, so that the binary finds the libraries it was linked to."""
    release = dict(line.rstrip().split("=", 1) for line in open("/etc/os-release") if "=" in line)
    codename = release.get("VERSION_CODENAME", "").strip('"')
    path = CACHE / f"complement-base-{codename}.tar"
    if path.exists():
        return path
    print(f"making {path}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    mirror = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Suite: {codename}", "Component: main"],
        stdout=subprocess.PIPE, text=True).stdout.split()
    directory = tempfile.mkdtemp(prefix="debootstrap-")
    try:
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates,openssl,curl", codename, directory]
        subprocess.run(command + mirror[:1], check=True, stdout=subprocess.DEVNULL)
        unfinished = path.with_suffix(f".{os.getpid()}")
        subprocess.run(["tar", "-C", directory, "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(unfinished), "."], check=True)
        unfinished.rename(path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return path


def build(binary):
    """Makes the image `IMAGE` with `binary` in it."""
    tar = base_tar()
    stamp = f"{tar.stat().st_mtime_ns}"
    if docker("image", "inspect", "--format", "{{.Config.Labels.made_of}}", BASE, check=False) != stamp:
        docker("import", "--change", f"LABEL made_of={stamp}", str(tar), BASE)
    previous = docker("image", "inspect", "--format", "{{.Id}}", IMAGE, check=False)
    container = docker("create", BASE, "/bin/true")
    try:
        with tempfile.TemporaryDirectory() as directory:
            config = pathlib.Path(directory) / "hearth"
            config.mkdir()
            shutil.copy(HERE / "config.toml", config)
            docker("cp", str(config), f"{container}:/etc/hearth")
        docker("cp", str(binary), f"{container}:/usr/local/bin/hearth")
        docker("cp", str(HERE / "start.sh"), f"{container}:/start.sh")
        docker("commit", "--change", "EXPOSE 8008 8448", "--change", 'CMD ["/start.sh"]', container, IMAGE)
    finally:
        docker("rm", "-f", container, check=False)
        if previous:
            docker("image", "rm", previous, check=False)
