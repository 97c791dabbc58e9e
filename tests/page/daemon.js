// Daemons and receivers for the page's tests; all are ended with the test.

import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const running = new Set();
const folders = [];

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    endAll();
    process.exit(1);
  });
}

/** `uplinkd run` in a folder of its own. */
export class Daemon {
  static async start(program, configuration) {
    const daemon = new Daemon();
    daemon.folder = fs.mkdtempSync(path.join(os.tmpdir(), "uplinkd-page-"));
    folders.push(daemon.folder);
    daemon.port = await freePort();
    daemon.url = `http://127.0.0.1:${daemon.port}`;
    daemon.program = program;
    daemon.file = path.join(daemon.folder, "uplinkd.toml");
    fs.writeFileSync(daemon.file, `[api]\nlisten = "127.0.0.1:${daemon.port}"\n${configuration(daemon.folder)}`);
    await daemon.run();
    return daemon;
  }

  /** Starts it, again where it was killed, and waits until it answers. */
  async run() {
    const log = fs.openSync(path.join(this.folder, "log"), "a");
    this.child = keep(
      spawn(this.program, ["run", "--config", this.file], {
        env: { ...process.env, STATE_DIRECTORY: this.folder },
        stdio: ["ignore", log, log],
      }),
    );
    await until("the daemon is ready", 60_000, async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  log() {
    return fs.readFileSync(path.join(this.folder, "log"), "utf8");
  }

  /** The status of a stream, or of `main`. */
  async status(id = "main") {
    return (await fetch(`${this.url}/v1/streams/${id}`)).json();
  }

  async waitFor(state, id = "main") {
    await until(`${id} is ${state}`, 60_000, async () => (await this.status(id)).state === state);
  }

  signal(signal) {
    this.child.kill(signal);
  }
}

/** Somebody who takes an SRT stream; gives the port. */
export async function receiver() {
  const port = await freePort();
  const url = `srt://127.0.0.1:${port}?mode=listener`;
  keep(spawn("srt-live-transmit", ["-loglevel:fatal", url, "file://con"], { stdio: ["ignore", "ignore", "ignore"] }));
  return port;
}

/** Waits for a condition; one that throws is not true yet. */
export async function until(what, ms, condition) {
  const began = performance.now();
  let error = null;
  while (performance.now() - began < ms) {
    try {
      if (await condition()) return performance.now() - began;
      error = null;
    } catch (thrown) {
      error = thrown;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${ms / 1000} s: ${what}${error ? ` (${error.message})` : ""}`);
}

export function endAll() {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true });
}

function keep(child) {
  running.add(child);
  child.on("exit", () => running.delete(child));
  child.on("error", (error) => {
    console.error(`${child.spawnfile}: ${error.message}`);
    process.exitCode = 1;
  });
  return child;
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
