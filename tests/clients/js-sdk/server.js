// A started Hearth with a directory of its own, which can be stopped, killed and started again.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

async function freePort() {
    const probe = createServer();
    await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
    const { port } = probe.address();
    await new Promise((resolve) => probe.close(resolve));
    return port;
}

export class Server {
    static async start() {
        const server = new Server();
        server.directory = mkdtempSync(join(tmpdir(), "hearth-js-"));
        server.port = await freePort();
        server.url = `http://127.0.0.1:${server.port}`;
        await server.begin();
        return server;
    }

    async begin() {
        const set = (option) => ["--set", option];
        this.process = spawn(
            process.env.HEARTH,
            [
                ...set(`server.listen=["127.0.0.1:${this.port}"]`),
                ...set("registration.mode=open"),
                ...set("rate_limits.enabled=false"),
                ...set("log.level=warn"),
            ],
            { cwd: this.directory, stdio: ["ignore", "ignore", "inherit"] },
        );
        const exited = new Promise((resolve) => this.process.once("exit", (code) => resolve(code ?? "signal")));
        this.exited = exited;
        for (let ended; ; ) {
            try {
                if ((await fetch(`${this.url}/health`)).ok) return;
            } catch {
                // Not listening yet.
            }
            const pause = new Promise((resolve) => setTimeout(resolve, 20));
            ended = await Promise.race([exited, pause]);
            if (ended !== undefined) throw new Error(`the server ended at its start: ${ended}`);
        }
    }

    async end(signal) {
        this.process.kill(signal);
        return this.exited;
    }

    // An orderly stop and a new start; the clients go on with what they have.
    async restart() {
        await this.end("SIGTERM");
        await this.begin();
    }

    // As a crash: no time to tidy up.
    async crash() {
        await this.end("SIGKILL");
        await this.begin();
    }

    async remove() {
        await this.end("SIGKILL");
        rmSync(this.directory, { recursive: true, force: true });
    }
}
