"""Runs Complement's tests, compares with results.jsonl, and runs again what was lost. See README.md."""

import argparse
import datetime
import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import image

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results.jsonl"
NOT_RUN = HERE / "not_run.md"
FLAKY = HERE / "flaky.md"
PACKAGES = "github.com/matrix-org/complement/tests/..."
MAX_FLAKY = 5
FINAL = ("pass", "fail", "skip")
NOT_AVAILABLE = 77  # the exit status when Go cannot get Complement itself


def listed(path):
    """The names that stand in backquotes at the beginning of the items of a list in a Markdown file."""
    return re.findall(r"^\* (?:\d{4}-\d\d-\d\d )?`([^`]+)`", path.read_text(), re.M) if path.exists() else []


def load():
    """(package, test) -> action, as results.jsonl has it."""
    if not RESULTS.exists():
        return {}
    rows = map(json.loads, RESULTS.read_text().splitlines())
    return {(row["Package"], row["Test"]): row["Action"] for row in rows}


def save(results):
    rows = [{"Action": action, "Package": package, "Test": test} for (package, test), action in sorted(results.items())]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lines(command, environment):
    """Runs a command and yields its output; when the caller gives up, nothing of it is left running."""
    process = subprocess.Popen(
        command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield from process.stdout
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def go_test(log, packages, run=None, skip=None):
    """Runs `go test`; returns the tests' results and the packages that failed without a failed test."""
    # -count=1: otherwise Go answers from its cache, whatever the image holds.
    command = ["go", "test", "-count=1", "-p", "1", "-timeout", "60m", "-json"]
    command += ["-run", run] if run else []
    command += ["-skip", skip] if skip else []
    results, output, broken, failed = {}, {}, set(), set()
    for line in lines(command + packages, dict(os.environ, COMPLEMENT_BASE_IMAGE=image.IMAGE)):
        log.write(line)
        try:
            event = json.loads(line)
        except ValueError:
            print(line, end="", flush=True)
            continue
        package, test, action = event.get("Package") or event.get("ImportPath", ""), event.get("Test"), event["Action"]
        if test is None:
            if action in ("output", "build-output"):
                output.setdefault(package, []).append(event["Output"])
            elif action in ("fail", "build-fail"):
                broken.add(package)
        elif action == "run":
            results[package, test] = "fail"  # until we hear better: the package may die under it
        elif action in FINAL:
            results[package, test] = action
            if action == "fail":
                failed.add(package)
            if "/" not in test:
                print(f"{action} {package.split('/complement/')[-1]} {test} {event.get('Elapsed', 0):.1f} s", flush=True)
    for package in sorted(broken - failed):
        print(f"{package} did not run:\n{''.join(output.get(package, []))[-6000:]}", flush=True)
    log.flush()
    return results, broken - failed


def matches(test, pattern):
    """Whether `go test -run pattern` runs this test; each level of the name has its own expression."""
    pairs = zip(test.split("/"), pattern.split("/"))
    return all(re.search(expression, name) for name, expression in pairs)


def run_again(log, lost):
    """Runs the tests that were lost alone, at most twice; returns those that passed neither time."""
    still = set(lost)
    for attempt in (1, 2):
        for package, test in sorted({(package, test.split("/")[0]) for package, test in still}):
            print(f"lost, run again alone ({attempt} of 2): {package} {test}", flush=True)
            results, _ = go_test(log, [package], run=f"^{re.escape(test)}$")
            still -= {name for name, action in results.items() if action == "pass"}
    return still


def note_flaky(names):
    """Adds tests to flaky.md with the date; returns how many entries are open."""
    entries = listed(FLAKY)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    with open(FLAKY, "a") as file:
        for package, test in sorted(names):
            name = f"{package} {test}"
            if name not in entries:
                entries.append(name)
                file.write(f"* {today} `{name}`\n")
    return len(entries)


def report_lost(log_path, names):
    """Prints what the last run of each lost test said."""
    output = {}
    for line in open(log_path):
        event = json.loads(line) if line.startswith("{") else {}
        name = event.get("Package"), event.get("Test")
        if name in names and event["Action"] == "run":
            output[name] = []
        elif name in names and event["Action"] == "output":
            output[name].append(event["Output"])
    for name in sorted(names):
        print(f"LOST {' '.join(name)}\n{''.join(output.get(name, []))[-4000:]}", flush=True)


def compare(arguments, results, before, lost, gone):
    """Prints what changed and, with --update, writes it down; returns the number of failures."""
    if arguments.update:
        kept = {name: action for name, action in load().items() if arguments.regex and name not in before}
        save(kept | results)
        for package, test in sorted(lost):
            print(f"no pass any more: {package} {test}")
        return 0
    if not RESULTS.exists():
        print("results.jsonl is missing: write it with --update")
        return 1
    flaky = lost - gone
    for package, test in sorted(flaky):
        print(f"flaky: {package} {test}")
    open_flaky = note_flaky(flaky)
    if open_flaky > MAX_FLAKY:
        print(f"flaky.md has {open_flaky} open entries; at most {MAX_FLAKY}")
    new = sum(1 for name, action in results.items() if action == "pass" and before.get(name) != "pass")
    if new:
        print(f"{new} tests pass that did not: take them in with --update")
    return len(gone) + (open_flaky > MAX_FLAKY)


def main():
    parser = argparse.ArgumentParser(prog="complement/run", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the results to results.jsonl instead of comparing")
    parser.add_argument("regex", nargs="?", help="run only these tests, also those of not_run.md (as `go test -run`)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    lock = open("/tmp/hearth-complement.lock", "w")  # two runs would remove each other's containers
    fcntl.flock(lock, fcntl.LOCK_EX)
    out = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target") / "complement"
    out.mkdir(parents=True, exist_ok=True)
    log_path = out / "log.jsonl"

    # Lines that go.sum lacks are added, after Go has asked its checksum database; a line that differs is an error.
    os.environ["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -mod=mod".strip()
    if subprocess.run(["go", "mod", "download"], cwd=HERE, stdin=subprocess.DEVNULL).returncode:
        print("Complement cannot be had: Go's message is above. NOT RUN")
        return NOT_AVAILABLE
    with image.Daemon(), open(log_path, "w") as log:
        image.remove_leftovers()
        image.build(os.environ["HEARTH"])
        skip = "^(" + "|".join(map(re.escape, listed(NOT_RUN))) + ")$"
        results, broken = go_test(log, [PACKAGES], arguments.regex, None if arguments.regex else skip)
        before = {name: action for name, action in load().items() if not arguments.regex or matches(name[1], arguments.regex)}
        lost = {name for name, action in before.items() if action == "pass" and results.get(name) != "pass"}
        gone = set() if arguments.update else run_again(log, lost)

    report_lost(log_path, gone)
    failures = len(broken) + compare(arguments, results, before, lost, gone)
    count = {action: sum(1 for value in results.values() if value == action) for action in FINAL}
    print(f"log: {log_path}")
    print(f"{count['pass']} pass, {count['fail']} fail, {count['skip']} skip; not run: {len(listed(NOT_RUN))} (not_run.md)")
    # The total of the run: a test that fails in results.jsonl too is no failure of this change.
    print(f"{count['pass']} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
