"""Insert rate of dm-reverb, into memory, by one writer process.

    python reverb_insert.py PEERS/replay 4k|40k SECONDS

Runs the server and the writer of the peers' bench_reverb.py and prints one line in
the form of `bench insert`.
"""

import json
import os
import subprocess
import sys


def cpu_seconds(pid: int) -> float:
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(script: str, *args: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, script, *args], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def line(process: subprocess.Popen, beginning: str) -> str:
    for text in process.stdout:
        if text.startswith(beginning):
            return text
    raise SystemExit(f"the process ended before it said {beginning!r}")


def main(folder: str, payload: str, seconds: str) -> None:
    script = os.path.join(folder, "bench_reverb.py")
    server = start(script, "--role", "server", "--payload", payload)
    try:
        port = line(server, "listening").split()[1]
        writer = start(script, "--role", "writer", "--payload", payload, "--address", f"localhost:{port}")
        line(writer, "ready")
        before = cpu_seconds(server.pid)
        writer.stdin.write(seconds + "\n")
        writer.stdin.flush()
        r = json.loads(line(writer, "{"))
        used = cpu_seconds(server.pid) - before
        writer.stdin.close()
        writer.wait()
    finally:
        server.kill()
        server.wait()
    size = {"4k": 455, "40k": 4551}[payload] * 9
    print(json.dumps({
        "what": "insert", "system": "dm-reverb", "client": "python", "payload_bytes": size, "clients": 1,
        "rows_per_s": round(r["rows"] / r["wall"], 1), "mb_per_s": round(r["rows"] * size / r["wall"] / 1e6, 1),
        "cpu_s_client": round(r["cpu"], 2), "cpu_s_server": round(used, 2), "rows": r["rows"], "wall_s": round(r["wall"], 2),
    }), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
