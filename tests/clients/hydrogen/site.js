// Serves the app: the page, the bundle, and what of the packages it loads by itself.

import { build } from "esbuild";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
};
const SDK = "node_modules/hydrogen-view-sdk";

export async function serveApp() {
    const out = mkdtempSync(join(tmpdir(), "hearth-hydrogen-"));
    await build({
        entryPoints: ["app.js"],
        bundle: true,
        format: "esm",
        outfile: join(out, "app.js"),
        logLevel: "error",
        external: ["fs", "path", "crypto"],
    });
    const places = [
        ["/assets/", `${SDK}/asset-build/assets/`],
        ["/olm/", "node_modules/@matrix-org/olm/"],
        ["/sw.js", `${SDK}/lib-build/sw.js`],
        ["/app.js", join(out, "app.js")],
        ["/", "index.html"],
    ];
    const server = createServer((request, response) => {
        const path = normalize(new URL(request.url, "http://localhost").pathname);
        const [prefix, place] = places.find(([prefix]) => path.startsWith(prefix));
        const file = prefix.endsWith("/") && prefix !== "/" ? place + path.slice(prefix.length) : place;
        try {
            const body = readFileSync(file);
            response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
            response.end(body);
        } catch {
            response.writeHead(404).end();
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${server.address().port}`;
    const end = () => {
        server.close();
        server.closeAllConnections();
        rmSync(out, { recursive: true, force: true });
    };
    return { url, end };
}
