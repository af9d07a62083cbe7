"""Runs Autobahn's fuzzing client against an agent in three ways, and says where a verdict differs.

Ways: `direct` to the agent; `plain` and `tls` through the proxy. Each has an agent and a client of its own, and they run side
by side. Cases that differ are run some times more in the same way, which shows what differs by itself without the proxy: 7.1.6 by
whether the agent reads a message and the Close behind it at once.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
WAYS = ["direct", "plain", "tls"]
AGAIN = 10

# What a case's report says of the verdict, and of how the connection came to its end. Not durations, nor in what pieces bytes
# were read.
OF_A_CASE = [
    "behavior", "behaviorClose", "result", "resultClose", "received", "rxFrameStats",
    "localCloseCode", "localCloseReason", "remoteCloseCode", "remoteCloseReason",
    "closedByMe", "failedByMe", "droppedByMe", "wasClean", "wasNotCleanReason",
    "wasOpenHandshakeTimeout", "wasCloseHandshakeTimeout", "wasServerConnectionDropTimeout",
]


def agent():
    """An agent, and where it listens."""
    child = subprocess.Popen(
        [sys.executable, HERE / "echo.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return child, int(child.stdout.readline())


def proxy(binary, folder, agents):
    """A proxy with a listener for each agent, and where they listen."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    text = ""
    for name, port in agents.items():
        text += f'[[listener]]\nname = "{name}"\nbind = "127.0.0.1:0"\nprotocol = "http"\nupstream = "{name}"\n'
        if name == "tls":
            text += f'[listener.tls]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n'
        text += f'[upstream.{name}]\nendpoints = ["127.0.0.1:{port}"]\n'
    file, log = folder / "lameduck.toml", folder / "lameduck.log"
    file.write_text(text)
    command = [binary, "run", "-c", file, "--health", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ports = {}
    while len(ports) < len(agents):
        line = child.stderr.readline()
        if not line:
            sys.exit("the proxy ended")
        event = json.loads(line)
        event |= event.get("fields", {})
        if event.get("message") == "listening":
            ports[event["listener"]] = int(event["addr"].rsplit(":", 1)[1])
    # What else it says must not fill the pipe.
    subprocess.Popen(["cat"], stdin=child.stderr, stdout=log.open("w"))
    return child, ports


def fuzz(wstest, way, url, cases, out):
    """Begins a run of the client."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.*"):
        old.unlink()
    server = {"agent": way, "url": url}
    spec = {"outdir": str(out), "servers": [server], "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}
    file = out / "spec"
    file.write_text(json.dumps(spec))
    log = (out / "log").open("w")
    command = [wstest, "-m", "fuzzingclient", "-s", file]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def told(way, out):
    """What a run said of each case."""
    index = json.loads((out / "index.json").read_text())[way]
    verdicts = {}
    for case, short in index.items():
        report = json.loads((out / short["reportfile"]).read_text())
        verdicts[case] = {key: report[key] for key in OF_A_CASE}
        verdicts[case]["index"] = [short["behavior"], short["behaviorClose"], short["remoteCloseCode"]]
    return verdicts


def differences(one, other):
    """The cases, and what is not the same in them."""
    for case in sorted(one.keys() | other.keys(), key=lambda case: [int(part) for part in case.split(".")]):
        here, there = one.get(case, {}), other.get(case, {})
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != there.get(key):
                yield case, key, here.get(key), there.get(key)


def count(verdicts):
    """How many cases have which verdict."""
    counts = {}
    for verdict in verdicts.values():
        both = f"{verdict['behavior']}, close {verdict['behaviorClose']}"
        counts[both] = counts.get(both, 0) + 1
    return counts


def run(options, ways, cases, out):
    """Runs the client in these ways, and gives what each was told."""
    children = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            ports = {}
            for way in ways:
                child, ports[way] = agent()
                children.append(child)
            between = {way: port for way, port in ports.items() if way != "direct"}
            if between:
                child, fronts = proxy(options.lameduck, pathlib.Path(folder), between)
                children.append(child)
                ports |= fronts
            clients = {}
            for way in ways:
                url = f"wss://localhost:{ports[way]}" if way == "tls" else f"ws://127.0.0.1:{ports[way]}"
                clients[way] = fuzz(options.wstest, way, url, cases, out / way)
                children.append(clients[way])
            for way, client in clients.items():
                if client.wait() != 0:
                    sys.exit(f"{way}: wstest failed: {out / way / 'log'}")
    finally:
        for child in children:
            child.kill()
            child.wait()
    return {way: told(way, out / way) for way in ways}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wstest", required=True)
    parser.add_argument("--lameduck", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    out = options.out.resolve()
    verdicts = run(options, WAYS, options.cases or ["*"], out)
    for way, of_way in verdicts.items():
        print(f"{way}: {len(of_way)} cases: {count(of_way)}")
    direct = verdicts["direct"]
    if not direct:
        sys.exit("no case was run")
    changed = {way: list(differences(direct, verdicts[way])) for way in WAYS if way != "direct"}
    differ = {(case, key) for of_way in changed.values() for case, key, *_ in of_way}
    by_itself = set()
    for _ in range(AGAIN):
        cases = sorted({case for case, _ in differ - by_itself})
        if not cases:
            break
        again = run(options, WAYS, cases, out / "again")["direct"]
        once = {case: direct.get(case, {}) for case in cases}
        for case, key, one, other in differences(once, again):
            print(f"by itself: case {case}: {key}: {one!r}, then {other!r}")
            by_itself.add((case, key))
    blamed = 0
    for way, of_way in changed.items():
        for case, key, without, through in of_way:
            if (case, key) not in by_itself:
                print(f"{way}: case {case}: {key}: {without!r} directly, {through!r} through the proxy")
                blamed += 1
    if blamed:
        sys.exit(f"{blamed} differences")
    print("every verdict is the same")


main()
